"""The contract of a store, as timelines: what each of the four answers at each instant, to the millisecond."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from ratelimit.model import Charge, Decision
from tests.stores import Subject, concurrency, quota, rate

NEVER = None


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


# 10:00:00.000 on a Tuesday; a minute's limit has sub-windows of one second from there.
T = ms("2026-03-10T10:00:00")

# now, cost, allowed, remaining, retry_after, reset_after
Row = tuple[int, int, bool, int, int | None, int]

A_MINUTE_OF_THREE: list[Row] = [
    (T + 0, 1, True, 2, 0, 61_000),  # counted in 10:00:00, which has left the window at 10:01:01
    (T + 999, 1, True, 1, 0, 60_001),
    (T + 1_000, 1, True, 0, 0, 61_000),
    (T + 1_001, 1, False, 0, 59_999, 60_999),
    (T + 60_999, 1, False, 0, 1, 1_001),  # one millisecond before
    (T + 61_000, 1, True, 1, 0, 61_000),  # both of 10:00:00 are gone
    (T + 61_000, 1, True, 0, 0, 61_000),
    (T + 61_000, 1, False, 0, 1_000, 61_000),
    (T + 500_000, 1, True, 2, 0, 61_000),  # after a pause the window is empty
]
COSTS: list[Row] = [
    (T, 2, True, 1, 0, 61_000),
    (T, 2, False, 1, 61_000, 61_000),  # one is left, and that is not enough: nothing is charged
    (T, 0, True, 1, 0, 61_000),  # free
    (T, 4, False, 1, NEVER, 61_000),  # more than the max
    (T + 30_000, 1, True, 0, 0, 61_000),
    (T + 30_000, 3, False, 0, 61_000, 61_000),  # all of it has to leave
    (T + 30_000, 2, False, 0, 31_000, 61_000),  # the first two are enough
]
CLOCK_BACK: list[Row] = [
    (T + 5_000, 1, True, 2, 0, 61_000),
    (T + 2_000, 1, True, 1, 0, 64_000),  # a little back: counted into the newest sub-window
    (T + 2_000, 2, False, 1, 64_000, 64_000),
    (T - 3_600_000, 2, False, 1, 61_000, 61_000),  # far back: everything counts as of now
    (T - 3_600_000 + 61_000, 2, True, 1, 0, 61_000),
]
FREE_FIRST: list[Row] = [(T, 0, True, 3, 0, 0), (T, 1, True, 2, 0, 61_000)]


@pytest.mark.parametrize(
    ("limit", "timeline"),
    [
        (rate(3, 60_000), A_MINUTE_OF_THREE),
        (rate(3, 60_000), COSTS),
        (rate(3, 60_000), CLOCK_BACK),
        (rate(3, 60_000), FREE_FIRST),
        (
            rate(2, 1_000, precision=3),  # sub-windows of 333⅓ ms: their edges round up to whole milliseconds
            [
                (T + 334, 1, True, 1, 0, 1_333),
                (T + 666, 1, True, 0, 0, 1_001),
                (T + 1_666, 1, False, 0, 1, 1),
                (T + 1_667, 1, True, 1, 0, 1_333),
            ],
        ),
        (
            rate(1, 1, precision=1),
            [(T, 1, True, 0, 0, 2), (T, 1, False, 0, 2, 2), (T + 1, 1, False, 0, 1, 1), (T + 2, 1, True, 0, 0, 2)],
        ),
        (rate(0, 60_000), [(T, 1, False, 0, NEVER, 0), (T, 0, True, 0, 0, 0)]),
        (
            quota(2, "day"),
            [
                (T, 1, True, 1, 0, 50_400_000),
                (T, 2, False, 1, 50_400_000, 50_400_000),
                (T, 3, False, 1, NEVER, 50_400_000),
                (T, 1, True, 0, 0, 50_400_000),
                (T + 50_399_999, 1, False, 0, 1, 1),
                (T + 50_400_000, 1, True, 1, 0, 86_400_000),
                (T + 50_399_999, 1, True, 0, 0, 1),  # a clock that goes back over midnight: the new day's count goes on
                (T + 50_400_000, 1, False, 0, 86_400_000, 86_400_000),
                (T + 50_400_000, 0, True, 0, 0, 86_400_000),
            ],
        ),
    ],
)
def test_one_limit(subject: Subject, limit: Charge, timeline: Sequence[Row]) -> None:
    """Each decision about one limit: allowed, what remains, when to come again, when all of it is free."""

    async def timeline_holds() -> None:
        for now, cost, *expected in timeline:
            decision = await subject.at(now).acquire(with_cost(limit, cost))
            (state,) = decision.states
            seen = [decision.allowed, state.remaining, state.retry_after_ms, state.reset_after_ms]
            assert seen == expected, (now - T, cost)
            assert decision.now_ms == now

    subject.run(timeline_holds())


def with_cost(limit: Charge, cost: int) -> Charge:
    return Charge(limit.limit, limit.key, cost, limit.maxes)


def test_all_or_nothing(subject: Subject) -> None:
    """A request that one limit denies takes nothing from the others, and waits for the longest of those that deny."""
    wide, narrow, daily = rate(10, 60_000, key="wide"), rate(1, 10_000, key="narrow"), quota(1, "day")

    async def test() -> None:
        first = await subject.at(T).acquire(wide, narrow, concurrency(1), daily)
        assert first.allowed
        assert [state.used for state in first.states] == [1, 1, 1, 1]
        second = await subject.acquire(wide, narrow, concurrency(1), daily)
        assert not second.allowed
        assert [state.exceeded for state in second.states] == [False, True, True, True]
        assert [state.used for state in second.states] == [1, 1, 1, 1]
        assert [state.retry_after_ms for state in second.states] == [0, 10_167, 1_000, 50_400_000]
        assert second.denying is second.states[3]
        assert second.leases == ()

    subject.run(test())


def test_retry_after_holds_over_several_limits(subject: Subject) -> None:
    """The longest wait of those that deny is when all of them admit, and a millisecond earlier they do not."""
    limits = rate(2, 7_000, 7, key="a"), rate(3, 60_000, 60, key="b"), rate(4, 9_999, 10, key="c")

    async def test() -> None:
        now = T
        for _ in range(40):
            decision = await subject.at(now).acquire(*limits)
            if decision.allowed:
                now += 137
                continue
            wait = decision.denying.retry_after_ms
            assert not (await subject.at(now + wait - 1).acquire(*limits)).allowed
            now += wait
            assert (await subject.at(now).acquire(*limits)).allowed

    subject.run(test())


def test_a_new_max_takes_effect_on_stored_usage(subject: Subject) -> None:
    """A raised limit admits at once, a lowered one denies at once; what was used stays used."""

    async def test() -> None:
        subject.at(T)
        for _ in range(2):
            assert (await subject.acquire(rate(2, 60_000), quota(2))).allowed
        assert not (await subject.acquire(rate(2, 60_000), quota(3))).allowed
        assert not (await subject.acquire(rate(3, 60_000), quota(2))).allowed
        assert (await subject.acquire(rate(3, 60_000), quota(3))).allowed
        lowered = await subject.acquire(rate(1, 60_000), quota(3))
        assert not lowered.allowed
        assert [(state.used, state.remaining) for state in lowered.states] == [(3, 0), (3, 0)]

    subject.run(test())


def test_concurrency(subject: Subject) -> None:
    """No more leases than max at a time; a released one frees its slot at once, a lost one when its lease ends."""
    cap = concurrency(2, lease_ms=10_000)

    async def test() -> None:
        one = await subject.at(T).acquire(cap)
        two = await subject.at(T + 5_000).acquire(cap)
        assert [d.states[0].remaining for d in (one, two)] == [1, 0]
        denied = await subject.acquire(cap)
        assert not denied.allowed
        assert (denied.states[0].retry_after_ms, denied.states[0].reset_after_ms) == (1_000, 10_000)
        await subject.release(*two.leases)
        await subject.release(*two.leases)  # twice is as good as once
        three = await subject.acquire(cap)
        assert three.allowed
        assert not (await subject.at(T + 9_999).acquire(cap)).allowed
        assert (await subject.at(T + 10_000).acquire(cap)).allowed  # one's lease has ended
        assert len({d.leases[0].id for d in (one, two, three)}) == 3
        assert len(one.leases[0].id.partition("/")[0]) * 4 == 128  # bits
        assert (await subject.at(T + 100_000).acquire(concurrency(0))).states[0].retry_after_ms is NEVER

    subject.run(test())


def test_renewal(subject: Subject) -> None:
    """A renewed lease lives on, also an expired one whose slot nobody wanted; one that was dropped is taken again, and
    told where there is no room for it."""
    cap = concurrency(1, lease_ms=10_000)

    async def test() -> None:
        first = await subject.at(T).acquire(cap)
        assert await subject.at(T + 9_000).store.renew(first.leases) == []
        assert not (await subject.at(T + 18_999).acquire(cap)).allowed
        assert await subject.at(T + 30_000).store.renew(first.leases) == []
        assert not (await subject.at(T + 39_999).acquire(cap)).allowed
        second = await subject.at(T + 40_000).acquire(cap)
        assert second.allowed
        assert await subject.store.renew([*first.leases, *second.leases]) == list(first.leases)
        assert await subject.store.renew([*first.leases, *second.leases]) == []  # told once
        state = (await subject.acquire(cap)).states[0]
        assert (state.exceeded, state.used) == (True, 2)
        await subject.release(*second.leases)
        assert not (await subject.acquire(cap)).allowed
        await subject.release(*first.leases)
        assert (await subject.acquire(cap)).allowed

    subject.run(test())


def test_leases_that_are_taken_again(subject: Subject) -> None:
    """Leases that were lost are taken again in one step: with the expired ones of others out of the way, in their
    order, and in a limit of their own each."""
    cap, other = concurrency(3, lease_ms=10_000), concurrency(1, lease_ms=10_000, key="other")

    async def test() -> None:
        ours = [(await subject.at(T).acquire(cap)).leases[0] for _ in range(2)]
        ours += (await subject.acquire(other)).leases
        stopped = (await subject.at(T + 5_000).acquire(cap)).leases[0]
        theirs = [(await subject.at(T + 12_000).acquire(cap)).leases[0] for _ in range(2)]
        assert await subject.at(T + 16_000).store.renew(ours) == [ours[1]]
        assert await subject.store.renew([stopped]) == [stopped]
        assert not (await subject.acquire(cap)).allowed
        assert not (await subject.acquire(other)).allowed
        await subject.release(*theirs, *ours)
        state = (await subject.at(T + 25_999).acquire(cap)).states[0]
        assert state.used == 2
        assert (await subject.at(T + 26_000).acquire(cap)).states[0].used == 2

    subject.run(test())


def test_leases_after_the_clock_went_back(subject: Subject) -> None:
    """A cap that is full of leases far ahead of the clock is free again one lease later."""
    cap = concurrency(1, lease_ms=10_000)

    async def test() -> None:
        assert (await subject.at(T).acquire(cap)).allowed
        assert not (await subject.at(T - 3_600_000).acquire(cap)).allowed
        assert not (await subject.at(T - 3_590_001).acquire(cap)).allowed
        assert (await subject.at(T - 3_590_000).acquire(cap)).allowed

    subject.run(test())


def test_an_edited_lease_does_not_end_those_that_are_held(subject: Subject) -> None:
    """While instances with the old and the new file run side by side, each lease keeps its own length."""
    before, after = concurrency(1, lease_ms=60_000), concurrency(1, lease_ms=10_000)

    async def test() -> None:
        assert (await subject.at(T).acquire(before)).allowed
        for later in (0, 10_000, 59_999):
            assert not (await subject.at(T + later).acquire(after)).allowed
        assert (await subject.at(T + 60_000).acquire(after)).allowed
        assert not (await subject.at(T + 69_999).acquire(before)).allowed
        assert (await subject.at(T + 70_000).acquire(before)).allowed

    subject.run(test())


def test_a_longer_lease_after_the_clock_went_back(subject: Subject) -> None:
    """After the clock went back, a lease lasts its own length, also where the limit's is another one by now."""
    before, after = concurrency(1, lease_ms=60_000), concurrency(1, lease_ms=10_000)

    async def test() -> None:
        back = T - 3_600_000
        assert (await subject.at(T).acquire(before)).allowed
        assert not (await subject.at(back).acquire(after)).allowed
        assert not (await subject.at(back + 59_999).acquire(after)).allowed
        assert (await subject.at(back + 60_000).acquire(after)).allowed

    subject.run(test())


