"""Each decision about a rate, a quota and several limits at once, on a timeline, to the millisecond."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratelimit.model import Charge
from ratelimit.testing.contract.subject import Subject, T, concurrency, quota, rate

NEVER = None

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
A_DAY, SUMMER, AFTER_IT = 86_400_000, T + 1_602_000_000, T + 1_684_800_000  # in Zurich: 2026-03-29 has 23 hours
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
        (
            quota(1, "day", "Europe/Zurich"),
            [
                (T, 1, True, 0, 0, 46_800_000),
                (T + 46_799_999, 1, False, 0, 1, 1),
                (T + 46_800_000, 1, True, 0, 0, A_DAY),
                (SUMMER, 1, True, 0, 0, 82_800_000),
                (AFTER_IT - 1, 1, False, 0, 1, 1),
                (AFTER_IT, 1, True, 0, 0, A_DAY),
            ],
        ),
        (quota(1, "week"), [(T, 1, True, 0, 0, 482_400_000), (T + 482_400_000, 1, True, 0, 0, 7 * A_DAY)]),
        (quota(1, "year"), [(T, 1, True, 0, 0, 25_624_800_000), (T + 25_624_800_000, 1, True, 0, 0, 365 * A_DAY)]),
        (quota(1, anchor_day=31), [(T, 1, True, 0, 0, 1_778_400_000), (T + 1_778_400_000, 1, True, 0, 0, 30 * A_DAY)]),
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
    return Charge(limit.limit, limit.key, cost, limit.maxes, limit.stages)


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
