"""When to give up waiting for a reply: at a deadline, but never over a reply that has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TURNS = 8  # of the event loop in which a reply that has arrived is still read when the time is up
BUSY = 0.005  # seconds that a timer may be late before it shows that this process was too busy to look


class DeadlineTimer:
    """One timer for all that wait, as they wait equally long: a timer for each would cost more than the wait.

    `earliest` gives the deadline of the one who waits longest, None where nobody does. `ring` is called with a deadline
    by the loop's clock when it has passed; who waits no longer than until then is to be told. `grace` (s) is how much
    longer a process that was too busy to look is given, at most.
    """

    def __init__(self, grace: float, earliest: Callable[[], float | None], ring: Callable[[float], None]) -> None:
        self._grace = grace
        self._earliest = earliest
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self.timer: asyncio.Handle | None = None  # None: nobody waits

    def set(self) -> None:
        """Call it when somebody begins to wait and there is no timer."""
        deadline = self._earliest()
        self.timer = None if deadline is None else self._loop.call_at(deadline, self._look, deadline, TURNS)

    def stop(self) -> None:
        if self.timer:
            self.timer.cancel()
            self.timer = None

    def _look(self, deadline: float, turns: int) -> None:
        earliest = self._earliest()
        if earliest is None or earliest > deadline:
            self.set()
            return
        late = self._loop.time() - deadline
        if turns == TURNS and late > BUSY:
            # For as long as the timer is late this process was busy, perhaps before it had sent anything: not the
            # store's failure. Given once, and at most as long as the grace.
            self.timer = self._loop.call_later(min(late, self._grace), self._look, deadline, turns - 1)
        elif turns:
            self.timer = self._loop.call_soon(self._look, deadline, turns - 1)
        else:
            self._ring(deadline)
            self.set()


async def in_time(reply: asyncio.Future[T], patience: float, ring: Callable[[], None]) -> T:
    """The reply; `ring` is to end it with an error after `patience` seconds."""
    deadline = asyncio.get_running_loop().time() + patience
    alarm = DeadlineTimer(patience, earliest=lambda: None if reply.done() else deadline, ring=lambda _: ring())
    alarm.set()
    try:
        return await reply
    finally:
        alarm.stop()