def test_a_quota_after_the_clock_was_far_ahead(subject: Subject) -> None:
    """What was charged by a clock a year ahead counts in the period after it went back, and not in the next ones."""
    daily, day = quota(3, "day"), 86_400_000

    async def test() -> None:
        await subject.at(T + 365 * day).acquire(daily)
        assert [(await subject.at(T).acquire(daily)).states[0].used for _ in range(3)] == [2, 3, 3]
        assert [(await subject.at(T + day).acquire(daily)).states[0].used for _ in range(2)] == [1, 2]

    subject.run(test())


STEPS: list[tuple[str, tuple[tuple[int, int], ...], int, int | None]] = [
    ("a raised max that ends while the caller waits", ((T + 40_000, 10), (2**53 - 1, 3)), 10, 61_000),
    ("a lowered max that ends before a unit is free", ((T + 40_000, 4), (2**53 - 1, 12)), 10, 40_000),
    ("a max of 0 that ends", ((T + 40_000, 0), (2**53 - 1, 12)), 10, 40_000),
    ("a max of 0 for ever after a wait", ((T + 40_000, 3), (2**53 - 1, 0)), 10, None),
    ("first less, then even less, then enough", ((T + 10_000, 4), (T + 20_000, 2), (2**53 - 1, 11)), 10, 20_000),
]


