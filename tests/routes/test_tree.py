"""The endpoint that is found is the one that the framework runs, whatever is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute

from ratelimit import operation
from ratelimit.routes.app import AppRoutes
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]


class Marker:
    """Makes endpoints that write down which of them ran, each marked as an operation of its own name."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.made = 0

    def named(self) -> str:
        self.made += 1
        return f"e{self.made}"

    def endpoint(self) -> Callable[[Any], Any]:
        name = self.named()

        @operation(name)
        async def run(request: Any) -> PlainTextResponse:
            self.ran.append(name)
            return PlainTextResponse(name)

        return run

    def view(self) -> type[HTTPEndpoint]:
        name, ran = self.named(), self.ran

        class View(HTTPEndpoint):
            async def get(self, request: Any) -> PlainTextResponse:
                ran.append(name)
                return PlainTextResponse(name)

            @operation(f"{name} post")
            async def post(self, request: Any) -> PlainTextResponse:
                ran.append(f"{name} post")
                return PlainTextResponse(name)

        return operation(name)(View)

    def app(self) -> Any:
        name = self.named()

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            self.ran.append(name)
            await PlainTextResponse(name)(scope, receive, send)

        return operation(name)(serve)


class ByHeader(Route):
    """A route with a way of its own."""

    def matches(self, scope: Any) -> Any:
        found, child = super().matches(scope)
        return (found, child) if (b"x-version", b"2") in scope["headers"] else (Match.NONE, {})


class Odd(BaseRoute):
    """What is no route of Starlette's at all."""

    def __init__(self, app: Any) -> None:
        self.served = app

    def matches(self, scope: Any) -> Any:
        return (Match.FULL if scope["path"].endswith("/odd") else Match.NONE), {}

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("odd")(scope, receive, send)


def starlette_routes(make: Marker) -> list[Any]:
    e = make.endpoint
    inner = [Route("/", e()), Route("/a", e()), Route("/{x}", e()), Route("/{x}/b", e(), methods=["POST"])]
    return [
        Route("/", e()),
        Route("/a", e()),
        Route("/a", e(), methods=["POST", "PUT"]),
        Route("/a/", e()),
        Route("/a/b", e(), methods=["DELETE"]),
        Route("/a/{n:int}", e()),
        Route("/a/{u:uuid}", e()),
        Route("/a/{f:float}/x", e()),
        ByHeader("/a/{x}", e()),
        Route("/a/{x}", e()),
        Route("/p/{x}-{y}.json", e()),
        Route("/view", make.view()),
        Route("/view/{x}", make.view()),
        WebSocketRoute("/a/ws", e()),
        Host("api.example.com", app=Router([Route("/only", e()), Route("/a/{x}/y", e())])),
        Host("{tenant}.example.org", app=Router([Mount("/t", routes=inner)])),
        Mount("/m", routes=inner),
        Mount("/m/late", routes=[Route("/never", e())]),
        Mount("/n/{team}", routes=[Route("/a", e()), Mount("/deep", routes=inner)]),
        Mount("/gz", routes=inner, middleware=[Middleware(GZipMiddleware)]),
        Mount("/served", app=make.app()),
        Mount("/sub", app=Starlette(routes=[Route("/a", e()), Route("/{x:path}", e(), methods=["POST"])])),
        Odd(None),
        Route("/files/{p:path}", e()),
        Route("/f{p:path}/end", e()),
        Mount("", app=Router([Route("/root", e())])),
        Route("/{rest:path}", e()),
    ]


SEGMENTS = ["a", "b", "x", "7", "1.5", "m", "n", "t", "late", "never", "deep", "gz", "served", "sub", "odd", "files"]
SEGMENTS += ["only", "view", "root", "A", "é", "a-b.json", "p", "f", "end", "ws", "", "\n", "0" * 200, "a/b", "x" * 200]
SEGMENTS += ["12345678-1234-1234-1234-123456789abc"]
PATHS = st.builds(
    lambda segments, end: "/" + "/".join(segments) + end,
    st.lists(st.sampled_from(SEGMENTS), max_size=5),
    st.sampled_from(["", "/", "\n", "//"]),
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "get", "OPTIONS"])
HOSTS = st.sampled_from([None, "api.example.com", "API.example.com:8000", "red.example.org", "other", "[::1]:80"])
VERSIONS = st.sampled_from([None, "2"])


