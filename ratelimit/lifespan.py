"""The lifespan of an app under a limiter: what is told of it at its start, what ends with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ratelimit.log import lines as log
from ratelimit.model import Admitting, ASGIApp, Message, Receive, Scope, Send, StoreUnavailable
from ratelimit.opening import refused


def as_it_is(receive: Receive) -> Receive:
    """Where nobody waits."""
    return receive


class Lifespan:
    """Of one middleware. `started` may change what the app tells the server when it has started. When it has ended,
    first `waiting` are told, then all of `closing` is called, and all of `given_back` awaited, as far as the store is
    there."""

    def __init__(
        self,
        app: ASGIApp,
        store: Admitting,
        waiting: Callable[[Receive], Receive],
        started: Callable[[Message], Message],
        closing: Sequence[Callable[[], None]],
        given_back: Sequence[Callable[[], Awaitable[None]]],
    ) -> None:
        self._app = app
        self._store = store
        self._waiting = waiting
        self._started = started
        self._closing = closing
        self._given_back = given_back

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._close()
            await send(self._started(message))

        if not await refused(self._store, receive, send):
            await self._app(scope, self._waiting(receive), told)

    async def _close(self) -> None:
        for close in self._closing:
            close()
        try:
            for give_back in self._given_back:
                await give_back()
        except StoreUnavailable as error:
            log.not_closed(error)
