"""How many callers a memory store holds: who is dropped, and who never is."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from ratelimit.model import Charge
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.records import callers, kept
from tests.stores import counters_of, forget, quota, rate

T = 1_772_359_200_000
KNOWN, ANONYMOUS = "organization=o{}", "ip=192.0.2.{}"


class Clock:
    """Both clocks of a memory store: that of its limits, and that by which it forgets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ms = 0
        monkeypatch.setattr(kept.time, "monotonic_ns", lambda: self.ms * 1_000_000)

    def store(self, max_callers: int) -> MemoryStore:
        return MemoryStore(clock=lambda: T + self.ms, max_callers=max_callers)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def of(root: str, *limits: Charge) -> tuple[Charge, ...]:
    """Limits of a caller, with keys as a policy writes them."""
    return tuple(
        Charge(limit.limit, f"{{{root}}}:{limit.limit.name}:{n}", limit.cost, limit.maxes)
        for n, limit in enumerate(limits or (rate(100, 60_000),))
    )


async def used(store: MemoryStore, root: str, *limits: Charge) -> int:
    return (await store.acquire(of(root, *limits))).states[0].used


def roots(store: MemoryStore) -> set[str]:
    return {key[1:].partition("}")[0] for key in counters_of(store)}


def test_the_anonymous_caller_unseen_the_longest_is_dropped(clock: Clock) -> None:
    """In the order in which they were last seen, not in which they came, and each time one."""
    store = clock.store(5)

    async def test() -> None:
        for n in range(5):
            clock.ms += 10
            await used(store, ANONYMOUS.format(n))
        for n in (0, 3, 1):
            clock.ms += 10
            await used(store, ANONYMOUS.format(n))
        for n, gone in ((5, 2), (6, 4), (7, 0), (8, 3)):
            clock.ms += 10
            assert ANONYMOUS.format(gone) in roots(store)
            await used(store, ANONYMOUS.format(n))
            assert ANONYMOUS.format(gone) not in roots(store)
            assert len(roots(store)) == 5
        assert store.beyond_max == {"dropped": 4}

    asyncio.run(test())


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.repeated) for seed in range(1, 4))])
def test_dropped_as_in_a_list(clock: Clock, seed: int) -> None:
    """Against a list in the order of last seen, over thousands of steps in which callers come, come back and expire."""
    dice, store, seen = random.Random(seed), clock.store(30), dict[str, int]()

    async def test() -> None:
        for _ in range(1_500):
            clock.ms += dice.choice([1, 5, 200, 3_000])
            root = ANONYMOUS.format(dice.randrange(60))
            expired = [other for other, ms in seen.items() if clock.ms - ms > 62_000]
            if root not in seen and len(seen) >= 30:
                forget(store)
                for other in expired:
                    del seen[other]
                if len(seen) >= 30:
                    del seen[min(seen, key=seen.__getitem__)]
            await used(store, root)
            seen[root] = clock.ms
            assert {name for name in seen if clock.ms - seen[name] < 60_000} <= roots(store)
            assert len(roots(store)) <= 30

    asyncio.run(test())


def test_what_counts_no_more_is_dropped_first(clock: Clock) -> None:
    """An address that is still limited stays while there is one whose window is over, be it of a known caller."""
    store = clock.store(3)

    async def test() -> None:
        await used(store, ANONYMOUS.format(1), rate(9, 60_000))
        await used(store, KNOWN.format(1), rate(9, 1_000))
        await used(store, ANONYMOUS.format(2), rate(9, 60_000))
        clock.ms += 3_000
        await used(store, ANONYMOUS.format(3))
        assert roots(store) == {ANONYMOUS.format(n) for n in (1, 2, 3)}
        assert store.beyond_max == {}

    asyncio.run(test())


def test_a_flood_pushes_out_no_known_caller(clock: Clock) -> None:
    """What a customer has spent of a month is there after a hundred thousand addresses."""
    store = clock.store(50)
    month = quota(3, "month")

    async def test() -> None:
        for n in range(40):
            for _ in range(3):
                await used(store, KNOWN.format(n), month)
        for n in range(5_000):
            clock.ms += 1
            await used(store, f"ip=198.51.{n // 256}.{n % 256}")
        for n in range(40):
            assert not (await store.acquire(of(KNOWN.format(n), month))).allowed
        assert (len(roots(store)), store.beyond_max) == (50, {"dropped": 4_990})

    asyncio.run(test())


def test_known_callers_come_above_the_bound(clock: Clock) -> None:
    """A customer is counted also where the store is full: anonymous callers go first, then it grows."""
    store = clock.store(2)

    async def test() -> None:
        await used(store, ANONYMOUS.format(1))
        for n in range(5):
            assert [await used(store, KNOWN.format(n)) for _ in range(3)] == [1, 2, 3]
        assert roots(store) == {KNOWN.format(n) for n in range(5)}
        assert store.beyond_max == {"dropped": 1, "above": 3}

    asyncio.run(test())


