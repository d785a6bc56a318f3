"""The control of a request in FastAPI: injected, in WebSocket endpoints too, and with handlers of the app's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from ratelimit import MemoryStore, RateLimitMiddleware
from ratelimit.control.control import Control
from ratelimit.fastapi import RateLimit, control
from tests.acceptance import T, scope_of
from tests.control import POLICY, run, used


def limited(api: Any, **rest: Any) -> Any:
    api.add_middleware(RateLimitMiddleware, policy=POLICY, store=MemoryStore(clock=lambda: T), **rest)
    return api


def made() -> FastAPI:
    api = FastAPI()

    @api.get("/left")
    async def left(rate_limit: RateLimit) -> dict[str, int]:
        await rate_limit.charge(3, limit="rows")
        return rate_limit.left()

    @api.get("/health")
    async def health(rate_limit: RateLimit) -> dict[str, int]:
        return rate_limit.left()

    @api.post("/completions")
    async def completions(rate_limit: RateLimit, units: int) -> dict[str, int]:
        async with rate_limit.hold(units, limit="tokens") as held:
            held.settle(units // 2)
        return {"used": units // 2}

    @api.post("/completions/stream")
    async def stream(rate_limit: RateLimit, units: int) -> StreamingResponse:
        async def tokens() -> AsyncIterator[str]:
            async with rate_limit.hold(units, limit="tokens") as held:
                if not held.allowed:
                    yield f"come back in {held.retry_after} s"
                    return
                for count in range(1, 4):
                    held.settle(count)
                    yield "token "

        return StreamingResponse(tokens())

    return api


def test_injected() -> None:
    """In an endpoint, in a dependency of a router, and the same object in each."""
    seen: list[Control] = []

    async def dependency(rate_limit: RateLimit) -> None:
        seen.append(rate_limit)

    router = APIRouter(dependencies=[Depends(dependency)])

    @router.get("/items")
    async def items(request: Request, rate_limit: RateLimit) -> None:
        seen.extend([rate_limit, request.scope["ratelimit.control"]])

    api = made()
    api.include_router(router)
    client = TestClient(limited(api))
    assert client.get("/left").json() == {"requests": 59, "rows": 97}
    assert client.get("/items").status_code == 200
    assert len(seen) == 3
    assert len(set(map(id, seen))) == 1


def test_exempt() -> None:
    """A request that is exempt has no limits, and is no error."""
    assert TestClient(limited(made())).get("/health").json() == {}


def test_no_limiter() -> None:
    """Where there is none, it is said."""
    client = TestClient(made())
    with pytest.raises(RuntimeError, match=r"^no limiter saw this request"):
        client.get("/left")


def test_a_websocket_that_no_limiter_saw() -> None:
    """In an endpoint of a WebSocket it is the same object, or the same error."""
    api = FastAPI()

    @api.websocket("/feed")
    async def feed(websocket: WebSocket, rate_limit: RateLimit) -> None: ...

    with (
        pytest.raises(RuntimeError, match=r"^no limiter saw this WebSocket"),
        TestClient(api).websocket_connect("/feed"),
    ):
        pass


def test_denied_from_inside() -> None:
    """The style's whole 429; nothing of what FastAPI makes of an HTTPException goes out."""
    client = TestClient(limited(made()))
    assert client.post("/completions?units=1000").json() == {"used": 500}
    assert client.post("/completions?units=500").status_code == 200
    answer = client.post("/completions?units=900")
    assert answer.status_code == 429
    assert answer.json()["errors"][0]["code"] == "RATE_LIMIT_EXCEEDED"
    assert answer.headers["retry-after"] == "61"
    assert client.post("/completions?units=1001").status_code == 403


def test_a_stream() -> None:
    """A StreamingResponse has sent its 200 before its generator runs: it asks whether the units fit."""
    client = TestClient(limited(made()))
    assert client.post("/completions/stream?units=1000").text == "token token token "
    assert client.post("/completions/stream?units=998").text == "come back in 61 s"


async def _passes(request: Request, call_next: Any) -> Any:
    return await call_next(request)


