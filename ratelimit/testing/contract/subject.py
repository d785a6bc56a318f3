"""The store that the suite is run over, and charges as a policy would make them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Self

from ratelimit.model import FOREVER, Charge, Concurrency, Decision, Lease, Limit, Quota, Rate, Store


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


# 10:00:00.000 on a Tuesday; a minute's limit has sub-windows of one second from there.
T = ms("2026-03-10T10:00:00")


class Subject:
    """A store, and what puts its clock to an instant: `Subject(MyStore(clock), clock.set)`.

    Each test has one of its own, that knows of no request yet: a store that keeps its counters elsewhere needs another
    prefix for each.
    """

    def __init__(self, store: Store, move: Callable[[int], object]) -> None:
        self.store = store
        self._move = move

    def at(self, now_ms: int) -> Self:
        self._move(now_ms)
        return self

    async def acquire(self, *charges: Charge) -> Decision:
        return await self.store.acquire(charges)

    async def release(self, *leases: Lease) -> None:
        await self.store.release(leases)

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        """Run a test on a loop of its own, and close the store with it."""

        async def main() -> None:
            try:
                await test
            finally:
                await self.store.close()

        asyncio.run(main())


def rate(maximum: int, window_ms: int, precision: int = 60, **rest: Any) -> Charge:
    return charge(Rate(window_ms, min(precision, window_ms)), maximum, **rest)


def quota(maximum: int, period: Any = "month", timezone: str = "UTC", anchor_day: int = 1, **rest: Any) -> Charge:
    return charge(Quota(period, timezone, anchor_day), maximum, **rest)


def concurrency(maximum: int, lease_ms: int = 60_000, **rest: Any) -> Charge:
    return charge(Concurrency(lease_ms), maximum, **rest)


def charge(
    kind: Rate | Quota | Concurrency,
    maximum: int,
    *,
    cost: int = 1,
    key: str = "",
    mode: Any = "enforce",
    enforce_from_ms: int = 0,
    hold: bool = False,
    maxes: tuple[tuple[int, int], ...] = (),
    stages: tuple[tuple[int, bool], ...] = (),
) -> Charge:
    """A charge by itself, as a policy would make it."""
    name = key or type(kind).__name__.lower()
    limit = Limit(name, kind, lambda _: maximum, mode=mode, enforce_from_ms=enforce_from_ms, hold=hold)
    return Charge(limit, f"{{user=ana}}:{name}", cost, maxes or ((FOREVER, maximum),), stages)
