"""A retail API that limits its callers as Lightspeed Retail (X-Series) documents it: by registers, retailer and source.

    python -m examples.serve lightspeed

The limits are in `ratelimit.toml` beside this file, the documented access tokens in `keys.py`. All data is in memory
and belongs to a retailer.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from examples.common import ERRORS, Item, Things, caller, health, known
from examples.lightspeed.keys import AUTHORIZATION_CODES
from ratelimit import RateLimitMiddleware, Store, load_policy
from ratelimit.fastapi import document

POLICY = load_policy(Path(__file__).with_name("ratelimit.toml"))


async def shop_of(request: Request) -> Things:
    identity = caller(request)
    shop: Things = request.app.state.shops[identity.organization]
    for number in range(1, int(identity.attributes["registers"]) + 1):
        register_id = f"register-{number}"
        shop["registers"].setdefault(register_id, {"id": register_id, "name": f"Register {number}", "is_open": True})
    return shop


ShopOfCaller = Annotated[Things, Depends(shop_of)]


def collection(kind: str) -> APIRouter:
    """A list and its items. A `version` counts up with each change, so that clients can ask for what is new."""
    routes = APIRouter(prefix=f"/{kind}")

    @routes.get("")
    async def items(shop: ShopOfCaller, after: int = 0, page_size: int = 100) -> Item:
        data = [item for item in shop[kind].values() if item.get("version", 1) > after][:page_size]
        versions = [item.get("version", 1) for item in data]
        return {"data": data, "version": {"min": min(versions, default=0), "max": max(versions, default=0)}}

    @routes.get("/{item_id}")
    async def item(shop: ShopOfCaller, item_id: str) -> Item:
        return {"data": known(shop, kind, item_id)}

    return routes


def changeable(kind: str) -> APIRouter:
    routes = collection(kind)

    @routes.post("")
    async def create(shop: ShopOfCaller, item: Item) -> Item:
        item = {"id": str(uuid.uuid4()), **item, "version": 1 + len(shop[kind])}
        shop[kind][item["id"]] = item
        return {"data": item}

    @routes.put("/{item_id}")
    async def update(shop: ShopOfCaller, item_id: str, changes: Item) -> Item:
        item = known(shop, kind, item_id)
        item.update(changes, id=item_id, version=1 + item["version"])
        return {"data": item}

    @routes.delete("/{item_id}", status_code=204)
    async def remove(shop: ShopOfCaller, item_id: str) -> None:
        known(shop, kind, item_id)
        del shop[kind][item_id]

    return routes


async def token(request: Request) -> JSONResponse:
    """The authorization endpoint: an access token for a code (RFC 6749, section 4.1.3)."""
    form = parse_qs((await request.body()).decode("latin-1"))
    access_token = AUTHORIZATION_CODES.get(form.get("code", [""])[0])
    if access_token is None:
        return JSONResponse({"error": "invalid_grant"}, 400)
    return JSONResponse({"access_token": access_token, "token_type": "Bearer", "expires_in": 86_400})


async def error(_: Request, raised: HTTPException) -> JSONResponse:
    return JSONResponse({"error": raised.detail}, raised.status_code, raised.headers)


def create_app(store: Store | str | None = None) -> FastAPI:
    """The API with shops of its own. Without a store, RATELIMIT_STORE_URL counts, and then memory."""
    app = FastAPI(title="Shops, in the manner of Lightspeed Retail (X-Series)")
    app.state.shops = defaultdict(lambda: defaultdict(dict))
    for routes in (collection("registers"), changeable("sales"), changeable("products"), changeable("customers")):
        app.include_router(routes, prefix="/api/2.0", responses=ERRORS)
    invalid: dict[int | str, Item] = {400: {"description": "The code is not valid"}}
    app.add_api_route("/api/1.0/token", token, methods=["POST"], responses=invalid)
    app.add_api_route("/health", health)
    app.exception_handler(HTTPException)(error)
    app.add_middleware(RateLimitMiddleware, policy=POLICY, store=store)
    document(app)
    return app


app = create_app()
