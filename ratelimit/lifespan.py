"""The lifespan of an app under a limiter: what is told of it at its start, what ends with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ratelimit.model import Admitting, ASGIApp, Message, Receive, Scope, Send
from ratelimit.opening import refused


def as_it_is(receive: Receive) -> Receive:
    """Where nobody waits."""
    return receive


class Lifespan:
    """Of one middleware. `waiting` tells those who wait that it ends; `started` may change what the app tells the
    server when it has started; `close` is awaited before the server hears that it has ended."""

    def __init__(
        self,
        app: ASGIApp,
        store: Admitting,
        waiting: Callable[[Receive], Receive],
        started: Callable[[Message], Message],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._app = app
        self._store = store
        self._waiting = waiting
        self._started = started
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._close()
            await send(self._started(message))

        if not await refused(self._store, receive, send):
            await self._app(scope, self._waiting(receive), told)
