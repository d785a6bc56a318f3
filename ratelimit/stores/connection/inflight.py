"""Commands that were sent and wait for their replies, in their order; and when nothing comes at all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.breaker import Breaker
from ratelimit.stores.connection.deadline import DeadlineTimer
from ratelimit.stores.connection.socket import NotMaster, Reply

Done = Callable[[Reply], None]  # called with a reply; with a StoreUnavailable where there is none


class InFlight:
    """Of one link, whose connection `drop` ends with a reason. `timeout` in seconds."""

    def __init__(
        self, breaker: Breaker, timeout: float, drop: Callable[[str], None], used: Callable[[float], None]
    ) -> None:
        self._now = asyncio.get_running_loop().time
        self._breaker = breaker
        self._drop = drop
        self._used = used
        self._alarm = DeadlineTimer(timeout, self._given_up_at, self._give_up)
        self._heard = float("-inf")  # when the last reply came
        self.line: deque[tuple[float, Done]] = deque()  # when it was sent, and who waits
        self.on_answer: Callable[[], None] | None = None

    def answer(self, reply: Reply) -> None:
        """A reply has come."""
        if not self.line:
            self._drop("a reply that nobody asked for")
            return
        _, done = self.line.popleft()
        self._heard = now = self._now()
        self._used(now)
        if self._breaker.down:  # it was stalled
            self._breaker.connected()
            self._alarm.stop()
        if isinstance(reply, NotMaster):  # the next connection may lead to the new master
            self._drop(str(reply))
        done(reply)
        if self.on_answer:
            self.on_answer()

    def fail(self, why: str) -> None:
        """The connection has ended: what was sent may have been applied."""
        self._alarm.stop()
        line, self.line = self.line, deque()
        for _, done in line:
            done(StoreUnavailable(why))

    def notice_silence(self) -> None:
        """Somebody has waited in vain: for a late reply, which is one caller's, or for a store that says nothing."""
        if self.line and self._breaker.stalled(self._now() - self._silent_since()):
            self._alarm.set()

    def _silent_since(self) -> float:
        return max(self._heard, self.line[0][0])

    def _given_up_at(self) -> float | None:
        return self._silent_since() + self._breaker.stall if self.line else None

    def _give_up(self, _: float) -> None:
        self._drop(f"no reply for {self._breaker.stall:.1f} s")


def unheard(_: Reply) -> None:
    """Nobody waits for this reply."""