@pytest.mark.parametrize(("what", "maxes", "used", "wait"), STEPS)
@pytest.mark.parametrize("kind", ["rate", "quota"])
def test_retry_after_over_an_override_that_ends(
    subject: Subject, kind: str, what: str, maxes: tuple[tuple[int, int], ...], used: int, wait: int | None
) -> None:
    """The wait is true with the max that is in force by then."""
    make, until_free = (rate, 61_000) if kind == "rate" else (quota, quota_ends(T))
    limit = (60_000,) if kind == "rate" else ("month",)

    async def test() -> None:
        await subject.at(T).acquire(make(used, *limit, cost=used))
        charge = make(0, *limit, maxes=maxes)
        (state,) = (await subject.acquire(make(0, *limit, maxes=((T + 1, 0), *maxes)))).states
        assert state.retry_after_ms == (wait if wait != 61_000 else until_free)
        if state.retry_after_ms is not None:
            assert not (await subject.at(T + state.retry_after_ms - 1).acquire(charge)).allowed
            assert (await subject.at(T + state.retry_after_ms).acquire(charge)).allowed

    subject.run(test())


def quota_ends(now: int) -> int:
    return ms("2026-04-01T00:00:00") - now


def test_a_slot_over_an_override_that_ends(subject: Subject) -> None:
    """A full cap is worth a try in a second; one that is shut, when its override ends."""
    shut = concurrency(0, maxes=((T + 40_000, 0), (2**53 - 1, 1)))

    async def test() -> None:
        assert (await subject.at(T).acquire(shut)).states[0].retry_after_ms == 40_000
        assert (await subject.acquire(concurrency(1))).allowed
        assert (await subject.acquire(concurrency(1))).states[0].retry_after_ms == 1_000

    subject.run(test())


