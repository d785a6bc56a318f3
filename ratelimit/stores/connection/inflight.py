"""Commands that were sent over a link and wait for their replies, in their order; and when nothing comes at all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.breaker import Breaker
from ratelimit.stores.connection.deadline import DeadlineTimer
from ratelimit.stores.connection.errors import NotMaster
from ratelimit.stores.connection.socket import Reply

Done = Callable[[Reply], None]  # called with a reply; with a StoreUnavailable where there is none


class InFlight:
    """Of one link, whose connection `drop` ends with a reason. `timeout` in seconds. `retry` asks a store that was
    too late once more, `on_back` is told that it answers in time again."""

    def __init__(
        self,
        breaker: Breaker,
        timeout: float,
        drop: Callable[[str], None],
        used: Callable[[float], None],
        retry: Callable[[], None],
        on_back: Callable[[], None],
    ) -> None:
        self._now = asyncio.get_running_loop().time
        self._breaker = breaker
        self._drop = drop
        self._used = used
        self._timeout = timeout
        self._retry, self._on_back = retry, on_back
        self._timer = DeadlineTimer(lambda: timeout, self._given_up_at, self._give_up)
        self._heard = float("-inf")  # when the last reply came in time
        self.line: deque[tuple[float, Done]] = deque()  # when it was sent, and who waits
        self.on_answer: Callable[[], None] | None = None

    def answer(self, reply: Reply) -> None:
        """A reply has come."""
        if not self.line:
            self._drop("a reply that nobody asked for")
            return
        sent, done = self.line.popleft()
        now = self._now()
        self._used(now)
        if now - sent <= self._timeout:
            self._heard = now
        back = False
        if self._breaker.down:  # it was stalled
            if back := self._heard == now:
                self._breaker.answered()
                self._timer.stop()
            elif not self.line:
                self._ask_again(sent)
        if isinstance(reply, NotMaster):  # the next connection may lead to the new master
            self._drop(str(reply))
        done(reply)
        if back:
            self._on_back()
        if self.on_answer:
            self.on_answer()

    def _ask_again(self, sent: float) -> None:
        """The last reply came too late. The store is back when it answers in time, and is asked for that as often as it
        would be connected to."""
        self._breaker.unreachable(f"no reply within {self._timeout * 1000:.0f} ms, but later")
        wait = max(0.0, self._breaker.next_attempt(sent) - self._now())
        asyncio.get_running_loop().call_later(wait, self._retry, context=Context())

    def fail(self, why: str) -> None:
        """The connection has ended: what was sent may have been applied."""
        self._timer.stop()
        line, self.line = self.line, deque()
        for _, done in line:
            done(StoreUnavailable(why))

    def watch(self) -> None:
        """Give the connection up where nothing comes."""
        if self._timer.timer is None:
            self._timer.set()

    def notice_silence(self) -> None:
        """Somebody has waited in vain: for a late reply, which is one caller's, or for a store that says nothing."""
        if self.line and self._breaker.stalled(self._now() - self._silent_since()):
            self.watch()

    def _silent_since(self) -> float:
        return max(self._heard, self.line[0][0])

    def _given_up_at(self) -> float | None:
        return self._silent_since() + self._breaker.stall if self.line else None

    def _give_up(self, _: float) -> None:
        self._drop(f"no reply for {self._breaker.stall:.1f} s")


def unheard(_: Reply) -> None:
    """Nobody waits for this reply."""


def heard(reply: asyncio.Future[Reply]) -> None:
    """Nobody waits for it, and what there was to hear another one says: what ASKING came to, the command behind it."""
    reply.exception()
