"""What is an item, where nothing in the process is marked: other tests may have marked something in theirs."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Router

from ratelimit.operations.items import COLLECTION, ITEM, Items


async def plain(request: object) -> PlainTextResponse:
    return PlainTextResponse("")


def test_a_mounted_app_that_grows() -> None:
    """It is read again when no route took a path and there are more of them by now."""
    inner = Router()
    inner.add_route("/other", plain)
    app = Starlette(routes=[Mount("/inner", app=inner)])
    items = Items((), app)
    asked = {"type": "http", "app": app}, None, "/inner/name", ["inner", "name"], ["inner", "name"]
    assert [items.operation(*asked) for _ in range(2)] == [COLLECTION] * 2
    inner.add_route("/{name}", plain)
    assert [items.operation(*asked) for _ in range(2)] == [ITEM] * 2