def test_shadow(subject: Subject) -> None:
    """A limit in shadow is counted while it admits, reported when it would not, and never denies."""
    shadow, enforced = rate(1, 60_000, mode="shadow", key="new"), rate(3, 60_000, key="old")

    async def test() -> None:
        subject.at(T)
        seen: list[Decision] = [await subject.acquire(shadow, enforced) for _ in range(4)]
        assert [d.allowed for d in seen] == [True, True, True, False]
        assert [d.states[0].exceeded for d in seen] == [False, True, True, True]
        assert [d.states[0].used for d in seen] == [1, 1, 1, 1]
        assert [d.states[1].used for d in seen] == [1, 2, 3, 3]
        assert all(d.states[0].shadow and not d.states[1].shadow for d in seen)
        assert seen[1].denying is None
        assert seen[3].denying is seen[3].states[1]

    subject.run(test())


def test_a_denied_request_charges_no_shadow(subject: Subject) -> None:
    """What an enforced limit denies, a limit in shadow does not count either."""
    shadow, enforced = quota(5, mode="shadow"), rate(1, 60_000)

    async def test() -> None:
        subject.at(T)
        seen = [await subject.acquire(shadow, enforced) for _ in range(3)]
        assert [d.states[0].used for d in seen] == [1, 1, 1]

    subject.run(test())


