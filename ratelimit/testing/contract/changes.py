"""Limits that change with time: overrides that end, dates from which a limit is enforced, shadows, edited periods."""

from __future__ import annotations

import pytest

from ratelimit.model import Decision
from ratelimit.testing.contract.subject import Subject, T, concurrency, ms, quota, rate


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


STAGES = ((T + 10_000, False), (T + 20_000, True), (T + 30_000, False), (2**53 - 1, True))


def test_stages(subject: Subject) -> None:
    """Each stage of a launch holds until its instant, whatever the limit's own mode says."""
    staged = rate(1, 60_000, mode="shadow", stages=STAGES)

    async def test() -> None:
        instants = (0, 1, 9_999, 10_000, 19_999, 20_000, 29_999, 30_000, 61_000, 61_000)
        seen = [await subject.at(T + t).acquire(staged) for t in instants]
        assert [d.allowed for d in seen] == [True, True, True, False, False, True, True, False, True, False]
        assert [d.states[0].shadow for d in seen] == [True] * 3 + [False] * 2 + [True] * 2 + [False] * 3

    subject.run(test())


@pytest.mark.parametrize(("at", "wait"), [(10_000, 10_000), (19_999, 1), (30_000, 31_000)])
def test_the_wait_ends_with_a_brownout(subject: Subject, at: int, wait: int) -> None:
    """Who is denied in a brownout is told when it ends, where that is sooner: then it passes, and no sooner."""
    staged = rate(1, 60_000, stages=STAGES)

    async def test() -> None:
        await subject.at(T).acquire(staged)
        denied = await subject.at(T + at).acquire(staged)
        assert denied.states[0].retry_after_ms == wait
        assert not (await subject.at(T + at + wait - 1).acquire(staged)).allowed
        assert (await subject.at(T + at + wait).acquire(staged)).allowed

    subject.run(test())


def test_a_wait_into_a_stage(subject: Subject) -> None:
    """Who waits for one limit waits for another, too, that is enforced by then, and not where it is in shadow again."""
    waited, staged = quota(1, "day", key="daily"), rate(1, 3_600_000, stages=(*STAGES[:3], (2**53 - 1, False)))
    minute = rate(1, 15_000, 15, key="minute")

    async def test() -> None:
        await subject.at(T).acquire(staged)
        await subject.at(T + 1).acquire(minute)
        assert (await subject.at(T + 2).acquire(minute, staged)).states[0].retry_after_ms == 20_000 - 2
        await subject.acquire(waited)
        denied = (await subject.at(T + 5_000).acquire(waited, staged)).states[0]
        assert denied.retry_after_ms == denied.reset_after_ms == 14 * 3_600_000 - 5_000

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
