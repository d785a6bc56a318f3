"""How long a store takes."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from time import perf_counter
from typing import Any

from ratelimit.model import Admitting, Charge, Decision

SAMPLE = 16  # that are timed of each batch of decisions, and of each second at least: all would cost 0.5 µs a request


class Seconds:
    """What was measured and is not counted yet."""

    __slots__ = ("due", "measured")

    def __init__(self) -> None:
        self.measured: list[float] = []
        self.due = SAMPLE  # how many more are to be timed

    def taken(self) -> list[float]:
        number = len(self.measured)
        taken, self.due = self.measured[:number], SAMPLE
        del self.measured[:number]
        return taken


def timed(store: Admitting, seconds: Seconds) -> Admitting:
    """The store, as a middleware asks it. One that never waits is not timed: there is nothing to see."""
    return store if getattr(store, "at_once", False) else Timed(store, seconds)


class Timed:
    """A store, and the time of some of the decisions that it is asked for, also in vain."""

    def __init__(self, store: Admitting, seconds: Seconds) -> None:
        self._store = store
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def acquire(self, charges: Sequence[Charge]) -> Coroutine[Any, Any, Decision]:
        if self._seconds.due:
            self._seconds.due -= 1
            return self._measured(charges)
        return self._store.acquire(charges)

    async def _measured(self, charges: Sequence[Charge]) -> Decision:
        began = perf_counter()
        try:
            return await self._store.acquire(charges)
        finally:
            self._seconds.measured.append(perf_counter() - began)
