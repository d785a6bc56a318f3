"""Whether the caller of a request that waits is still there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import copy_context

from ratelimit.answers.headers import has_body
from ratelimit.ground.loops import Loop, Task, ended
from ratelimit.model import Message, Receive, Scope


class Watch:
    """Receives while a request waits, if it has no body: to ask for one would have the client send it, after a 100
    Continue. What was received is handed on to the app, in order, and nothing is received twice."""

    __slots__ = ("_hung_up", "_listening", "_loop", "_receive", "_received")

    def __init__(self, loop: Loop, receive: Receive, hung_up: Callable[[], None]) -> None:
        self._loop = loop
        self._receive = receive
        self._hung_up = hung_up
        self._received: deque[Message | Exception] = deque()
        self._listening: Task | None = None

    def begin(self, scope: Scope) -> None:
        if not has_body(scope):
            # in the request's own context: an outer middleware's `receive` may look into it
            self._listening = self._loop.create_task(self._listen(), context=copy_context())

    def end(self) -> Receive:
        """What the app is to receive by. Nothing is awaited: a slot may have been given, and nobody holds it yet."""
        if self._listening is None:
            return self._receive
        self._listening.cancel()
        return self._handed_on

    async def _listen(self) -> None:
        try:
            for _ in range(2):  # the empty body of a request without one comes first
                message = await self._receive()
                self._received.append(message)
                if message["type"] == "http.disconnect":
                    self._hung_up()
                if message.get("more_body", False):  # a body after all, as HTTP/2 needs no header for one
                    return
        except Exception as error:  # noqa: BLE001 - it is the app's, when it asks
            self._received.append(error)

    async def _handed_on(self) -> Message:
        if self._listening:
            listening, self._listening = self._listening, None
            await ended(listening)
        if not self._received:
            return await self._receive()
        received = self._received.popleft()
        if isinstance(received, Exception):
            raise received
        return received