def scope_of(path: str, method: str, host: str | None, version: str | None = None, root: str = "") -> dict[str, Any]:
    headers = [(b"host", host.encode())] if host else []
    headers += [(b"x-version", version.encode())] if version else []
    return {
        "type": "http",
        "method": method,
        "path": root + path,
        "root_path": root,
        "headers": headers,
        "query_string": b"",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("testserver", 80),
    }


def run(app: Any, scope: dict[str, Any]) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None: ...

    asyncio.run(app(scope, receive, send))


def said(routes: AppRoutes, scope: dict[str, Any]) -> str | None:
    endpoint = routes.endpoint(scope)
    return endpoint and endpoint.operation


@cache  # not when this file is read: with marks in the process, every request is asked for one
def of_starlette() -> tuple[Marker, Any, AppRoutes]:
    make = Marker()
    router = Router(starlette_routes(make))
    return make, router, AppRoutes(router)


@given(path=PATHS, method=METHODS, host=HOSTS, version=VERSIONS, root=st.sampled_from(["", "/up", "/a"]))
@example(path="/a/" + "0" * 200, method="GET", host=None, version=None, root="")
@example(path="/m/late/never", method="GET", host=None, version=None, root="")
@example(path="/served", method="GET", host=None, version=None, root="")
@example(path="/served/", method="GET", host=None, version=None, root="/a")
@example(path="/a\n", method="GET", host=None, version=None, root="")
@example(path="/a/\n", method="GET", host=None, version=None, root="")
@example(path="/m/" + "a/" * 300, method="GET", host=None, version=None, root="")
def test_the_endpoint_that_runs(path: str, method: str, host: str | None, version: str | None, root: str) -> None:
    """What runs says what the request is, and where nothing runs, nothing is said."""
    make, router, routes = of_starlette()
    make.ran.clear()
    scope = scope_of(path, method, host, version, root)
    found = said(routes, dict(scope))
    run(router, scope)
    assert [found] == (make.ran or [None])


def fastapi_app(make: Marker) -> FastAPI:
    def endpoint() -> Callable[[], str]:
        name = make.named()

        @operation(name)
        def run() -> str:
            make.ran.append(name)
            return name

        return run

    app = FastAPI(redirect_slashes=False)
    third = APIRouter(prefix="/third")
    third.add_api_route("/{x}", endpoint())
    third.add_api_route("/a", endpoint(), methods=["POST"])
    second = APIRouter()
    second.add_api_route("/a", endpoint())
    second.include_router(third, prefix="/in")
    second.mount("/m", Router([Route("/a", make.endpoint()), Route("/{x}", make.endpoint())]))
    second.add_api_route("/late/{n:int}", endpoint())
    first = APIRouter(prefix="/first")
    first.add_api_route("/a", endpoint())
    first.include_router(second)
    first.include_router(second, prefix="/again")
    app.add_api_route("/a", endpoint())
    app.include_router(first)
    app.include_router(first, prefix="/v2")
    app.add_api_route("/first/{x}/a", endpoint())
    app.mount("/sub", sub := FastAPI())
    sub.root_path = "/elsewhere"
    sub.add_api_route("/a", endpoint())
    app.add_route("/starlette/{x}", make.endpoint())
    return app


FASTAPI_SEGMENTS = ["a", "first", "again", "v2", "in", "third", "m", "x", "late", "7", "sub", "starlette", "elsewhere"]


@given(segments=st.lists(st.sampled_from(FASTAPI_SEGMENTS), max_size=6), method=st.sampled_from(["GET", "POST"]))
@example(segments=["v2", "first", "again", "in", "third", "x"], method="GET")
@example(segments=["first", "m", "x"], method="GET")
@example(segments=["sub", "a"], method="GET")
def test_the_endpoint_that_fastapi_runs(segments: list[str], method: str) -> None:
    """Routers in routers, with prefixes, included more than once, and mounts of them."""
    make, app, routes = of_fastapi()
    make.ran.clear()
    scope = scope_of("/" + "/".join(segments), method, None)
    found = said(routes, dict(scope))
    run(app, scope)
    assert [found] == (make.ran or [None])


@cache
def of_fastapi() -> tuple[Marker, Any, AppRoutes]:
    make = Marker()
    app = fastapi_app(make)
    return make, app, AppRoutes(app)
