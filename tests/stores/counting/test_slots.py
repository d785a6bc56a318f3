"""A concurrency cap in memory: no step costs more the more is held, and it counts as if each lease was looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.model import Lease
from ratelimit.stores.counting.counters import SPARE, Slots
from ratelimit.stores.counting.terms import terms_at
from ratelimit.stores.memory import MemoryStore
from tests.stores import concurrency

T = 1_772_359_200_000
LEASE = 60_000
pytestmark = pytest.mark.repeated


class Instant(int):
    """One that counts how often such are compared; what is made of it is one too."""

    compared = 0

    def __add__(self, other: int) -> Instant:
        return Instant(int(self) + int(other))

    def _counted(compare: Callable[[int, int], bool]) -> Any:  # type: ignore[misc]  # noqa: N805 - it makes methods
        def method(self: Instant, other: int) -> bool:
            Instant.compared += 1
            return compare(self, other)

        return method

    __radd__ = __add__
    __lt__, __le__, __gt__ = _counted(int.__lt__), _counted(int.__le__), _counted(int.__gt__)
    __ge__, __eq__ = _counted(int.__ge__), _counted(int.__eq__)
    __hash__ = int.__hash__


async def cost_of(held: int) -> dict[str, float]:
    """Comparisons of instants that each step takes on the average, with so many slots held."""
    now = Instant(T)
    store, cap, full = MemoryStore(clock=lambda: now), concurrency(held + 500, LEASE), concurrency(held, LEASE)
    leases: list[Lease] = []
    for _ in range(held):
        leases += (await store.acquire([cap])).leases
        now += 1
    costs = {}

    async def measured(name: str, steps: int, step: Callable[[int], Any]) -> None:
        before = Instant.compared
        for n in range(steps):
            await step(n)
        costs[name] = (Instant.compared - before) / steps

    async def come_and_go(_: int) -> None:
        nonlocal now
        now += 1
        decision = await store.acquire([cap])
        assert decision.allowed
        await store.release(decision.leases)

    async def come(_: int) -> None:
        nonlocal now
        now += 2
        assert (await store.acquire([cap])).allowed

    async def denied(_: int) -> None:
        assert not (await store.acquire([full])).allowed

    async def renewed(n: int) -> None:
        assert await store.renew([leases[n % len(leases)]]) == []

    await measured("denied", 200, denied)
    await measured("come and go", 2_000, come_and_go)
    await measured("renewed", 200, renewed)
    now += LEASE - held - 2_000  # the first of them end, one after the other
    await measured("come as others end", 400, come)
    await measured("lost and taken again", 200, renewed)
    return costs


def test_what_a_cap_costs() -> None:
    """With 3,000 slots held an acquire, a denial and a renewal cost about what they cost with 50."""
    few, many = asyncio.run(cost_of(50)), asyncio.run(cost_of(3_000))
    for name, least in few.items():
        assert many[name] <= 4 * least + 60, name  # a heap of 60 times as many is 6 levels higher


@pytest.mark.parametrize("back_ms", [1, 100, 10 * LEASE])
def test_what_a_clock_that_went_back_costs(back_ms: int) -> None:
    """A full cap is mended once, not at each of the denials that follow; in one whose leases are well nothing is."""

    async def test() -> None:
        now, full = Instant(T), concurrency(5_000, LEASE)
        store = MemoryStore(clock=lambda: now)
        for _ in range(5_000):
            await store.acquire([full])
        now = Instant(T - back_ms)
        assert not (await store.acquire([full])).allowed
        before = Instant.compared
        for _ in range(100):
            assert not (await store.acquire([concurrency(5_000, LEASE // 2)])).allowed
        assert Instant.compared - before < 5_000
        now = Instant(T - back_ms + LEASE + (back_ms if back_ms < LEASE else 0))
        assert (await store.acquire([full])).allowed

    asyncio.run(test())


def test_a_cap_does_not_grow() -> None:
    """What was given back leaves nothing behind but for a bound, however often that is and whoever holds on."""
    slots, terms = Slots(), terms_at(concurrency(9), T)
    for n in range(1_000):
        slots.charge(T + n, terms, 1)
        slots.give(Lease("k", f"{n}/{LEASE}", LEASE), T + n)
        if n:
            slots.give_back(Lease("k", f"{n}/{LEASE}", LEASE))
    assert slots.used(T + 1_000, terms) == 1
    assert len(slots._queue) <= 2 + SPARE
    assert (len(slots.leases), len(slots._ended), len(slots._latest)) == (1, 0, 1)


class Plain:
    """What Slots is short for: every lease is looked at every time."""

    def __init__(self) -> None:
        self.leases: dict[str, int] = {}

    def used(self, now: int) -> int:
        return sum(expiry > now for expiry in self.leases.values())

    def drop(self, now: int) -> None:
        self.leases = {one: expiry for one, expiry in self.leases.items() if expiry > now}

    def repair(self, now: int, most: int, lease_ms: int) -> int:
        longest = 0
        for one, expiry in self.leases.items() if self.used(now) >= most else ():
            own = int(one.partition("/")[2] or 0)
            if expiry > now + 2 * max(own, lease_ms):
                self.leases[one] = now + (own or lease_ms)
                longest = max(longest, own or lease_ms)
        return longest


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["look", "charge", "charge", "charge", "renew", "give back"]),
        st.one_of(st.integers(-30, 30), st.sampled_from([-500, 500])),
        st.sampled_from(["0/20", "1/20", "2/20", "3/50", "4/50", "5"]),
        st.sampled_from([20, 50]),
        st.integers(0, 4),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_as_if_each_was_looked_at(steps: list[tuple[str, int, str, int, int]]) -> None:
    """Whatever comes, with leases of several lengths and a clock that goes back and forth."""
    slots, plain, now = Slots(), Plain(), T
    for action, advance, name, lease_ms, most in steps:
        now += advance
        lease = Lease("k", name, int(name.partition("/")[2] or lease_ms), most)
        terms = terms_at(concurrency(most, lease_ms), now)
        if action == "look":
            assert slots.repair(now, terms) == plain.repair(now, most, lease_ms)
        elif action == "charge":
            slots.charge(now, terms, 1)
            slots.give(lease, now)
            plain.drop(now)
            plain.leases[name] = now + lease.lease_ms
        elif action == "renew":
            room = True
            if name not in plain.leases:
                plain.drop(now)
                room = len(plain.leases) < most
            plain.leases[name] = now + lease.lease_ms
            assert slots.renew(lease, now) is room
        else:
            slots.give_back(lease)
            plain.leases.pop(name, None)
        assert slots.used(now, terms) == plain.used(now)
