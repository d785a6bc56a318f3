"""A lending API that limits its callers as LendWorks documents it: by tier and API key, with monthly quotas.

    python -m examples.serve lendworks

The limits are in `ratelimit.toml` beside this file, the documented API keys in `keys.py`. All data is in memory and
belongs to an organization.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from examples.common import ERRORS, Item, Things, caller, health, known
from ratelimit import RateLimitMiddleware, Store, load_policy
from ratelimit.fastapi import document
from ratelimit.telemetry.hook import Telemetry

POLICY = load_policy(Path(__file__).with_name("ratelimit.toml"))
CODES = {401: "UNAUTHORIZED", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}


async def files_of(request: Request) -> Things:
    files: Things = request.app.state.files[caller(request).organization]
    return files


FilesOfCaller = Annotated[Things, Depends(files_of)]


def collection(kind: str, prefix: str) -> APIRouter:
    """A list whose items can be read, made, changed and removed; its ids begin with `prefix`"""
    routes = APIRouter(prefix=f"/{kind}")

    @routes.get("")
    async def items(files: FilesOfCaller) -> Item:
        return {"data": list(files[kind].values())}

    @routes.post("", status_code=201)
    async def create(files: FilesOfCaller, item: Item) -> Item:
        return {"data": add(files, kind, prefix, item)}

    @routes.post("/bulk", status_code=201)
    async def create_many(files: FilesOfCaller, items: list[Item]) -> Item:
        return {"data": [add(files, kind, prefix, item) for item in items]}

    @routes.get("/{item_id}")
    async def read(files: FilesOfCaller, item_id: str) -> Item:
        return {"data": known(files, kind, item_id)}

    @routes.patch("/{item_id}")
    async def change(files: FilesOfCaller, item_id: str, changes: Item) -> Item:
        item = known(files, kind, item_id)
        item.update(changes, id=item_id)
        return {"data": item}

    @routes.delete("/{item_id}", status_code=204)
    async def remove(files: FilesOfCaller, item_id: str) -> None:
        known(files, kind, item_id)
        del files[kind][item_id]

    return routes


def add(files: Things, kind: str, prefix: str, item: Item) -> Item:
    item = {**item, "id": f"{prefix}_{secrets.token_hex(6)}"}
    files[kind][item["id"]] = item
    return item


async def error(_: Request, raised: HTTPException) -> JSONResponse:
    body = {"errors": [{"code": CODES.get(raised.status_code, "ERROR"), "message": raised.detail}]}
    return JSONResponse(body, raised.status_code, raised.headers)


def create_app(store: Store | str | None = None, telemetry: Telemetry | None = None) -> FastAPI:
    """The API with files of its own. Without a store, RATELIMIT_STORE_URL counts, and then memory."""
    app = FastAPI(title="Loans, in the manner of LendWorks")
    app.state.files = defaultdict(lambda: defaultdict(dict))
    for kind, prefix in (("loans", "loan"), ("documents", "doc"), ("borrowers", "borrower")):
        app.include_router(collection(kind, prefix), prefix="/api/v1", responses=ERRORS)
    app.add_api_route("/health", health)
    app.exception_handler(HTTPException)(error)
    app.add_middleware(RateLimitMiddleware, policy=POLICY, store=store, telemetry=telemetry)
    document(app)
    return app


app = create_app()