@pytest.mark.parametrize("around", ["inside", "outside"])
@pytest.mark.parametrize(
    ("layer", "options"), [(GZipMiddleware, {}), (BaseHTTPMiddleware, {"dispatch": _passes})], ids=["gzip", "base"]
)
def test_a_response_that_is_held_back(around: str, layer: Any, options: dict[str, Any]) -> None:
    """A middleware that has the start of a stream and has not passed it on yet: the client is denied, and what
    Starlette says of a handler that comes too late is no error of the app's."""
    api = made()
    api.add_middleware(layer, **options)
    app: Any = (
        RateLimitMiddleware(api, POLICY, store=MemoryStore(clock=lambda: T)) if around == "outside" else limited(api)
    )
    answer = TestClient(app).post("/completions/stream?units=1001", headers={"accept-encoding": "gzip"})
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["code"] == "RATE_LIMIT_EXCEEDED"


def _own(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"own": "handler"}, 418, {"x-own": "1"})


@pytest.mark.parametrize("around", ["inside", "outside"])
@pytest.mark.parametrize("handler", [None, HTTPException, 429, Exception])
@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize("mounted", [False, True])
def test_whatever_handles_it(around: str, handler: Any, middleware: bool, mounted: bool) -> None:
    """With exception handlers of the app's own, in a sub-app, under a BaseHTTPMiddleware, with the limiter in the app
    and around it: the answer is the style's."""
    api = made()
    if handler is not None:
        api.exception_handler(handler)(_own)
    if middleware:
        api.add_middleware(BaseHTTPMiddleware, dispatch=_passes)
    whole: Any = api
    if mounted:
        whole = FastAPI()
        whole.exception_handler(HTTPException)(_own)
        whole.mount("/sub", api)
    if around == "inside":
        whole = limited(whole)
    else:
        whole = RateLimitMiddleware(whole, POLICY, store=MemoryStore(clock=lambda: T))
    client = TestClient(whole)
    answer = client.post(f"{'/sub' if mounted else ''}/completions?units=1001")
    assert answer.status_code == 403
    assert "x-own" not in answer.headers
    assert answer.json()["errors"][0]["code"] == "RATE_LIMIT_EXCEEDED"


@pytest.mark.parametrize("around", ["inside", "outside"])
@pytest.mark.parametrize("debug", [False, True])
def test_plain_starlette(around: str, debug: bool) -> None:
    """An app without FastAPI raises an error of ours, which the middleware answers: no handler has to know it."""

    async def endpoint(request: Request) -> JSONResponse:
        async with request.scope["ratelimit.control"].hold(1001, limit="tokens"):
            return JSONResponse({})

    app: Any = Starlette(debug, [Mount("/sub", routes=[Route("/completions", endpoint, methods=["POST"])])])
    app = limited(app) if around == "inside" else RateLimitMiddleware(app, POLICY, store=MemoryStore(clock=lambda: T))
    answer = TestClient(app).post("/sub/completions")
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["code"] == "RATE_LIMIT_EXCEEDED"


def test_a_client_that_vanishes() -> None:
    """A StreamingResponse that is broken off while its generator is at a yield leaves nothing open."""

    async def test() -> None:
        store = MemoryStore(clock=lambda: T)
        app = RateLimitMiddleware(made(), POLICY, store=store)
        for version in ("2.0", "2.4"):
            gone = asyncio.Event()

            async def receive(gone: asyncio.Event = gone) -> Any:
                await gone.wait()
                return {"type": "http.disconnect"}

            async def send(message: Any, gone: asyncio.Event = gone, version: str = version) -> None:
                if message["type"] == "http.response.body":
                    gone.set()
                    if version == "2.4":
                        raise OSError
                    await asyncio.sleep(0.01)

            scope = scope_of("/completions/stream", "POST", None)
            scope["query_string"], scope["asgi"]["spec_version"] = b"units=400", version
            with suppress(ClientDisconnect, BaseExceptionGroup):
                await app(scope, receive, send)
            for _ in range(3):
                await asyncio.sleep(0)
            assert (await used(app, "tokens"))["tokens"] == {"2.0": 1, "2.4": 2}[version]

    run(test())


def test_by_hand() -> None:
    """`control` is an async function, which FastAPI calls without a thread."""
    assert asyncio.iscoroutinefunction(control)
