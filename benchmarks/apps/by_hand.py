"""What a peer without a middleware of its own is given: the cheapest there is, pure ASGI, without a Request object."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import JSONResponse

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
RATE = int(os.environ.get("BENCH_RATE", "1000000000"))  # a minute
LONG = int(os.environ.get("BENCH_LONG", "10000000000"))  # a month

HEADERS = bool(os.environ.get("BENCH_HEADERS"))  # on allowed responses, for peers that have some, or tell enough

Headers = list[tuple[bytes, bytes]]

DENIED = JSONResponse({"detail": "Too Many Requests"}, status_code=429)


def api_key(scope: Any) -> str:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return str(value, "latin-1")
    return ""


class Limited:
    """Asks `allow(api_key)` before the app is called: it gives the headers of the response, or None to deny it."""

    def __init__(self, app: Any, allow: Callable[[str], Awaitable[Headers | None]]) -> None:
        self.app = app
        self.allow = allow

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif (headers := await self.allow(api_key(scope))) is None:
            await DENIED(scope, receive, send)
        else:
            await self.app(scope, receive, adding(send, headers) if headers else send)


def adding(send: Any, headers: Headers) -> Any:
    async def added(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return added


def told(limit: int, remaining: int, reset: float) -> Headers:
    """The headers that most APIs have."""
    return [
        (b"x-ratelimit-limit", b"%d" % limit),
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % reset),
    ]
