"""A counter is kept for as long as it matters, however its time was set, and not for long after that.

A store that forgets too early admits too many; one that never forgets fills up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis import Redis

from ratelimit.model import Charge, Lease
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.records import kept as memory
from tests import servers
from tests.stores import Subject, concurrency, counters_of, forget, quota, rate

T = 1_773_136_800_000  # 2026-03-10T10:00:00Z
DAY = 86_400_000
MIDNIGHT = T + 14 * 3_600_000


class Kept:
    """A subject on a real server: for how long each of its counters is kept there."""

    def __init__(self, server: servers.Server, client: Redis) -> None:
        self.subject, self.client = Subject(server.name, server.unix_url), client

    def key(self, name: str) -> str:
        return f"{self.subject.prefix}:{{user=ana}}:{name}"

    def for_ms(self, name: str) -> int:
        return self.client.pttl(self.key(name))

    def nearly_gone(self, *names: str) -> None:
        """As if the time of these counters had nearly passed."""
        for name in names:
            assert self.client.pexpire(self.key(name), 5_000)


@pytest.fixture
def kept(server: servers.Server) -> Iterator[Kept]:
    with server.client() as client:
        yield Kept(server, client)


@pytest.mark.parametrize(
    ("charge", "matters_ms"),
    [
        (rate(9, 60_000), 61_000),
        (rate(9, 1_000, precision=3), 1_334),
        (quota(9, "day"), MIDNIGHT - T),
        (concurrency(9, lease_ms=20_000), 20_000),
    ],
    ids=["rate", "rate of thirds", "quota", "concurrency"],
)
def test_what_is_charged(kept: Kept, charge: Charge, matters_ms: int) -> None:
    """From its first charge on, a counter is kept until what was charged no longer counts."""

    async def test() -> None:
        await kept.subject.at(T).acquire(charge)
        assert matters_ms < kept.for_ms(charge.limit.name) <= matters_ms + 1_000

    kept.subject.run(test())


def test_what_is_charged_later(kept: Kept) -> None:
    """A later charge keeps a counter for as long as itself: by sub-windows of a rate, and by leases."""
    charges = rate(9, 60_000), concurrency(9, lease_ms=20_000)

    async def test() -> None:
        await kept.subject.at(T).acquire(*charges)
        kept.nearly_gone("rate", "concurrency")
        await kept.subject.at(T + 1_000).acquire(*charges)
        assert 60_000 < kept.for_ms("rate") <= 62_000
        assert 20_000 < kept.for_ms("concurrency") <= 21_000
        kept.nearly_gone("rate")
        await kept.subject.at(T + 61_999).acquire(charges[0])  # all slots but one were skipped
        assert 60_000 < kept.for_ms("rate") <= 61_001
        kept.nearly_gone("rate")
        await kept.subject.at(T + 900_000).acquire(charges[0])  # all of them
        assert 60_000 < kept.for_ms("rate") <= 62_000

    kept.subject.run(test())


def test_a_longer_lease_keeps_a_counter(kept: Kept) -> None:
    """A shorter lease of the same cap, or a renewal of one, never shortens the time of a longer one."""
    long, short = concurrency(9, lease_ms=60_000), concurrency(9, lease_ms=10_000)

    async def test() -> None:
        await kept.subject.at(T).acquire(long)
        leases = (await kept.subject.acquire(short)).leases
        assert kept.for_ms("concurrency") > 59_000
        await kept.subject.store.renew(leases)
        assert kept.for_ms("concurrency") > 59_000

    kept.subject.run(test())


def test_a_renewed_lease_keeps_its_counter(kept: Kept) -> None:
    """A request that outlives its first lease is still there behind it: the cap admits nobody in its place."""
    cap = concurrency(1, lease_ms=20_000)

    async def test() -> None:
        leases = (await kept.subject.at(T).acquire(cap)).leases
        kept.nearly_gone("concurrency")
        assert await kept.subject.at(T + 15_000).store.renew(leases) == []
        assert 20_000 < kept.for_ms("concurrency") <= 21_000

    kept.subject.run(test())


def test_a_lease_that_is_taken_again_keeps_its_counter(kept: Kept) -> None:
    """So does one that the server had lost."""
    cap = concurrency(1, lease_ms=20_000)

    async def test() -> None:
        leases = (await kept.subject.at(T).acquire(cap)).leases
        kept.client.delete(kept.key("concurrency"))
        assert await kept.subject.store.renew(leases) == []
        assert 20_000 < kept.for_ms("concurrency") <= 21_000
        assert not (await kept.subject.acquire(cap)).allowed

    kept.subject.run(test())


def test_leases_that_are_cut_keep_their_counter(kept: Kept) -> None:
    """After the clock went back, what is cut to a lease from now is kept for that lease, of the longest of them."""
    long, short = concurrency(2, lease_ms=60_000), concurrency(2, lease_ms=10_000)

    async def test() -> None:
        await kept.subject.at(T).acquire(short)
        await kept.subject.acquire(long)
        kept.nearly_gone("concurrency")
        assert not (await kept.subject.at(T - 3_600_000).acquire(short)).allowed
        assert 60_000 < kept.for_ms("concurrency") <= 61_000

    kept.subject.run(test())


def test_a_rate_after_the_clock_went_back(kept: Kept) -> None:
    """What counts as of now, after a clock that was far ahead, is kept for a window from now."""
    limit = rate(1, 60_000)

    async def test() -> None:
        await kept.subject.at(T).acquire(limit)
        kept.nearly_gone("rate")
        assert not (await kept.subject.at(T - 3_600_000).acquire(limit)).allowed
        assert 60_000 < kept.for_ms("rate") <= 62_000

    kept.subject.run(test())


def test_a_quota_after_the_clock_was_far_ahead(kept: Kept) -> None:
    """The count that is this period's by then is kept until its end, also where only denials follow."""
    limit = quota(1, "day")

    async def test() -> None:
        await kept.subject.at(T + 365 * DAY + 13 * 3_600_000).acquire(limit)  # an hour before its end
        assert not (await kept.subject.at(T).acquire(limit)).allowed
        assert MIDNIGHT - T < kept.for_ms("quota") <= MIDNIGHT - T + 1_000

    kept.subject.run(test())


