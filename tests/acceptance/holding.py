"""The app of worker processes whose requests do not end by themselves. Its policy is in RATELIMIT_TEST_POLICY."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from ratelimit import RateLimitMiddleware, parse_policy


async def health(request: Request) -> Response:
    return PlainTextResponse("ok")


async def stream(request: Request) -> Response:
    """The first chunk, and no other."""

    async def chunks() -> AsyncIterator[str]:
        yield "the first"
        await asyncio.Event().wait()

    return StreamingResponse(chunks())


async def stubborn(request: Request) -> Response:
    """One that goes on when it is told to end."""

    async def chunks() -> AsyncIterator[str]:
        yield "the first"
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    return StreamingResponse(chunks())


async def live(websocket: WebSocket) -> None:
    """Says nothing, until its client has gone."""
    await websocket.accept()
    await websocket.receive()


async def stall(request: Request) -> Response:
    """Blocks the event loop, as a careless app does."""
    time.sleep(float(request.query_params["seconds"]))  # noqa: ASYNC251
    return PlainTextResponse("done")


app = Starlette(
    routes=[
        *(Route("/health", health), Route("/stream", stream), Route("/stubborn", stubborn), Route("/stall", stall)),
        WebSocketRoute("/live", live),
    ]
)
app.add_middleware(RateLimitMiddleware, policy=parse_policy(os.environ["RATELIMIT_TEST_POLICY"], "holding"))
