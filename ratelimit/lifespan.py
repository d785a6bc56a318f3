"""The lifespan of an app under a limiter: what is told of it at its start, what ends with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from ratelimit.model import Admitting, ASGIApp, Message, Receive, Scope, Send
from ratelimit.opening import refused


def as_it_is(receive: Receive) -> Receive:
    """Where nobody waits."""
    return receive


class Lifespan:
    """Of one middleware. `waiting` tells those who wait that it ends; `started` may change what the app tells the
    server when it has started, or raise, and then the app did not start."""

    def __init__(
        self, store: Admitting, waiting: Callable[[Receive], Receive], started: Callable[[Message], Message]
    ) -> None:
        self._store = store
        self._waiting = waiting
        self._started = started

    def of(self, app: ASGIApp, close: Callable[[], Awaitable[None]]) -> ASGIApp:
        """The app with it. `close` is awaited before the server hears that the app has ended; it is the middleware's,
        and not kept here: a middleware that refers to itself would outlive its app until the garbage is collected."""
        return partial(self._call, app, close)

    async def _call(
        self, app: ASGIApp, close: Callable[[], Awaitable[None]], scope: Scope, receive: Receive, send: Send
    ) -> None:
        async def told(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await close()
            await send(self._started(message))

        if not await refused(self._store, receive, send):
            await app(scope, self._waiting(receive), told)
