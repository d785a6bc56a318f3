"""What no limiter can be faster than: the same headers without a limiter, one counter in a dict, one PING a batch.

Pure ASGI middlewares, with nothing in them that could be left out. Imported where the apps run.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from benchmarks.apps.by_hand import adding

POLICY = b'"requests";q=1000000000;w=60, "monthly";q=10000000000;w=2592000'
CONSTANT = [
    (b"ratelimit-policy", POLICY),
    (b"ratelimit", b'"requests";r=999999999;t=60, "monthly";r=9999999999;t=1036800'),
]  # what the ietf style says of the two limits

App = Callable[..., Any]
Headers = list[tuple[bytes, bytes]]


class ConstantHeaders:
    """The two headers of the ietf style, always the same."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        return await self.app(scope, receive, adding(send, CONSTANT))


class Counted:
    """One counter a caller in a dict, and the two headers with what is left: no window, no quota, nothing is denied."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._used: defaultdict[bytes, int] = defaultdict(int)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        caller = b""
        for name, value in scope["headers"]:
            if name == b"x-api-key":
                caller = value
        used = self._used[caller] = self._used[caller] + 1
        told = b'"requests";r=%d;t=60, "monthly";r=%d;t=1036800' % (1_000_000_000 - used, 10_000_000_000 - used)
        return await self.app(scope, receive, adding(send, [(b"ratelimit-policy", POLICY), (b"ratelimit", told)]))


class Pinged:
    """Requests that come while a PING is under way share the next one: the least that a decision elsewhere can take."""

    def __init__(self, app: App, url: str, headers: Headers | None = None) -> None:
        self.app = app
        self.batches = Batches(url)
        self._headers = headers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        await self.batches.asked()
        return await self.app(scope, receive, adding(send, self._headers) if self._headers else send)


class Batches(asyncio.Protocol):
    """One connection; one PING at a time, and one future for all that wait for the same one."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._transport: Any = None
        self._opening: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: asyncio.Future[None] | None = None  # for the next PING
        self._under_way: asyncio.Future[None] | None = None

    def asked(self) -> asyncio.Future[None]:
        if self._waiting is None:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
                self._opening = self._loop.create_task(self._open(self._loop))
            self._waiting = self._loop.create_future()
            if self._transport and self._under_way is None:
                self._loop.call_soon(self._send)
        return self._waiting

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._url.scheme == "unix":
            await loop.create_unix_connection(lambda: self, self._url.path)
        else:
            await loop.create_connection(lambda: self, self._url.hostname or "", self._url.port or 0)
        self._send()

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def _send(self) -> None:
        if self._transport and self._waiting and self._under_way is None:
            self._under_way, self._waiting = self._waiting, None
            self._transport.write(b"PING\r\n")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """+PONG and the end of its line are one segment."""
        answered, self._under_way = self._under_way, None
        if answered and not answered.done():
            if data == b"+PONG\r\n":
                answered.set_result(None)
            else:
                answered.set_exception(RuntimeError(f"the answer to a PING was {data!r}"))
        self._send()


def floor(name: str, app: Any, url: str = "") -> Any:
    """An app under one of the four, by its name in the tables."""
    settings: dict[str, tuple[Any, dict[str, Any]]] = {
        "constant headers": (ConstantHeaders, {}),
        "one dict counter": (Counted, {}),
        "one PING a batch": (Pinged, {"url": url}),
        "one PING a batch, constant headers": (Pinged, {"url": url, "headers": CONSTANT}),
    }
    middleware, options = settings[name]
    app.add_middleware(middleware, **options)
    return app