def test_enforce_from(subject: Subject) -> None:
    """Before its date a limit is in shadow, from the first millisecond of it on it denies."""
    dated = rate(1, 60_000, enforce_from_ms=T + 10_000)

    async def test() -> None:
        seen = [await subject.at(T + t).acquire(dated) for t in (0, 1, 9_999, 10_000)]
        assert [(d.allowed, d.states[0].shadow) for d in seen] == [(True, True)] * 3 + [(False, False)]

    subject.run(test())


def test_maxes_until(subject: Subject) -> None:
    """Each max holds until its instant, by the clock of the store."""
    stepped = rate(0, 60_000, maxes=((T + 1_000, 1), (T + 2_000, 2), (2**53 - 1, 3)))

    async def test() -> None:
        seen = [await subject.at(T + t).acquire(stepped) for t in (0, 999, 1_000, 1_999, 2_000, 2_000)]
        assert [d.allowed for d in seen] == [True, False, True, False, True, False]
        assert [d.states[0].max for d in seen] == [1, 1, 2, 2, 3, 3]

    subject.run(test())


def test_a_quota_whose_edges_were_edited_keeps_its_count(subject: Subject) -> None:
    """A new anchor day or time zone keeps what was used, and the count ends when the caller was told."""
    before, after = quota(5, anchor_day=1), quota(5, anchor_day=15)

    async def test() -> None:
        used = [(await subject.at(ms("2026-03-10T10:00:00")).acquire(before)).states[0].used for _ in range(2)]
        assert used == [1, 2]
        edited = await subject.at(ms("2026-03-12T00:00:00")).acquire(after)
        assert edited.states[0].used == 3
        assert edited.states[0].reset_after_ms == 3 * 86_400_000
        at_the_end = await subject.at(ms("2026-03-15T00:00:00")).acquire(after)
        assert at_the_end.states[0].used == 1

    subject.run(test())


def test_large_numbers(subject: Subject) -> None:
    """Amounts up to 2^53 - 1 lose no unit, in a count or in an answer."""
    most = 2**53 - 1

    async def test() -> None:
        subject.at(T)
        limits = [rate(most, 60_000, cost=most - 1), quota(most, cost=most - 1)]
        assert (await subject.acquire(*limits)).allowed
        assert not (await subject.acquire(rate(most, 60_000, cost=2))).allowed
        last = await subject.acquire(rate(most, 60_000), quota(most))
        assert last.allowed
        assert [(state.used, state.remaining) for state in last.states] == [(most, 0), (most, 0)]

    subject.run(test())


def test_callers_are_apart(subject: Subject) -> None:
    """What one key has used does not count for another."""

    async def test() -> None:
        subject.at(T)
        assert (await subject.acquire(rate(1, 60_000, key="a"))).allowed
        assert (await subject.acquire(rate(1, 60_000, key="b"))).allowed
        assert not (await subject.acquire(rate(1, 60_000, key="a"))).allowed

    subject.run(test())


def test_nothing_to_charge(subject: Subject) -> None:
    """A request that no limit applies to is allowed."""

    async def test() -> None:
        decision = await subject.at(T).acquire()
        assert decision.allowed
        assert decision.states == ()

    subject.run(test())
