"""Requests that hold a slot, whatever their app, their caller and their server do, and in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ratelimit import RateLimitMiddleware
from ratelimit.model import Message, Receive, Scope, Send
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import driven, policy, scope_of
from tests.acceptance.test_hang_ups import drive
from tests.fuzz import fuzzed
from tests.stores import open_slots

LEASE = 20
CAP = policy(f'{{ name = "in flight", concurrency = 1, lease = "{LEASE}s" }}')

Step = tuple[str, float]


@dataclass
class Caller:
    """Sends parts of a body one after the other, and perhaps hangs up."""

    parts: list[float]  # when each comes
    hangs_up: float | None
    sends_raise: bool
    taken: int = 0
    began: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> float:
        return asyncio.get_running_loop().time() - self.began

    def begin(self) -> None:
        loop = asyncio.get_running_loop()
        self.began = loop.time()
        for at in [*self.parts, self.hangs_up or 0]:
            loop.call_later(at, self.changed.set)

    def gone(self) -> bool:
        return self.hangs_up is not None and self.now() >= self.hangs_up

    async def receive(self) -> Message:
        while True:
            if self.gone():
                return {"type": "http.disconnect"}
            if self.taken < len(self.parts) and self.now() >= self.parts[self.taken]:
                self.taken += 1
                body = str(self.taken).encode()
                return {"type": "http.request", "body": body, "more_body": self.taken < len(self.parts)}
            self.changed.clear()
            await self.changed.wait()

    async def send(self, message: Message) -> None:
        if self.sends_raise and self.gone():
            raise OSError("the caller has gone")


@dataclass
class App:
    steps: list[Step]
    received: list[Message] = field(default_factory=list)
    beside: list[asyncio.Task[None]] = field(default_factory=list)
    said_all: bool = False
    works: bool = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def ask() -> None:
            self.received.append(await receive())

        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for step, seconds in self.steps:
                await self._do(step, seconds, ask, send)
        finally:
            self.works = False
            for task in self.beside:
                task.cancel()

    async def _do(self, step: str, seconds: float, ask: Callable[[], Coroutine[Any, Any, None]], send: Send) -> None:
        match step:
            case "work":
                await asyncio.sleep(seconds)
            case "chunk":
                with suppress(OSError):
                    await send({"type": "http.response.body", "body": b"a", "more_body": True})
            case "last":
                self.said_all = True
                await send({"type": "http.response.body", "body": b""})
            case "raise":
                raise ValueError("the app's own")
            case "beside":
                self.beside.append(asyncio.create_task(ask()))
            case "read":
                for _ in range(100):
                    if self.received and not self.received[-1].get("more_body"):
                        break
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            await ask()
                else:
                    raise AssertionError("a message was lost")
            case _:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds if step == "ask" else 0):
                        await ask()


SECONDS = st.sampled_from([0, 0.5, 5, 9, 10, 10.5, 15, 25, 45, 70])
STEPS = st.tuples(st.sampled_from(["work", "work", "chunk", "ask", "peek", "read", "beside", "last", "raise"]), SECONDS)


@fuzzed
@given(
    st.lists(STEPS, max_size=7),
    st.lists(SECONDS, max_size=3).map(sorted),
    st.none() | SECONDS,
    st.booleans(),
    st.tuples(st.sampled_from(["never", "cancel", "close", "drop"]), SECONDS),
)
def test_every_order(
    steps: list[Step], parts: list[float], hangs_up: float | None, sends_raise: bool, end: tuple[str, float]
) -> None:
    """Whoever hangs up, cancels, closes or drops it, and whenever: when a request has ended its slot is free and no
    task is left, its app got all that it asked for, in order, and a hang-up that can be seen frees the slot in time."""
    app = App(steps)
    seen: list[tuple[float, int]] = []  # when, and how many slots
    caller = Caller(parts or [0], hangs_up, sends_raise)  # who sends no body sends an empty one

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limiter = RateLimitMiddleware(app, CAP, store=MemoryStore(clock=lambda: int(loop.time() * 1_000)))

        def held() -> int:
            return open_slots(limiter.store)

        caller.begin()
        body = {"content_length": "9"} if parts else {}

        async def request() -> None:
            await driven(limiter(scope_of(**body), caller.receive, caller.send), end[0])

        task = asyncio.create_task(request())
        if end[0] != "never":
            loop.call_later(end[1], task.cancel)
        while not task.done():
            await asyncio.wait([task], timeout=2.5)
            if app.works:
                seen.append((caller.now(), held()))
        with suppress(ValueError, OSError, asyncio.CancelledError):
            task.result()
        await asyncio.sleep(0)
        assert held() == 0
        assert not limiter._leases._held[loop]._due
        assert limiter._leases._held[loop]._timer is None
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    drive(main())
    bodies = [message["body"] for message in app.received if message["type"] == "http.request"]
    assert bodies == [str(number).encode() for number in range(1, len(bodies) + 1)]
    if hangs_up is not None and (not parts or caller.taken == len(parts)):
        assert not any(slots for at, slots in seen if at > max(hangs_up, 0) + 1.5 * LEASE + 2.5)
        assert app.said_all or all(slots for at, slots in seen if at < hangs_up + LEASE)
    kinds = [message["type"] for message in app.received]
    assert kinds == sorted(kinds, reverse=True)  # http.disconnect is the end
