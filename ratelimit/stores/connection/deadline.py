"""When to give up waiting for a reply: at a deadline, but never over a reply that has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from ratelimit.model import StoreUnavailable

T = TypeVar("T")

TURNS = 8  # of the event loop in which a reply that has arrived is still read when the time is up
BUSY = 0.005  # seconds that a timer may be late before it shows that this process was too busy to look
APART = 0.002  # seconds from one ring to the next: thousands who came one after the other are told in few


class _Standstill:
    """Of one event loop: until when it last stood still, by its clock. Whose deadline passed by then has had grace."""

    ended = float("-inf")


_standstills: WeakKeyDictionary[asyncio.AbstractEventLoop, _Standstill] = WeakKeyDictionary()


class DeadlineTimer:
    """One timer for all that wait, as they wait equally long: a timer for each would cost more than the wait.

    `earliest` gives the deadline of the one who waits longest, None where nobody does. `ring` is called with a deadline
    by the loop's clock when it has passed; who waits no longer than until then is to be told. `grace` says how much
    longer (s) is waited at most where this process was too busy to look. That is for the loop and not the timer: who
    waits for one thing after the other has it once, and so have all whose time was up while the loop stood still.
    """

    def __init__(
        self, grace: Callable[[], float], earliest: Callable[[], float | None], ring: Callable[[float], None]
    ) -> None:
        self._grace = grace
        self._earliest = earliest
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._standstill = _standstills.setdefault(self._loop, _Standstill())
        self._rung = float("-inf")
        self.timer: asyncio.Handle | None = None  # None: nobody waits
        self.at = float("inf")  # the deadline that it is set to

    def set(self) -> None:
        """Call it when somebody begins to wait and there is no timer, or waits less long than it is set to."""
        deadline = self._earliest()
        self.stop()
        if deadline is not None:
            self.at = deadline
            self.timer = self._loop.call_at(max(deadline, self._rung + APART), self._due, deadline)

    def stop(self) -> None:
        self.at = float("inf")
        if self.timer:
            self.timer.cancel()
            self.timer = None

    def _due(self, deadline: float) -> None:
        earliest = self._earliest()
        if earliest is None or earliest > deadline:
            self.set()
            return
        now, standstill = self._loop.time(), self._standstill
        if now - deadline <= BUSY:
            self._look(max(now, deadline), TURNS)  # a loop's clock may be a little behind its timers
            return
        if deadline > standstill.ended:
            standstill.ended = now
        # For as long as the timer is late this process was busy, perhaps before it had sent anything: not the store's
        # failure. As much is given again, at most the grace, and for all whose time is up meanwhile: they came before
        # the loop went on.
        ended = standstill.ended
        until = ended + min(ended - deadline, self._grace())
        if until > now:
            self.timer = self._loop.call_at(until, self._grace_is_over, until, ended)
        else:
            self._look(max(ended, deadline), TURNS)

    def _grace_is_over(self, until: float, ended: float) -> None:
        """Of the standstill that ended then. Late, the loop has stood still once more: for those whose time was not up
        by then that is their first."""
        again = self._loop.time() - until > BUSY
        self._look(ended if again else until, TURNS)

    def _look(self, deadline: float, turns: int) -> None:
        """Who waits no longer than until then is told in so many turns, unless a reply comes in one of them."""
        earliest = self._earliest()
        if earliest is None or earliest > deadline:
            self.set()
        elif turns:
            self.timer = self._loop.call_soon(self._look, deadline, turns - 1)
        else:
            self._ring(deadline)
            self._rung = self._loop.time()
            self.set()


async def in_time(reply: asyncio.Future[T], patience: float, ring: Callable[[], None]) -> T:
    """The reply; `ring` is to end it with an error after `patience` seconds."""
    deadline = asyncio.get_running_loop().time() + patience
    timer = DeadlineTimer(lambda: patience, lambda: None if reply.done() else deadline, lambda _: ring())
    timer.set()
    try:
        return await reply
    finally:
        timer.stop()


def resolve(future: asyncio.Future[Any] | None, reply: Any) -> None:
    """Tell who waits for a reply; a StoreUnavailable is raised there."""
    if future and not future.done():
        settle = future.set_exception if isinstance(reply, StoreUnavailable) else future.set_result
        settle(reply)
