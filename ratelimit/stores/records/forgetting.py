"""What counts no more is dropped also while nobody asks: on the event loop that runs, some of it at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import Context
from weakref import WeakMethod

from ratelimit.ground.loops import Loop, running

EVERY = 15.0  # seconds: what has expired is gone a quarter of a minute later
PAUSE = 0.002  # seconds between two looks at 1,000 callers, which take 0.2 ms
LATE = 30.0  # seconds after which a loop is taken for one that does not run any more


class Forgetting:
    """`forget_some` drops a part of what counts no more: True where all was looked at, None where nothing is left."""

    def __init__(self, forget_some: Callable[[], bool | None]) -> None:
        self._forget_some = WeakMethod(forget_some)  # a store that nobody uses goes with all that it has
        self._due = 0.0
        self._timer: object = None  # trio keeps no task that nobody has

    def wake(self) -> None:
        """There is something that will have to be forgotten."""
        if time.monotonic() > self._due:
            try:
                loop = running()
            except RuntimeError:
                return  # a caller without one: the next who has one
            self._later(loop, EVERY)

    def _later(self, loop: Loop, delay: float) -> None:
        self._due = time.monotonic() + delay + LATE
        self._timer = loop.call_later(delay, self._tick, loop, self._due, context=Context())

    def _tick(self, loop: Loop, due: float) -> None:
        if due != self._due:
            return  # its loop had paused, and another timer has taken its place
        forget_some = self._forget_some()
        looked_at_all = forget_some() if forget_some else None
        if looked_at_all is None:
            self._due = 0.0
        else:
            self._later(loop, EVERY if looked_at_all else PAUSE)