def test_a_quota_whose_period_was_edited(kept: Kept) -> None:
    """The end that lies furthest ahead is the one that counts, whichever was told last."""
    early, late = quota(9, "month", anchor_day=11), quota(9, "month", anchor_day=21)

    async def test() -> None:
        await kept.subject.at(T).acquire(early)
        assert DAY < kept.for_ms("quota") + 10 * 3_600_000 <= DAY + 1_000
        await kept.subject.acquire(late)
        assert kept.for_ms("quota") > 10 * DAY
        await kept.subject.acquire(early)
        assert kept.for_ms("quota") > 10 * DAY

    kept.subject.run(test())


class Memory:
    """A MemoryStore whose two clocks are moved: that of its limits, and that by which it forgets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ms, self.passed_ms = T, 0
        monkeypatch.setattr(memory.time, "monotonic_ns", lambda: self.passed_ms * 1_000_000)
        self.store = MemoryStore(clock=lambda: self.now_ms)

    def after(self, ms: int) -> Memory:
        self.now_ms += ms
        self.passed_ms += ms
        return self

    def at(self, now_ms: int) -> Memory:
        """The clock of the limits alone."""
        self.now_ms = now_ms
        return self

    async def used(self, *charges: Charge) -> list[int]:
        return [state.used for state in (await self.store.acquire(charges)).states]

    async def kept(self) -> int:
        """How many counters are left."""
        forget(self.store)
        return len(counters_of(self.store))


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Memory:
    return Memory(monkeypatch)


@pytest.mark.parametrize(
    ("charge", "matters_ms"),
    [
        (rate(9, 60_000), 61_000),
        (rate(9, 1_000, precision=3), 1_334),
        (quota(9, "day"), MIDNIGHT - T),
        (quota(9, "month"), MIDNIGHT - T + 21 * DAY),
        (concurrency(9, lease_ms=20_000), 20_000),
    ],
    ids=["rate", "rate of thirds", "quota of a day", "quota of a month", "concurrency"],
)
def test_what_memory_keeps(moved: Memory, charge: Charge, matters_ms: int) -> None:
    """A counter is there until its last charge no longer counts, and is forgotten within a second from then."""

    async def test() -> None:
        assert await moved.used(charge) == [1]
        moved.after(matters_ms - 1)
        assert await moved.kept() == 1
        moved.after(1_001)
        assert await moved.kept() == 0

    asyncio.run(test())


def test_memory_keeps_what_goes_on(moved: Memory) -> None:
    """A counter that is charged again is kept for as long as its last charge counts: of a rate to its next sub-window,
    of a cap for the last lease."""

    async def test() -> None:
        charges = rate(99, 60_000), concurrency(99, lease_ms=20_000)
        await moved.used(*charges)
        moved.after(15_000)
        await moved.used(*charges)
        moved.after(19_999)
        assert await moved.kept() == 2
        moved.after(2_000)
        assert await moved.kept() == 1  # of the cap nothing is left
        moved.after(61_000 - 19_999 - 2_000 - 1)
        assert await moved.kept() == 1
        moved.after(1_001)
        assert await moved.kept() == 0

    asyncio.run(test())


def test_memory_forgets_behind_a_caller_that_goes_on(moved: Memory) -> None:
    """However long one caller goes on, and however old its entry is, those that are gone are forgotten."""
    active, cap = rate(10**6, 1_000, key="active"), concurrency(10**6, lease_ms=1_000, key="held")

    async def test() -> None:
        leases: list[Lease] = list((await moved.store.acquire([active, cap])).leases)
        for caller in range(300):
            moved.after(100)
            await moved.used(active)
            await moved.store.renew(leases)
            await moved.used(rate(5, 1_000, key=f"gone{caller}"))
        forget(moved.store)
        assert len(counters_of(moved.store)) < 40  # 2 s at ten a second, and the two

    asyncio.run(test())


def test_memory_keeps_a_renewed_lease(moved: Memory) -> None:
    """A lease that is renewed is kept, also one that is taken again after it was forgotten; and then forgotten."""
    cap = concurrency(1, lease_ms=20_000)

    async def test() -> None:
        leases = (await moved.store.acquire([cap])).leases
        for _ in range(5):
            moved.after(15_000)
            assert await moved.store.renew(leases) == []
            assert await moved.kept() == 1
        moved.after(21_000)
        assert await moved.kept() == 0
        assert await moved.store.renew(leases) == []
        moved.after(19_999)
        assert await moved.kept() == 1
        assert not (await moved.store.acquire([cap])).allowed
        moved.after(1_001)
        assert await moved.kept() == 0

    asyncio.run(test())


@pytest.mark.parametrize("denied", [False, True])
def test_memory_after_a_clock_that_was_far_ahead(moved: Memory, *, denied: bool) -> None:
    """A month that was charged an hour before the end of another one is kept until its own end, and not for longer."""
    limit = quota(1 if denied else 9, "month")
    ends = MIDNIGHT + 21 * DAY

    async def test() -> None:
        assert await moved.at(ends + 365 * DAY - 3_600_000).used(limit) == [1]
        assert await moved.at(T).used(limit) == [1 if denied else 2]
        moved.after(ends - T - 1)
        assert await moved.kept() == 1
        assert await moved.used(limit) == [1 if denied else 3]
        moved.after(1_001)
        assert await moved.kept() == 0

    asyncio.run(test())


def test_memory_keeps_a_rate_after_the_clock_went_back(moved: Memory) -> None:
    """What counts as of now is kept for a window from now, though it was first charged nearly a window ago."""
    limit = rate(1, 60_000)

    async def test() -> None:
        await moved.used(limit)
        moved.after(59_000).at(T - 3_600_000)
        assert not (await moved.store.acquire([limit])).allowed
        moved.after(60_999)
        assert await moved.kept() == 1
        assert not (await moved.store.acquire([limit])).allowed
        moved.after(1_001)
        assert await moved.kept() == 0

    asyncio.run(test())


def test_memory_keeps_leases_that_were_cut(moved: Memory) -> None:
    """After the clock went back, a lease that is cut to its own length from now is kept for it."""
    cap = concurrency(1, lease_ms=20_000)

    async def test() -> None:
        await moved.used(cap)
        moved.after(15_000).at(T - 3_600_000)
        assert not (await moved.store.acquire([cap])).allowed
        moved.after(19_999)
        assert await moved.kept() == 1
        assert not (await moved.store.acquire([cap])).allowed
        moved.after(1_002)
        assert await moved.kept() == 0

    asyncio.run(test())
