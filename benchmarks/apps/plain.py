"""The two apps that are limited, and that run bare beside it: one route, a small body of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def fastapi_app(dependencies: Sequence[Any] = ()) -> FastAPI:
    app = FastAPI()

    @app.get("/items/{item_id}", dependencies=dependencies)
    async def item(item_id: int) -> dict[str, int | str]:
        return {"id": item_id, "name": "a thing", "state": "in stock"}

    return app


def starlette_app() -> Starlette:
    async def item(request: Request) -> JSONResponse:
        return JSONResponse({"id": int(request.path_params["item_id"]), "name": "a thing", "state": "in stock"})

    return Starlette(routes=[Route("/items/{item_id}", item)])


in_fastapi = fastapi_app()
in_starlette = starlette_app()
