"""A wait is true for the limits as they will be then: of one that begins to deny while a caller waits (`from`, the
`until` of an override), and of several that change one after the other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.model import FOREVER, Charge, Decision
from ratelimit.stores.counting.terms import terms_at
from tests.stores import Subject, concurrency, quota, rate
from tests.stores.conftest import subject_of

T = 1_772_323_200_000 - 100  # 100 ms before the day ends: 2026-03-01T00:00:00Z is in them
HORIZON = 150  # ms: by then windows have ended, and what changes has changed


def then(charge: Charge, *maxes: tuple[int, int]) -> Charge:
    """With other maxes, each until an instant after T, the last for good."""
    steps = [(T + until if until < FOREVER else until, maximum) for until, maximum in maxes]
    return Charge(charge.limit, charge.key, charge.cost, tuple(steps))


def wait_of(decision: Decision) -> int | None:
    assert decision.denying
    return decision.denying.retry_after_ms


CASES: dict[str, tuple[list[Charge], list[Charge], int | None]] = {
    # what was used before, what is asked for at T, and the wait
    "nothing changes": ([rate(1, 50, 50, key="a")], [], 51),
    "a shadow ends during the wait": (
        [rate(1, 50, 50, key="a"), rate(1, 200, 50, key="b", enforce_from_ms=T + 20)],
        [],
        204,
    ),
    "a shadow ends as the wait does": (
        [rate(1, 50, 50, key="a"), rate(1, 200, 50, key="b", enforce_from_ms=T + 51)],
        [],
        204,
    ),
    "a shadow ends after it": (
        [rate(1, 50, 50, key="a"), rate(1, 200, 50, key="b", enforce_from_ms=T + 52)],
        [],
        51,
    ),
    "a max falls during the wait": (
        [rate(1, 50, 50, key="a")],
        [rate(1, 50, 50, key="a"), then(rate(9, 200, 50, key="b"), (30, 9), (FOREVER, 1))],
        51,
    ),
    "a max falls below what is used": (
        [rate(1, 50, 50, key="a"), rate(9, 200, 50, key="b")],
        [rate(1, 50, 50, key="a"), then(rate(9, 200, 50, key="b"), (30, 9), (FOREVER, 1))],
        204,
    ),
    "and rises again": (
        [rate(1, 50, 50, key="a"), rate(9, 200, 50, key="b")],
        [rate(1, 50, 50, key="a"), then(rate(9, 200, 50, key="b"), (30, 9), (90, 1), (FOREVER, 2))],
        90,
    ),
    "one opens while the other is shut": (
        [rate(9, 200, 50, key="b")],
        [
            then(rate(9, 50, 50, key="a"), (30, 0), (60, 1), (FOREVER, 0)),
            then(rate(0, 200, key="b"), (45, 0), (FOREVER, 2)),
        ],
        45,
    ),
    "one shuts for good before the other opens": (
        [],
        [then(rate(9, 50, 50, key="a"), (30, 9), (FOREVER, 0)), then(rate(0, 200, key="b"), (45, 0), (FOREVER, 2))],
        None,
    ),
    "one that is closed ends its shadow in time": (
        [],
        [rate(0, 50, 50, key="a", enforce_from_ms=T + 30), then(rate(0, 200, key="b"), (45, 0), (FOREVER, 2))],
        None,
    ),
    "one that is closed ends its shadow too late": (
        [],
        [rate(0, 50, 50, key="a", enforce_from_ms=T + 46), then(rate(0, 200, key="b"), (45, 0), (FOREVER, 2))],
        45,
    ),
    "a quota begins to deny and its period ends": (
        [rate(1, 50, 50, key="a"), quota(1, "day", key="q", enforce_from_ms=T + 10)],
        [],
        100,
    ),
    "in shadow for good": (
        [rate(1, 50, 50, key="a"), quota(1, "month", key="q", mode="shadow", enforce_from_ms=T + 10)],
        [],
        51,
    ),
    "what costs nothing": (
        [rate(1, 50, 50, key="a")],
        [rate(1, 50, 50, key="a"), rate(0, 200, key="b", cost=0, enforce_from_ms=T + 10)],
        51,
    ),
    "slots may be free a second later": (
        [rate(1, 50, 50, key="a"), concurrency(1, key="c", enforce_from_ms=T + 30)],
        [],
        1_000,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["memory", "valkey"])
def test_the_wait(case: str, name: str, request: pytest.FixtureRequest) -> None:
    """A request sent after exactly that wait passes; one millisecond earlier, and before, it is denied."""
    subject = subject_of(name, request)
    before, asked, wait = CASES[case]
    asked = asked or before

    async def test() -> None:
        held = (await subject.at(T).acquire(*before)).leases if before else ()
        denied = await subject.at(T).acquire(*asked)
        assert (denied.allowed, wait_of(denied)) == (False, wait)
        if wait is None:
            for later in (10, 29, 30, 44, 45, 46, HORIZON, 10**9):
                assert not (await subject.at(T + later).acquire(*asked)).allowed
            return
        for earlier in {1, 20, 30, 45, 51, wait - 1}:
            assert earlier >= wait or not (await subject.at(T + earlier).acquire(*asked)).allowed
        await subject.at(T + wait).release(*held)
        assert (await subject.acquire(*asked)).allowed

    subject.run(test())


@st.composite
def requests(draw: st.DrawFn) -> list[Charge]:
    """Of one to three limits that change at instants within the horizon."""
    instants = st.integers(1, 100)
    charges = []
    for key in draw(st.lists(st.sampled_from("abq"), min_size=1, max_size=3, unique=True)):
        rest: dict[str, Any] = {
            "key": key,
            "cost": draw(st.integers(0, 3)),
            "enforce_from_ms": draw(st.sampled_from([0, 0, 1])) and T + draw(instants),
            "mode": draw(st.sampled_from(["enforce"] * 4 + ["shadow"])),
        }
        made = {"a": rate(1, 60, 7, **rest), "b": rate(1, 120, 60, **rest), "q": quota(1, "day", **rest)}[key]
        untils = sorted(draw(st.sets(instants, max_size=3)))
        charge = then(made, *[(until, draw(st.integers(0, 6))) for until in (*untils, FOREVER)])
        if draw(st.booleans()):  # stages of a launch, of which each is another than the one before
            ends, first = sorted(draw(st.sets(instants, max_size=4))), draw(st.booleans())
            stages = [(T + end, (number % 2 == 0) is first) for number, end in enumerate(ends)]
            charge = replace(charge, stages=(*stages, (FOREVER, (len(ends) % 2 == 0) is first)))
        charges.append(charge)
    return charges


@pytest.mark.repeated
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), requests()), max_size=5), st.integers(0, 40), requests())
def test_the_wait_is_the_first_instant(used: list[tuple[int, list[Charge]]], at: int, asked: list[Charge]) -> None:
    """Whatever was used and however limits change: of all milliseconds the first in which it passes is told."""

    async def test() -> None:
        subject, now = Subject("memory"), T
        for later, charges in used:
            now += later
            await subject.at(now).acquire(*charges)
        now += at
        decision = await subject.at(now).acquire(*asked)
        if decision.allowed:
            return
        passes = None
        for wait in range(1, HORIZON):
            if (await subject.at(now + wait).acquire(*asked)).allowed:  # a denial changes nothing
                passes = wait
                break
        told = wait_of(decision)
        assert (told if told is None or told < HORIZON else None) == passes  # a day that begins on the way is longer
        if passes:  # the longest of them tells it; the others tell their own
            waits = [s.retry_after_ms for s in decision.states if s.exceeded and not s.shadow]
            assert max(waits, key=lambda wait: FOREVER if wait is None else wait) == passes

    asyncio.run(test())


def test_what_may_change() -> None:
    """Only limits whose max or shadow ends are looked at again: all others stay as they are while a caller waits."""
    changing = [rate(1, 50, enforce_from_ms=T + 1), then(rate(1, 50), (9, 1), (FOREVER, 2))]
    lasting = [rate(1, 50), rate(1, 50, mode="shadow"), rate(1, 50, mode="shadow", enforce_from_ms=T + 1)]
    lasting += [rate(1, 50, enforce_from_ms=T), then(rate(1, 50), (0, 1), (FOREVER, 2))]
    assert [terms_at(charge, T).changes for charge in changing + lasting] == [True] * 2 + [False] * 5
