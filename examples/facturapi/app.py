"""An invoicing API that limits its callers as Facturapi documents it: by operation, organization or user, and mode.

    python -m examples.serve facturapi

The limits are in `ratelimit.toml` beside this file, the documented API keys in `keys.py`. All data is in memory and
belongs to an organization (or user) and mode.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from examples.common import ERRORS, Item, Things, caller, health, known
from examples.facturapi.documents import FILES, in_pieces
from ratelimit import RateLimitMiddleware, Store, load_policy
from ratelimit.fastapi import document

POLICY = load_policy(Path(__file__).with_name("ratelimit.toml"))


async def books_of(request: Request) -> Things:
    identity = caller(request)
    books: Things = request.app.state.books[identity.root, identity.attributes.get("mode")]
    return books


BooksOfCaller = Annotated[Things, Depends(books_of)]


def collection(kind: str) -> APIRouter:
    """What customers, products, receipts and invoices have in common."""
    routes = APIRouter(prefix=f"/{kind}")

    @routes.get("")
    async def search(
        books: BooksOfCaller,
        q: str = "",
        page: Annotated[int, Query(ge=1)] = 1,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
    ) -> Item:
        found = [item for item in books[kind].values() if q.lower() in str(item).lower()]
        here = found[(page - 1) * limit : page * limit]
        return {"page": page, "total_pages": -(-len(found) // limit), "total_results": len(found), "data": here}

    @routes.get("/{item_id}")
    async def retrieve(books: BooksOfCaller, item_id: str) -> Item:
        return known(books, kind, item_id)

    @routes.put("/{item_id}")
    async def update(books: BooksOfCaller, item_id: str, changes: Item) -> Item:
        item = known(books, kind, item_id)
        item.update(changes, id=item_id)
        return item

    return routes


def creatable(kind: str) -> APIRouter:
    """A collection whose items are simply made and removed."""
    routes = collection(kind)

    @routes.post("")
    async def create(books: BooksOfCaller, item: Item) -> Item:
        return add(books, kind, item)

    @routes.delete("/{item_id}")
    async def remove(books: BooksOfCaller, item_id: str) -> Item:
        known(books, kind, item_id)
        return books[kind].pop(item_id)

    return routes


invoices = collection("invoices")
receipts = creatable("receipts")


@invoices.post("")
async def stamp_invoice(books: BooksOfCaller, invoice: Item) -> Item:
    return add(books, "invoices", {**invoice, "status": "valid", "uuid": str(uuid.uuid4())})


@invoices.delete("/{invoice_id}")
async def cancel_invoice(books: BooksOfCaller, invoice_id: str) -> Item:
    invoice = known(books, "invoices", invoice_id)
    invoice["status"] = "canceled"
    return invoice


@invoices.get("/{invoice_id}/{file}")
async def download(books: BooksOfCaller, invoice_id: str, file: Literal["pdf", "xml", "zip"]) -> StreamingResponse:
    media_type, draw = FILES[file]
    document = draw(known(books, "invoices", invoice_id))
    headers = {"Content-Disposition": f'attachment; filename="{invoice_id}.{file}"'}
    return StreamingResponse(in_pieces(document), headers=headers, media_type=media_type)


@receipts.post("/global-invoice")
async def invoice_all_receipts(books: BooksOfCaller) -> Item:
    return await stamp_invoice(books, {"type": "global", "receipts": list(books["receipts"])})


@receipts.post("/{receipt_id}/invoice")
async def invoice_receipt(books: BooksOfCaller, receipt_id: str, invoice: Item) -> Item:
    known(books, "receipts", receipt_id)
    return await stamp_invoice(books, {**invoice, "receipts": [receipt_id]})


def add(books: Things, kind: str, item: Item) -> Item:
    item = {"id": secrets.token_hex(12), "created_at": int(time.time()), **item}
    books[kind][item["id"]] = item
    return item


async def error(_: Request, raised: HTTPException) -> JSONResponse:
    body = {"message": raised.detail, "status": raised.status_code, "ok": False}
    return JSONResponse(body, raised.status_code, raised.headers)


def create_app(store: Store | str | None = None) -> FastAPI:
    """The API with books of its own. Without a store, RATELIMIT_STORE_URL counts, and then memory."""
    app = FastAPI(title="Invoices, in the manner of Facturapi")
    app.state.books = defaultdict(lambda: defaultdict(dict))
    for routes in (creatable("customers"), creatable("products"), receipts, invoices):
        app.include_router(routes, prefix="/v2", responses=ERRORS)
    app.add_api_route("/health", health)
    app.exception_handler(HTTPException)(error)
    app.add_middleware(RateLimitMiddleware, policy=POLICY, store=store)
    document(app)
    return app


app = create_app()
