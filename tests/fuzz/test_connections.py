"""WebSockets whose messages are charged, whatever their app and their client do, and in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ratelimit import Charge, Decision, RateLimitMiddleware
from ratelimit.model import Message, Receive, Scope, Send
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import policy
from tests.acceptance.test_hang_ups import drive
from tests.fuzz import fuzzed
from tests.stores import open_slots
from tests.websockets import ACCEPT, scope_of_a_handshake

LIMIT, WINDOW = 3, 10
LIMITS = f"""
  {{ name = "cap", concurrency = 1, lease = "20s" }},
  {{ name = "messages", rate = "MAX/{WINDOW} seconds", operations = ["message"], precision = 10 }},
"""
TABLE = '[websocket]\nmessages = "message"\non_excess = "{}"'
SECONDS = st.sampled_from([0, 0.001, 0.5, 5, 9, 10, 15, 25, 45])
STEPS = st.tuples(st.sampled_from(["work", "ask", "ask", "beside", "read"]), SECONDS)


class Slow(MemoryStore):
    """Takes some of the loop's time to decide on a message."""

    def __init__(self, takes: float) -> None:
        super().__init__(clock=lambda: int(asyncio.get_running_loop().time() * 1_000))
        self._takes = takes

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        if self._takes and charges[0].limit.name == "messages":
            await asyncio.sleep(self._takes)
        return await super().acquire(charges)


class Client:
    """Sends messages, each at its time, and then perhaps closes."""

    def __init__(self, times: Sequence[float], closes: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._messages: list[tuple[float, Message]] = [(0, {"type": "websocket.connect"})]
        self._messages += [(loop.time() + at, _text(number)) for number, at in enumerate(times)]
        if closes is not None:
            self._messages.append((loop.time() + closes, {"type": "websocket.disconnect", "code": 1000}))
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if not self._messages:
            await asyncio.Event().wait()
        at, message = self._messages[0]
        if (left := at - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)
        if message["type"] != "websocket.disconnect":  # which a server says as often as it is asked
            self._messages.pop(0)
        return message

    async def send(self, message: Message) -> None:
        self.sent.append(message)


def _text(number: int) -> Message:
    return {"type": "websocket.receive", "text": str(number)}


@dataclass
class App:
    steps: list[tuple[str, float]]
    got: list[tuple[float, int]] = field(default_factory=list)  # when, and the number of a message
    end: Message | None = None
    dropped: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.dropped = scope.get("ratelimit.dropped")
        asked: list[asyncio.Task[None]] = []

        async def ask() -> None:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.end = message
            else:
                self.got.append((asyncio.get_running_loop().time(), int(message["text"])))

        await receive()
        await send(ACCEPT)
        for step, seconds in self.steps:
            if step == "work":
                await asyncio.sleep(seconds)
            elif step == "beside" and not [task for task in asked if not task.done()]:  # one asks at a time
                asked.append(asyncio.create_task(ask()))
            else:
                if asked:
                    asked[-1].cancel()
                    await asyncio.wait(asked)
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds if step == "ask" else 0.002):
                        await ask()
        if asked:
            await asyncio.wait(asked)
        while self.end is None:
            await ask()


@fuzzed
@given(
    st.lists(STEPS, max_size=8),
    st.lists(SECONDS, max_size=9).map(sorted),
    SECONDS,
    st.sampled_from(["close", "drop", "wait"]),
    st.sampled_from([LIMIT, 1_000]),
    st.sampled_from([0, 1e-6, 0.01]),
)
@example([("ask", 0.0), ("ask", 0.001)], [0, 0, 0], 5, "close", 1_000, 0.001)
@example([("work", 45)], [15, 15, 15, 15], 45, "wait", LIMIT, 0)
def test_every_order(
    steps: list[tuple[str, float]], times: list[float], closes: float, on_excess: str, limit: int, takes: float
) -> None:
    """Each message comes once at most, in its order, in no window more than the limit; none is lost but those that are
    counted as dropped, and those behind a close. When it has ended its slot is free, and no task is left."""
    app = App(steps)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        made = policy(LIMITS.replace("MAX", str(limit)), TABLE.format(on_excess))
        limiter = RateLimitMiddleware(app, made, store=Slow(takes))
        client = Client(times, max([closes, *times]))
        await limiter(scope_of_a_handshake(), client.receive, client.send)
        assert open_slots(limiter.store) == 0  # type: ignore[arg-type]
        assert not limiter._leases._held[loop]._due
        for _ in range(3):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        closed = [message["code"] for message in client.sent if message["type"] == "websocket.close"]
        assert closed in ([], [1008])
        assert app.end is not None
        assert app.end["code"] == (1008 if closed else 1000)
        numbers = [number for _, number in app.got]
        assert numbers == sorted({*numbers})
        if on_excess == "drop":
            assert len(numbers) + app.dropped.count == len(times)
        else:
            assert numbers == [*range(len(numbers))]
            assert closed or len(numbers) == len(times)
        assert limit == LIMIT or not closed
        at = [when for when, _ in app.got]
        assert all(later - earlier >= WINDOW for earlier, later in zip(at, at[limit:], strict=False))

    drive(main())
