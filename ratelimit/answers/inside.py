"""A denial from inside: the app has begun, and then its request does not fit after all.

Who finds that out marks it and raises; whatever the app makes of it, by a handler of its own or in a sub-app, what goes
out is the style's whole answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ratelimit.model import Decision, Message, Send, StoreUnavailable

Answering = Callable[[Decision, StoreUnavailable | None], Awaitable[None]]  # sends the whole answer, once

_TOO_LATE = "response already started"  # of Starlette's RuntimeError


class DeniedInside(Exception):
    """Raised in an app whose request is denied after all. The middleware answers it: nobody needs to catch it."""


class Inside:
    """Of one request: whether its response has begun, and what denies it. It knows no scope, as the scope knows it.

    Where it is not given to the middleware's `Response`, nothing can be denied from inside any more.
    """

    __slots__ = ("_raised", "begun", "denial", "failure")

    def __init__(self, *, begun: bool = False) -> None:
        self.begun = begun
        self.denial: Decision | None = None
        self.failure: StoreUnavailable | None = None  # of a store that could not decide
        self._raised: list[Exception] = []

    def deny(self, decision: Decision, error: Exception, failure: StoreUnavailable | None = None) -> bool:
        """Whether it is denied by that, and `error` is to be raised: not where the response has begun. Of several the
        first counts."""
        if self.begun:
            return False
        if self.denial is None:
            self.denial, self.failure = decision, failure
        self._raised.append(error)
        return True

    def end(self) -> None:
        """The request has. What was raised refers to all that led to it: it is not kept."""
        self.begun = True
        self._raised.clear()

    def raised(self, error: BaseException) -> bool:
        """Whether it is what was raised here, also where a task group has put it into a group, or where Starlette says
        of it that its handler comes too late, as a middleware still has the start of the response."""
        if isinstance(error, BaseExceptionGroup):
            return all(map(self.raised, error.exceptions))
        if type(error) is RuntimeError and error.__cause__ is not None and _TOO_LATE in str(error):
            return self.raised(error.__cause__)
        return any(error is one for one in self._raised)


class Response:
    """The app's `send`, in which the whole answer takes the place of a response that starts after a denial.

    `started` is called with the status of what goes out, before its headers do.
    """

    __slots__ = ("_answer", "_answered", "_inside", "_send", "_started")

    def __init__(
        self, inside: Inside, send: Send, answer: Answering, started: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        self._inside = inside
        self._send = send
        self._answer = answer
        self._started = started
        self._answered = False

    async def send(self, message: Message) -> None:
        if self._inside.denial is not None:
            if message["type"] == "http.response.start":
                await self.end()
            return
        if message["type"] == "http.response.start":
            self._inside.begun = True
            if self._started is not None:
                await self._started(message["status"])
        await self._send(message)

    async def end(self) -> None:
        """Answer where it is denied and the app has started nothing."""
        denial = self._inside.denial
        if denial is not None and not self._answered:
            self._answered = True
            await self._answer(denial, self._inside.failure)
