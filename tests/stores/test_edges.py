"""The last unit and the last millisecond of what every store answers: one off in either direction is seen here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ratelimit.model import FOREVER, Charge, Decision
from tests.stores import Subject, concurrency, quota, rate

T = 1_773_136_800_000  # 2026-03-10T10:00:00Z
DAY = 86_400_000
MIDNIGHT = T + 14 * 3_600_000

KINDS: list[tuple[str, Callable[..., Charge]]] = [
    ("rate", lambda maximum, **rest: rate(maximum, 60_000, **rest)),
    ("quota", lambda maximum, **rest: quota(maximum, "day", **rest)),
]


async def used(subject: Subject, charge: Charge) -> list[int]:
    return [state.used for state in (await subject.acquire(charge)).states]


async def seen(subject: Subject, *charges: Charge) -> Sequence[object]:
    """Whether it was allowed; then of each limit what is used, and when it is whole again."""
    decision: Decision = await subject.acquire(*charges)
    assert not decision.unavailable
    return decision.allowed, [(state.used, state.reset_after_ms) for state in decision.states]


def test_a_denial_on_counters_that_were_never_charged(subject: Subject) -> None:
    """Nothing is used of them and nothing is to be reset, whichever of them denies, and a denial leaves it so."""
    never = rate(1, 60_000, cost=2, key="never")
    others = rate(9, 60_000), quota(9, "day"), concurrency(9)

    async def test() -> None:
        subject.at(T)
        nothing = (False, [(0, 0), (0, MIDNIGHT - T), (0, 0), (0, 0)])
        assert await seen(subject, *others, never) == nothing
        assert await seen(subject, *others, never) == nothing
        full = concurrency(0, key="full"), quota(0, "day", key="full quota")
        assert await seen(subject, *full) == (False, [(0, 0), (0, MIDNIGHT - T)])

    subject.run(test())


def test_a_clock_that_goes_back_a_little_and_on_again(subject: Subject) -> None:
    """What is charged meanwhile is counted in the newest sub-window, added to what is there, and leaves with it."""
    limit = rate(9, 60_000)

    async def test() -> None:
        assert await used(subject.at(T + 2_000), limit) == [1]
        assert await used(subject.at(T + 5_000), limit) == [2]
        assert await used(subject, limit) == [3]
        assert await used(subject.at(T + 2_000), limit) == [4]  # where one is counted as well
        assert await used(subject.at(T + 30_000), limit) == [5]
        assert await used(subject.at(T + 62_999), limit) == [6]
        assert await used(subject.at(T + 63_000), limit) == [6]  # one has left
        assert await used(subject.at(T + 65_999), limit) == [7]
        assert await used(subject.at(T + 66_000), limit) == [5]  # three of the newest have

    subject.run(test())


@pytest.mark.parametrize("parts_back", [1, 2, 60, 61, 62, 63])
def test_a_clock_that_goes_back_as_far_as_the_ring(subject: Subject, parts_back: int) -> None:
    """Up to the length of the ring it is counted where it was, and beyond it as of now: nothing is lost or doubled."""
    limit = rate(9, 60_000)
    back = T - parts_back * 1_000
    far = parts_back > 61

    async def test() -> None:
        assert await used(subject.at(T), limit) == [1]
        assert await used(subject.at(back), limit) == [2]
        leave_at = (back if far else T) + 61_000
        decision = await subject.acquire(rate(2, 60_000))
        assert (decision.allowed, decision.states[0].retry_after_ms) == (False, leave_at - back)
        assert await used(subject.at(leave_at - 1), limit) == [3]
        assert await used(subject.at(leave_at), limit) == [2]

    subject.run(test())


@pytest.mark.parametrize("pause", [1, 2, 3, 59, 60, 61, 62, 500])
def test_sub_windows_that_were_skipped(subject: Subject, pause: int) -> None:
    """After however long a pause what has left is gone, also from the slots that are used again later."""
    limit = rate(99, 60_000)

    async def test() -> None:
        charged = []
        for at in (0, 1, 2, 2 + pause, 3 + pause, 62 + pause, 64 + pause, 200 + pause):
            charged.append(at)
            expected = sum(1 for earlier in charged if at - earlier <= 60)
            assert await used(subject.at(T + at * 1_000), limit) == [expected]

    subject.run(test())


def test_a_count_of_a_clock_far_ahead_that_is_denied(subject: Subject) -> None:
    """Where a clock was a year ahead, the count is this period's from the first look at it on, also by a denial: the
    next period begins with nothing."""
    limit = quota(2, "day", cost=2)

    async def test() -> None:
        assert (await subject.at(T + 365 * DAY).acquire(limit)).allowed
        assert await seen(subject.at(T), limit) == (False, [(2, MIDNIGHT - T)])
        assert await seen(subject.at(MIDNIGHT - 1), limit) == (False, [(2, 1)])
        assert await seen(subject.at(MIDNIGHT), limit) == (True, [(2, DAY)])

    subject.run(test())


@pytest.mark.parametrize(("ahead", "counts_tomorrow"), [(DAY, True), (2 * DAY - 1, True), (2 * DAY, False)])
def test_a_count_of_a_clock_a_period_ahead(subject: Subject, ahead: int, *, counts_tomorrow: bool) -> None:
    """What was charged up to a period ahead is the next one's as well; what was charged further ahead is this one's."""
    limit, midnight = quota(9, "day"), MIDNIGHT - DAY

    async def test() -> None:
        assert await used(subject.at(midnight + ahead), limit) == [1]
        assert await used(subject.at(midnight), limit) == [2]
        assert await used(subject.at(MIDNIGHT), limit) == [3 if counts_tomorrow else 1]

    subject.run(test())


@pytest.mark.parametrize("behind", [0, 1])
def test_the_first_instant_of_a_period(subject: Subject, behind: int) -> None:
    """What was charged in the first millisecond of a period counts in it, and what was a millisecond before it does
    not."""
    limit = quota(9, "day")

    async def test() -> None:
        assert await used(subject.at(MIDNIGHT - behind), limit) == [1]
        assert await used(subject.at(MIDNIGHT + 1), limit) == [1 if behind else 2]

    subject.run(test())


@pytest.mark.parametrize(("back", "held"), [(10_000, 20_000), (10_001, 10_000), (15_000, 10_000), (20_001, 10_000)])
def test_a_full_cap_after_the_clock_went_back(subject: Subject, back: int, held: int) -> None:
    """A lease that ends up to two leases ahead is left as it is; one further ahead is cut to one lease from now."""
    cap = concurrency(1, lease_ms=10_000)

    async def test() -> None:
        assert (await subject.at(T).acquire(cap)).allowed
        now = T - back
        assert not (await subject.at(now).acquire(cap)).allowed
        assert not (await subject.at(now + held - 1).acquire(cap)).allowed
        assert (await subject.at(now + held).acquire(cap)).allowed

    subject.run(test())


def test_a_cap_with_room_after_the_clock_went_back(subject: Subject) -> None:
    """While there is room nobody waits, and no lease is cut: each of them is still one when the cap is full."""
    one, two = concurrency(1, lease_ms=10_000), concurrency(2, lease_ms=10_000)

    async def test() -> None:
        assert (await subject.at(T).acquire(two)).allowed
        assert await used(subject.at(T - 3_600_000), two) == [2]
        assert await used(subject, two) == [2]
        assert not (await subject.at(T - 3_590_001).acquire(one)).allowed
        assert await used(subject.at(T - 3_590_000), two) == [1]

    subject.run(test())


def test_leases_of_two_lengths_after_the_clock_went_back(subject: Subject) -> None:
    """Each is cut to its own length, and those that are not far ahead stay as they are."""
    long, short = concurrency(3, lease_ms=30_000), concurrency(3, lease_ms=10_000)

    async def test() -> None:
        for cap in (long, short, short):
            assert (await subject.at(T).acquire(cap)).allowed
        back = T - 25_000  # 55 s ahead is within two leases of 30 s, 35 s are beyond two of 10 s
        assert await used(subject.at(back), short) == [3]
        assert await used(subject.at(back + 9_999), short) == [3]
        assert await used(subject.at(back + 10_000), short) == [2]
        far = T - 3_600_000
        assert await used(subject.at(far), concurrency(2, lease_ms=10_000)) == [2]
        one = concurrency(1, lease_ms=10_000)
        assert not (await subject.at(far + 29_999).acquire(one)).allowed
        assert (await subject.at(far + 30_000).acquire(one)).allowed

    subject.run(test())


@pytest.mark.parametrize(
    ("maxes", "wait"),
    [
        (((T + 40_000, 4), (FOREVER, 5)), 40_000),
        (((T + 40_000, 0), (T + 50_000, 5), (FOREVER, 0)), 40_000),
        (((T + 40_000, 4), (T + 50_000, 4), (FOREVER, 4)), None),
    ],
    ids=["for ever", "for a while", "never enough"],
)
@pytest.mark.parametrize("make", [make for _, make in KINDS], ids=[kind for kind, _ in KINDS])
def test_a_max_that_rises_to_the_cost(
    subject: Subject, make: Callable[..., Charge], maxes: tuple[tuple[int, int], ...], wait: int | None
) -> None:
    """Where a max rises to exactly what a request costs, that is when to come again."""
    limit = make(0, cost=5, maxes=maxes)

    async def test() -> None:
        assert (await subject.at(T).acquire(limit)).states[0].retry_after_ms == wait
        if wait is not None:
            assert not (await subject.at(T + wait - 1).acquire(limit)).allowed
            assert (await subject.at(T + wait).acquire(limit)).allowed

    subject.run(test())


@pytest.mark.parametrize("make", [make for _, make in KINDS], ids=[kind for kind, _ in KINDS])
def test_a_max_that_rises_to_what_is_used_and_the_cost(subject: Subject, make: Callable[..., Charge]) -> None:
    """The same where some of it is used: one unit more is not waited for, and one less is not enough."""

    async def test() -> None:
        assert (await subject.at(T).acquire(make(7, cost=7))).allowed
        for enough, wait in ((10, 10_000), (9, 20_000)):
            limit = make(0, cost=3, maxes=((T + 10_000, 9), (T + 20_000, enough), (FOREVER, 10)))
            assert (await subject.acquire(limit)).states[0].retry_after_ms == wait

    subject.run(test())


@pytest.mark.parametrize(("frees_at", "wait"), [(61_000, 62_000), (61_001, 61_000)])
def test_a_max_that_ends_when_a_unit_frees(subject: Subject, frees_at: int, wait: int) -> None:
    """A max that ends in the very millisecond in which a unit is free has ended by then."""

    async def test() -> None:
        assert (await subject.at(T).acquire(rate(2, 60_000))).allowed
        assert (await subject.at(T + 1_000).acquire(rate(2, 60_000))).allowed
        limit = rate(0, 60_000, maxes=((T + frees_at, 2), (FOREVER, 1)))
        (state,) = (await subject.at(T + 1_000).acquire(limit)).states
        assert state.retry_after_ms == wait - 1_000

    subject.run(test())


def test_a_slot_where_the_max_rises(subject: Subject) -> None:
    """Where a cap is full by its max of now and has room by the next one, that is when to come again; until then a slot
    may free at any time."""

    async def test() -> None:
        assert (await subject.at(T).acquire(concurrency(1))).allowed
        soon = concurrency(0, maxes=((T + 500, 1), (FOREVER, 2)))
        assert (await subject.acquire(soon)).states[0].retry_after_ms == 500
        later = concurrency(0, maxes=((T + 1_001, 1), (FOREVER, 2)))
        assert (await subject.acquire(later)).states[0].retry_after_ms == 1_000

    subject.run(test())


@pytest.mark.parametrize("cost", [0, 1])
def test_what_costs_nothing_exceeds_nothing(subject: Subject, cost: int) -> None:
    """A request that takes nothing of a limit passes it, also where a lowered max is overdrawn by what was used."""

    async def test() -> None:
        assert (await subject.at(T).acquire(rate(3, 60_000, cost=3), quota(3, "day", cost=3))).allowed
        for lowered in (rate(1, 60_000, cost=cost), quota(1, "day", cost=cost)):
            decision = await subject.acquire(lowered)
            (state,) = decision.states
            assert (decision.allowed, state.exceeded, state.retry_after_ms == 0) == (not cost, bool(cost), not cost)
            assert (state.used, state.remaining) == (3, 0)

    subject.run(test())
