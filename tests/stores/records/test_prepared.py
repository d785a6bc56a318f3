"""What is prepared for who comes again decides as a look at each counter would, and costs nothing to who does not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from ratelimit.model import Charge, Decision
from ratelimit.stores.counting.allowed import AllowedDecision
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.records import prepared
from tests.stores import concurrency, quota, rate

T = 1_772_359_200_000
DAY = 86_400_000


def charge_sets(dice: random.Random) -> list[tuple[Charge, ...]]:
    """Some that share counters at different costs, as the operations of a tier do, and all kinds of limits."""
    window, long = dice.choice([60, 1_000, 7_000]), dice.choice([10_000, 3 * DAY])
    tight = dice.choice([3, 50, 10**6])
    one = rate(tight, window, dice.choice([1, 7, 60]), key="one")
    two = rate(4 * tight, long, key="two", cost=dice.choice([1, 2]))
    month = quota(dice.choice([20, 10**9]), dice.choice(["day", "month"]), key="month")
    free = rate(5, 1_000, key="free", cost=0)
    shadow = rate(2, 1_000, key="shadow", mode="shadow")
    late = rate(3, 1_000, key="late", enforce_from_ms=T + dice.choice([500, 5_000]))
    cap = concurrency(2, key="cap", lease_ms=3_000)
    held = rate(9, 1_000, key="held", hold=True)
    sets = [(one,), (two, month), (one, two, month), (one, free), (month, shadow), (late, one), (one, cap), (held, two)]
    return [tuple(dice.sample(charges, len(charges))) for charges in sets]


def advance(dice: random.Random) -> int:
    """Mostly within a sub-window; now and then over the end of one, back, and over a day."""
    kind = dice.random()
    if kind < 0.7:
        return dice.choice([0, 0, 1, 3])
    if kind < 0.95:
        return dice.choice([20, 150, 400, 999, 1_000])
    return dice.choice([-1, -500, -3_000, 2_500, 61_000, -DAY, DAY])


async def both(one: MemoryStore, other: MemoryStore, dice: random.Random, charges: tuple[Charge, ...]) -> bool:
    """The same verb of both: the first is given the tuple that it knows, the second a list that it can't know. Whether
    what was prepared has decided."""
    given: Sequence[Sequence[Charge]] = charges, list(charges)
    verb = dice.random()
    units = [charge for charge in charges if charge.limit.name != "cap"]
    if verb < 0.03:
        assert await one.charge(units, 2) == await other.charge(units, 2)
    elif verb < 0.06:
        assert await one.peek(units, 2) == await other.peek(units, 2)
    elif verb < 0.07:
        keys = [dice.choice(charges).key]
        assert await one.reset(keys) == await other.reset(keys)
    else:
        first, second = await one.acquire(given[0]), await other.acquire(given[1])
        slotless = [Decision(d.allowed, d.now_ms, d.states, counted_ms=d.counted_ms) for d in (first, second)]
        assert slotless[0] == slotless[1]
        if verb < 0.12 and first.allowed:
            await one.refund(first)
            await other.refund(second)
        await one.release(first.leases)
        await other.release(second.leases)
        return type(first) is AllowedDecision
    return False


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.repeated) for seed in range(2, 8))])
def test_decides_as_a_look_at_each_counter(seed: int) -> None:
    """A store that prepares and one that can't say the same of every request, in whatever order verbs and clocks go."""
    dice = random.Random(seed)
    now = T
    one, other = (MemoryStore(clock=lambda: now) for _ in range(2))

    async def test() -> None:
        nonlocal now
        sets = charge_sets(dice)
        prepared_for = 0
        for _ in range(1_000):
            now += advance(dice)
            charges = dice.choice(sets)
            for _ in range(dice.choice([1, 2, 5])):
                prepared_for += await both(one, other, dice, charges)
        assert prepared_for > 10

    asyncio.run(test())


