"""One pass over a log tells for every threshold whom it would deny: held against the store, one threshold at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit import Policy
from ratelimit.model import FOREVER, Charge, Lease
from ratelimit.simulate.analysis.found import POINTS, thresholds_of
from ratelimit.stores.memory import MemoryStore
from tests.simulate.analysis import HOUR, MINUTE, Asked, T, policy, watched, who

LIMITS = """
  { name = "requests", rate = "20/minute" },
  { name = "odd", rate = "7/10 seconds", precision = 3, cost = { create = 3, detail_read = 0 } },
  { name = "writes", rate = "5/minute", operations = ["create"], per = ["identity", "seat"] },
  { name = "daily", quota = "60/day", cost = { create = 2 } },
  { name = "at once", concurrency = 3 },
  { name = "many at once", concurrency = 25 },
  { name = "high", rate = "400/minute" }
"""


def made_up(seed: int, callers: int = 4, requests: int = 150, over: int = 4 * MINUTE) -> list[Asked]:
    """Bursts, pauses and steady callers, around the end of a day."""
    dice = random.Random(seed)
    asked = []
    for name in range(callers):
        at = T + 13 * HOUR + 58 * MINUTE + dice.randrange(over)
        for _ in range(dice.randrange(1, requests)):
            at += dice.choice([0, 1, 40, 900, 1_000, dice.randrange(7_000), dice.choice([0, 0, 0, 90_000])])
            took = dice.choice([0, 5, 300, 5_000])
            operation = dice.choice(["search", "search", "create", "detail_read"])
            identity = who(f"c{name}", seat=dice.randrange(2))
            asked.append(Asked(at, identity, operation, took))
    return sorted(asked, key=lambda one: one.at)


def alone(of: Policy, name: str, asked: Sequence[Asked], threshold: int) -> tuple[set[str], int]:
    """Whom the store denies with this limit alone at that max, and how many requests."""
    now, denied, count = [0], set(), 0
    store = MemoryStore(clock=lambda: now[0])
    ends: list[tuple[int, int, Sequence[Lease]]] = []

    async def run() -> None:
        nonlocal count
        for number, one in enumerate(asked):
            while ends and ends[0][0] <= one.at:
                now[0], _, leases = heappop(ends)
                await store.release(leases)
            now[0] = one.at
            charges = [charge for charge in of.charges(one.who, one.operation) if charge.limit.name == name]
            ours = [Charge(charge.limit, charge.key, charge.cost, ((FOREVER, threshold),)) for charge in charges]
            decision = await store.acquire(ours)
            if not decision.allowed:
                denied.add(one.who.root[1])
                count += 1
            elif decision.leases:
                heappush(ends, (one.at + one.took, number, decision.leases))

    asyncio.run(run())
    return denied, count


def held_against(seed: int, thresholds: int) -> None:
    of, asked = policy(LIMITS), made_up(seed)
    found = watched(of, asked)
    dice = random.Random(seed)
    for limit in of.tiers["basic"]:
        seen = found.limits["basic", limit.name]
        most = max(seen.peaks)
        for threshold in dice.sample(range(most + 2), min(thresholds, most + 2)):
            denied, _ = alone(of, limit.name, asked, threshold)
            assert sum(count for peak, count in seen.peaks.items() if peak > threshold) == len(denied), limit.name
        for point, threshold in enumerate(thresholds_of(limit.max({}))):
            denied, count = alone(of, limit.name, asked, threshold)
            assert seen.points[point] == count, (limit.name, POINTS[point])
            share = POINTS[point] / 100
            assert sum(count for part, count in seen.shares.items() if part > share) == len(denied), limit.name
    assert found.requests == len(asked)


def test_the_curve_is_exact() -> None:
    """Of each limit, a rate, a quota or a cap, with costs or without: as many callers are above a threshold as the
    store denies there, and as many requests are denied at the points as it denies."""
    held_against(seed=3, thresholds=6)


@pytest.mark.repeated
@pytest.mark.proof
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_at_fifty_thresholds_of_many_logs(seed: int) -> None:
    """The same of more of them."""
    held_against(seed, thresholds=50)


@pytest.mark.repeated
@settings(max_examples=2, deadline=None)
@given(st.integers(0, 2**32))
def test_at_fifty_thresholds(seed: int) -> None:
    """The same at random, and at fifty thresholds of each limit."""
    held_against(seed, thresholds=50)