def test_anonymous_callers_share_what_is_left(clock: Clock) -> None:
    """Where known callers fill the store, new addresses count in one counter, and have their own as soon as there is
    room; a refund gives nothing back that others may have taken."""
    store = clock.store(1)
    five = rate(5, 60_000)

    async def test() -> None:
        await used(store, KNOWN.format(1), rate(9, 1_000))
        decisions = [await store.acquire(of(ANONYMOUS.format(n), five)) for n in range(7)]
        assert [decision.allowed for decision in decisions] == [True] * 5 + [False] * 2
        assert len({decision.states[0].charge.key for decision in decisions}) == 7  # each is told of its own limit
        await store.refund(decisions[0])
        assert not (await store.acquire(of(ANONYMOUS.format(8), five))).allowed
        assert (await store.peek(of(ANONYMOUS.format(9), five))).states[0].used == 5
        assert await store.reset([decisions[0].states[0].charge.key]) == 0
        assert store.beyond_max["shared"] >= 7
        clock.ms += 62_500
        forget(store)
        assert [await used(store, ANONYMOUS.format(n), five) for n in (1,)] == [1]
        assert roots(store) == {ANONYMOUS.format(1)}

    asyncio.run(test())


def test_few_places_do_not_go_round(clock: Clock) -> None:
    """Where known callers leave a hundredth of the places, addresses in turn push nobody out: each would begin at 0."""
    store = clock.store(200)
    five = rate(5, 60_000)

    async def test() -> None:
        for n in range(198):
            await used(store, KNOWN.format(n))
        allowed = 0
        for _ in range(20):
            for n in range(10):
                allowed += (await store.acquire(of(ANONYMOUS.format(n), five))).allowed
        assert allowed == 3 * 5  # two have a record of their own, the others one together

    asyncio.run(test())


def test_what_expired_makes_room_for_who_shares(clock: Clock) -> None:
    """Without a timer, too: who comes looks for it."""
    store = clock.store(1)

    async def test() -> None:
        await used(store, KNOWN.format(1), rate(9, 1_000))
        assert [await used(store, ANONYMOUS.format(n)) for n in range(3)] == [1, 2, 3]
        clock.ms += 3_000
        assert [await used(store, ANONYMOUS.format(n), rate(9, 60_000), rate(9, 1_000)) for n in (4, 4)] == [4, 5]
        clock.ms += 63_000
        assert [await used(store, ANONYMOUS.format(n)) for n in (5, 5)] == [1, 2]

    asyncio.run(test())


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (0, "0 is too small; the least is 1"),
        ("5", '"5" is not a whole number'),
        (None, "a value of type NoneType is not a whole number"),
    ],
)
def test_a_bound_that_is_none(most: int, said: str) -> None:
    """It is said when the store is made, not at the first caller."""
    with pytest.raises(ValueError, match=f"MemoryStore: max_callers: {said}"):
        MemoryStore(max_callers=most)


def test_shared_through_sub_windows(clock: Clock) -> None:
    """The shared counter is a window like any other, whoever comes."""
    store, other = clock.store(1), clock.store(9)
    limit = rate(6, 6_000, precision=6)

    async def test() -> None:
        await used(store, KNOWN.format(1))
        for n in range(60):
            clock.ms += 250
            many = await store.acquire(of(ANONYMOUS.format(n), limit))
            one = await other.acquire(of(KNOWN.format(1), limit))
            assert many.states[0][1:] == one.states[0][1:]

    asyncio.run(test())


def test_it_is_told_once_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """With the numbers of that minute, what to do, and no address."""
    store = clock.store(2)

    async def test() -> None:
        with caplog.at_level(logging.WARNING, "ratelimit"):
            for n in range(12):
                await used(store, ANONYMOUS.format(n))
            clock.ms += callers.TOLD_EVERY_MS
            await used(store, KNOWN.format(1))
            clock.ms += 2 * callers.TOLD_EVERY_MS
            forget(store)
            forget(store)

    asyncio.run(test())
    first, second = [record.getMessage() for record in caplog.records]
    assert "as many callers as max_callers allows, 2: 1 anonymous callers were dropped" in first
    assert "2: 10 anonymous callers were dropped" in second
    assert "raise max_callers in [store], or keep counters in Redis" in first
    assert "192.0.2" not in caplog.text


def test_a_user_within_an_organization_is_a_caller_too(clock: Clock) -> None:
    """Who is counted by itself is a caller; and all counters of one are dropped together."""
    store = clock.store(10)
    limit = rate(5, 60_000)

    async def test() -> None:
        charges = [Charge(limit.limit, f"{{organization=a}}:r:{n}:user=ana", 1, limit.maxes) for n in range(3)]
        await store.acquire([*charges, Charge(limit.limit, "{organization=a}:r:0", 1, limit.maxes)])
        assert store._kept.counters.callers.count == 2
        clock.ms += 63_000
        forget(store)
        assert (store._kept.counters.callers.count, counters_of(store)) == (0, [])

    asyncio.run(test())


def test_who_shared_and_has_a_place_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where room is made while a request is counted, what it has in the shared record is kept there as a whole."""
    now = T
    monkeypatch.setattr(kept.time, "monotonic_ns", lambda: now * 1_000_000)
    store = MemoryStore(clock=lambda: now, max_callers=2)

    def charge(who: str, limit: str, window_ms: int = 60_000) -> Charge:
        made = rate(9, window_ms)
        return Charge(made.limit, f"{{{who}}}:{limit}:{window_ms}/60", 1, made.maxes)

    async def test() -> None:
        nonlocal now
        for number in range(2):
            await store.acquire([charge(f"organization={number}", "short", 1_000)])
        for _ in range(3):
            await store.acquire([charge("ip=192.0.2.1", "a")])
            now += 1_000
        now += 55_000
        await store.acquire([charge("ip=192.0.2.1", "b"), charge("ip=192.0.2.1", "a")])
        older = {key: value for part in store._kept.counters._older.parts for key, value in part.items()}
        assert {key: len(value) for key, value in older.items()} == {"{ip}:a:60000/60": 3 * 16}

    asyncio.run(test())