def test_from_the_second_request_on() -> None:
    """Who comes again soon is prepared for, in the next sub-window too; not who comes once, or seldom."""
    now = T
    store = MemoryStore(clock=lambda: now)
    soon, seldom = (rate(10, 60_000, key="soon"),), (rate(10, 60_000, key="seldom"),)

    async def kind(charges: tuple[Charge, ...]) -> type[Decision]:
        return type(await store.acquire(charges))

    async def test() -> None:
        nonlocal now
        assert await kind(soon) is Decision
        assert await kind(soon) is Decision
        assert await kind(soon) is AllowedDecision
        now += 1_500
        assert await kind(soon) is AllowedDecision
        for _ in range(3):
            now += prepared.AGAIN_MS + 1
            assert await kind(seldom) is Decision
        assert (await store.acquire(soon)).states[0].used == 5

    asyncio.run(test())


def test_a_counter_that_was_dropped_is_not_counted_on() -> None:
    """What is prepared finds nothing in the record of a caller that was forgotten or pushed out."""
    store = MemoryStore(clock=lambda: T, max_callers=1)
    own = (rate(2, 60_000, key="ip"),)
    own = tuple(
        type(charge)(charge.limit, f"{{ip=192.0.2.1}}:{charge.key}:60000/60", 1, charge.maxes) for charge in own
    )
    other = tuple(type(charge)(charge.limit, "{ip=192.0.2.2}:ip:60000/60", 1, charge.maxes) for charge in own)

    async def test() -> None:
        for _ in range(2):
            assert (await store.acquire(own)).allowed
        assert not (await store.acquire(own)).allowed
        await store.acquire(other)
        assert [(await store.acquire(own)).states[0].used for _ in range(2)] == [1, 2]
        assert await store.reset([own[0].key]) == 1
        assert (await store.acquire(own)).states[0].used == 1

    asyncio.run(test())


def test_slots_beside_units() -> None:
    """A cap among rates is taken and given back as ever, in its place, and one that is full takes no units."""
    now = T
    store = MemoryStore(clock=lambda: now)
    charges = (rate(9, 60_000, key="before"), concurrency(2, key="cap"), rate(9, 60_000, key="after"))

    async def test() -> None:
        for _ in range(3):
            await store.release((await store.acquire(charges)).leases)
        first, second, third = [await store.acquire(charges) for _ in range(3)]
        assert type(first) is type(second) is AllowedDecision
        assert [state.used for state in second.states] == [5, 2, 5]
        assert [lease.key for lease in second.leases] == [charges[1].key]
        assert not third.allowed
        assert [state.exceeded for state in third.states] == [False, True, False]
        await store.release(first.leases)
        assert [state.used for state in (await store.acquire(charges)).states] == [6, 2, 6]

    asyncio.run(test())


def test_a_cap_that_is_full_moves_no_sub_window() -> None:
    """Where a slot is missing in the next sub-window, when a rate is whole again is told as a look at it would."""
    now = T
    one, other = (MemoryStore(clock=lambda: now) for _ in range(2))
    charges = (rate(9, 60_000, key="rate"), concurrency(3, key="cap"))

    async def test() -> None:
        nonlocal now
        for _ in range(3):
            await one.acquire(charges)
            await other.acquire(list(charges))
        now += 1_000
        first, second = await one.acquire(charges), await other.acquire(list(charges))
        assert not first.allowed
        assert [state.reset_after_ms for state in first.states] == [60_000, 60_000]
        assert first == second

    asyncio.run(test())


def test_counters_that_push_each_other_out() -> None:
    """Where there is room for one caller only, and a request is of two, nothing is prepared, and both are counted."""
    store = MemoryStore(clock=lambda: T, max_callers=1)
    limit = rate(9, 60_000)
    charges = tuple(Charge(limit.limit, f"{{ip=192.0.2.1}}:r:6/6{part}", 1, limit.maxes) for part in ("", ":@shop=7"))

    async def test() -> None:
        decisions = [await store.acquire(charges) for _ in range(5)]
        assert {type(decision) for decision in decisions} == {Decision}
        assert all(decision.allowed for decision in decisions)

    asyncio.run(test())
