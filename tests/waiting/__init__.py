"""Requests that wait, on an event loop whose time goes on when nobody has anything to do: nothing here sleeps."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ratelimit import RateLimitMiddleware
from ratelimit.model import Charge, Decision, Message, Scope
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import ANA, BEN, header, plain, policy, scope_of

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
ONE_A_SECOND = '{ name = "requests", rate = "1/second", precision = 1 }'  # free again two seconds after it began


class Stepping(selectors.DefaultSelector):
    """Nobody is waited for: the time is put forward to the next timer."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nobody would ever go on")
        if not ready and timeout:
            self.now += timeout
        return ready


class SteppedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.steps = Stepping()
        super().__init__(self.steps)

    def time(self) -> float:
        return self.steps.now


class Asked(MemoryStore):
    """A memory store by the loop's time, that tells when it was asked, in milliseconds."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: T + self.now_ms())
        self.asked: list[int] = []

    def now_ms(self) -> int:
        return round(asyncio.get_running_loop().time() * 1_000)

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        self.asked.append(self.now_ms())
        return await super().acquire(charges)


class Call:
    """One request of a test: what it was answered, and when."""

    def __init__(self, app: Any, scope: Scope, received: Sequence[Message | float | Exception]) -> None:
        self.status = 0
        self.sent: list[Message] = []
        self.at_ms = -1
        self.receives, self.receiving = 0, False
        self._app, self._scope, self._to_come = app, scope, [*received]
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> Message:
        """What there is to receive: a message, the time from when on there is the next one, an error to raise."""
        assert not self.receiving, "two at a time"
        self.receives, self.receiving = self.receives + 1, True
        try:
            return await self._next()
        finally:
            await _turn_in_spite_of_all()
            self.receiving = False

    async def _next(self) -> Message:
        while self._to_come:
            here = self._to_come[0]
            if isinstance(here, float):
                await asyncio.sleep(max(0.0, here - asyncio.get_running_loop().time()))
                self._to_come.pop(0)
                continue
            self._to_come.pop(0)
            if isinstance(here, Exception):
                raise here
            return here
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.start":
            self.status, self.at_ms = message["status"], round(asyncio.get_running_loop().time() * 1_000)

    @property
    def retry_after(self) -> str | None:
        return header(self.sent[0], "retry-after")


async def _turn_in_spite_of_all() -> None:
    """A server's `receive` that is cancelled may take a turn to end."""
    await asyncio.sleep(0)


EMPTY: Message = {"type": "http.request", "body": b"", "more_body": False}
GONE: Message = {"type": "http.disconnect"}


class Street:
    """A limited app, its store, and what was called."""

    def __init__(
        self, wait: str, limits: str = ONE_A_SECOND, app: Any = plain, *, store: Any = None, more: str = ""
    ) -> None:
        self.store = store or Asked()
        made = policy(f"{limits} ]\nwait = {wait}\n# [", more=more, anonymous="1000/second")
        self.app = RateLimitMiddleware(app, made, store=self.store)
        self.calls: list[Call] = []

    def call(self, api_key: str = ANA, received: Sequence[Any] = (EMPTY,), path: str = "/7", **headers: str) -> Call:
        self.calls.append(Call(self.app, scope_of(path, api_key=api_key, **headers), received))
        return self.calls[-1]

    async def answers(self) -> list[tuple[int, int]]:
        """The status of each call in their order, and when it was answered, in milliseconds."""
        await asyncio.gather(*[call.task for call in self.calls], return_exceptions=True)
        return [(call.status, call.at_ms) for call in self.calls]


def stepped(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        runner.run(main())


__all__ = ["ANA", "BEN"]
