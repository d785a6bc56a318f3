"""The contract of a store, as who writes one runs it: imported, with a subject under a clock of theirs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ratelimit import Concurrency, MemoryStore, Quota
from ratelimit.model import FOREVER
from ratelimit.testing.contract import *  # noqa: F403
from ratelimit.testing.contract import Clock, Subject


@pytest.fixture
def subject() -> Subject:
    clock = Clock()
    return Subject(MyStore(clock), clock.set)


class MyStore(MemoryStore):
    """Somebody's own."""


def test_all_of_it_is_here() -> None:
    """Each promise has a name of its own, so that none takes the place of another."""
    from ratelimit.testing import contract
    from ratelimit.testing.contract import (
        changes,
        holds,
        limits,
        slots,
        units_of_quotas,
        units_of_rates,
        units_together,
    )

    parts = (changes, holds, limits, slots, units_of_quotas, units_of_rates, units_together)
    names = [name for part in parts for name in vars(part) if name.startswith("test_")]
    assert len(names) == len(set(names)) > 40
    assert set(contract.__all__) == {*names, "Clock", "Subject"}
    assert set(names) <= set(globals())


class Generous(MemoryStore):
    """One that counts a millisecond short: what the contract is for."""

    async def acquire(self, charges):  # type: ignore[no-untyped-def]
        moved, self._moved = self._moved, lambda: moved() + 1
        try:
            return await super().acquire(charges)
        finally:
            self._moved = moved


class OfUTC(MemoryStore):
    """One that has no time zones."""

    async def acquire(self, charges):  # type: ignore[no-untyped-def]
        return await super().acquire([replace(c, limit=replace(c.limit, kind=_in_utc(c.limit.kind))) for c in charges])


class Monthly(MemoryStore):
    """One whose calendar has nothing but days and months."""

    async def acquire(self, charges):  # type: ignore[no-untyped-def]
        return await super().acquire([replace(c, limit=replace(c.limit, kind=_month(c.limit.kind))) for c in charges])


def _in_utc(kind: Any) -> Any:
    return replace(kind, timezone="UTC")


def _month(kind: Any) -> Any:
    return replace(kind, period="month") if kind.period in ("week", "year") else kind


def timelines() -> list[tuple[Any, Any]]:
    from ratelimit.testing.contract import limits

    (mark,) = limits.test_one_limit.pytestmark  # type: ignore[attr-defined]
    return [row for row in mark.args[1] if isinstance(row[0].limit.kind, Quota)]


@pytest.mark.parametrize(("store", "caught"), [(OfUTC, {"day"}), (Monthly, {"week", "year"})])
def test_a_store_with_another_calendar(store: type[MemoryStore], caught: set[str]) -> None:
    """It fails where a period ends elsewhere."""
    from ratelimit.testing.contract import limits

    failed = set()
    for limit, timeline in timelines():
        clock = Clock()
        try:
            limits.test_one_limit(Subject(store(clock), clock.set), limit, timeline)
        except AssertionError:
            failed.add(limit.limit.kind.period)
    assert failed == caught


class InTwoSteps(MemoryStore):
    """One that looks, and writes when it comes back."""

    async def acquire(self, charges):  # type: ignore[no-untyped-def]
        rest = [charge for charge in charges if not isinstance(charge.limit.kind, Concurrency)]
        seen = await self.peek(rest)
        await asyncio.sleep(0)
        unlimited = [replace(charge, maxes=((FOREVER, FOREVER),)) for charge in charges]
        return await super().acquire(unlimited) if seen.allowed else seen


class Forgetful(MemoryStore):
    """One whose counters end with its connections."""

    async def close(self) -> None:
        self.__init__(self._moved)  # type: ignore[misc]


class Polite(MemoryStore):
    """One that releases when everybody else had a turn."""

    async def release(self, leases):  # type: ignore[no-untyped-def]
        await asyncio.sleep(0)
        await super().release(leases)


@pytest.mark.parametrize(
    ("store", "name"),
    [(InTwoSteps, "test_in_parallel"), (Forgetful, "test_closed"), (Polite, "test_a_release_that_is_cancelled")],
)
def test_a_store_that_is_not_there_in_time(store: type[MemoryStore], name: str) -> None:
    """It fails where requests come at once, are cancelled, or come after a close."""
    from ratelimit.testing.contract import slots

    clock = Clock()
    with pytest.raises(AssertionError):
        getattr(slots, name)(Subject(store(clock), clock.set))


def test_a_store_that_is_not_strict() -> None:
    """It fails, at the millisecond at which it admits too early."""
    from ratelimit.testing.contract import limits

    clock = Clock()
    with pytest.raises(AssertionError):
        limits.test_one_limit(Subject(Generous(clock), clock.set), limits.rate(3, 60_000), limits.A_MINUTE_OF_THREE)
