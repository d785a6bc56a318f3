"""How long a store takes."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from ratelimit.model import Admitting, Charge, Decision


def timed(store: Admitting, seconds: list[float]) -> Admitting:
    """The store, as a middleware asks it. One that never waits is not timed: there is nothing to see, and it would be
    a third of what telemetry costs."""
    return store if getattr(store, "at_once", False) else Timed(store, seconds)


class Timed:
    """A store, and the time of each decision that it is asked for, also in vain."""

    def __init__(self, store: Admitting, seconds: list[float]) -> None:
        self._acquire = store.acquire
        self._store = store
        self._append = seconds.append

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        began = perf_counter()
        try:
            return await self._acquire(charges)
        finally:
            self._append(perf_counter() - began)
