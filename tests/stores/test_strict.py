"""Never more than max in any interval of the window's length, against an oracle that keeps every time stamp."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores import Subject, rate
from tests.stores.conftest import subject_of

T = 1_772_359_200_000
pytestmark = pytest.mark.repeated


class Oracle:
    """Keeps every admitted request. An interval of length W that begins with one is the worst there is."""

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self.admitted: list[tuple[int, int]] = []

    def free_at(self, now: int, room: int) -> int:
        """The first instant at which at most `room` units were admitted in the window before it."""
        recent = [(at, cost) for at, cost in self.admitted if at > now - self.window_ms]
        used = sum(cost for _, cost in recent)
        for at, cost in recent:
            if used <= room:
                break
            used, now = used - cost, at + self.window_ms
        return now

    def worst(self) -> int:
        """The most units in any half-open interval of one window's length."""
        times = [at for at, _ in self.admitted]
        sums = [0, *accumulate(cost for _, cost in self.admitted)]
        return max(
            (sums[bisect_right(times, t + self.window_ms - 1)] - sums[i] for i, t in enumerate(times)), default=0
        )


async def call(subject: Subject, oracle: Oracle, now: int, cost: int, maximum: int, precision: int) -> int | None:
    """One request. Checks that what is said of the next one is true; returns the wait, None if it was admitted."""
    limit = rate(maximum, oracle.window_ms, precision, cost=cost)
    decision = await subject.at(now).acquire(limit)
    (state,) = decision.states
    if decision.allowed:
        oracle.admitted.append((now, cost))
        return None
    assert state.retry_after_ms is not None
    # The price of constant space: a unit is freed at most one sub-window late, never early.
    late = now + state.retry_after_ms - oracle.free_at(now, maximum - cost)
    assert 0 <= late <= -(-oracle.window_ms // precision)
    return state.retry_after_ms


def arrivals(kind: str, seed: int, window_ms: int) -> Iterator[int]:
    """How long a caller waits between requests: at random, in bursts, around the edges, as greedily as it can."""
    dice = random.Random(seed)
    while True:
        if kind == "random":
            yield dice.randrange(0, window_ms // 3)
        elif kind == "bursts":
            yield 0 if dice.random() < 0.9 else dice.randrange(window_ms // 2, 2 * window_ms)
        elif kind == "edges":
            yield dice.choice([0, 1, window_ms - 1, window_ms, window_ms + 1, window_ms // 2])
        else:
            yield 0


@pytest.mark.parametrize("kind", ["random", "bursts", "edges", "greedy"])
@pytest.mark.parametrize(
    ("maximum", "window_ms", "precision"), [(1, 100, 1), (7, 1_000, 3), (20, 60_000, 60), (5, 60, 60)]
)
@pytest.mark.parametrize("name", ["memory", "valkey"])
def test_never_more_than_max(
    name: str, kind: str, maximum: int, window_ms: int, precision: int, request: pytest.FixtureRequest
) -> None:
    """Whoever comes when and however often, no window holds more; Retry-After is true to the millisecond."""
    subject, oracle = subject_of(name, request), Oracle(window_ms)
    dice = random.Random(maximum * window_ms)

    async def test() -> None:
        now, denials = T + 17, 0
        for pause in arrivals(kind, seed=window_ms + maximum, window_ms=window_ms):
            if denials == (60 if name == "memory" else 20):
                break
            now += pause
            cost = dice.choice([1, 1, 1, min(2, maximum), maximum])
            wait = await call(subject, oracle, now, cost, maximum, precision)
            if wait is not None:
                denials += 1
                assert await call(subject, oracle, now + wait - 1, cost, maximum, precision) == 1
                now += wait
                assert await call(subject, oracle, now, cost, maximum, precision) is None
            elif len(oracle.admitted) > 700:
                break

    subject.run(test())
    assert oracle.worst() <= maximum
    if kind == "greedy":
        assert oracle.worst() == maximum  # strict, and not stricter than said


@settings(max_examples=200, deadline=None)
@given(
    maximum=st.integers(1, 6),
    window_ms=st.integers(1, 50),
    precision=st.integers(1, 50),
    calls=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 6)), max_size=60),
)
def test_small_geometries(maximum: int, window_ms: int, precision: int, calls: list[tuple[int, int]]) -> None:
    """The same for every small window and precision, where every edge is met."""
    subject, oracle = Subject("memory"), Oracle(window_ms)
    k = min(precision, window_ms)

    async def test() -> None:
        now = T
        for pause, cost in calls:
            now += pause
            if cost <= maximum:
                await call(subject, oracle, now, cost, maximum, k)

    subject.run(test())
    assert oracle.worst() <= maximum


def test_a_greedy_caller_gets_its_share() -> None:
    """Who comes back as soon as it may gets k / (k + 1) of the nominal rate in the long run: 60 of 61."""
    subject, oracle = Subject("memory"), Oracle(60_000)

    async def test() -> None:
        now = T
        while now < T + 30 * 61_000:
            now += await call(subject, oracle, now, 1, 30, 60) or 0

    subject.run(test())
    assert len(oracle.admitted) == 30 * 30


def test_the_oracle_can_fail() -> None:
    """The oracle finds two bursts on both sides of an edge, which a fixed window admits."""
    oracle = Oracle(1_000)
    oracle.admitted = [(999, 10), (1_000, 10), (1_998, 1), (1_999, 5)]
    assert oracle.worst() == 21
