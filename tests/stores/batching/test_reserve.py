"""Units that a process takes ahead: how many, for how long, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratelimit.model import FOREVER, Charge, Decision, State
from ratelimit.stores.batching.allotments import Allotment, Demand
from tests import servers
from tests.stores import Subject, concurrency, quota, rate
from tests.stores.clock import Clock, T, ahead, caller_of, clocked
from tests.stores.simulation import MIDNIGHT


@pytest.fixture
def subject(server: servers.Server) -> Subject:
    return clocked(server)


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Every caller is as fast as the test says."""
    return lambda units: monkeypatch.setattr(Demand, "wanted", lambda *_: units)


DECISION = Decision(True, T, (State(rate(100, 60_000, cost=2), 100, 12, 61_000, 60_000),))


def test_a_block_lives_shorter_than_its_sub_window() -> None:
    """Until what is left of the sub-window has passed since before it was sent, less a thousandth and 1 ms."""
    allotment = Allotment(5, DECISION, 800, sent=7.0, arrived=7.3)
    assert allotment.deadline == pytest.approx(7.0 + 0.8 - 0.0008 - 0.001, abs=1e-12)
    assert allotment.alive(7.3)
    assert not allotment.alive(allotment.deadline)
    assert allotment.spend(allotment.deadline) is None
    assert allotment.left == 5
    assert not Allotment(0, DECISION, 800, sent=7.0, arrived=7.3).alive(7.3)
    assert not Allotment(5, DECISION, 800, sent=7.0, arrived=7.9).alive(7.9)  # dead on arrival


def test_what_a_block_says() -> None:
    """Used is what is charged less what is not spent; resets come nearer as time passes."""
    allotment = Allotment(2, DECISION, 800, sent=7.0, arrived=7.1)
    seen = [allotment.decision(7.1), allotment.spend(7.1), allotment.spend(7.25), allotment.spend(7.3)]
    assert [d and (d.allowed, d.now_ms, d.states[0].used, d.states[0].remaining) for d in seen] == [
        (True, T, 8, 92),
        (True, T, 10, 90),
        (True, T + 150, 12, 88),
        None,
    ]
    assert seen[2]
    assert seen[2].states[0].reset_after_ms == 61_000 - 150


def test_taking_back_empties_first() -> None:
    """What is taken back can't be spent, nor taken back again."""
    allotment = Allotment(3, DECISION, 800, sent=7.0, arrived=7.1)
    assert allotment.spend(7.1)
    assert (allotment.take_back(), allotment.take_back(), allotment.spend(7.1)) == (2, 0, None)


def test_the_pace_of_a_caller() -> None:
    """None for one request a sub-window; doubled within one; then as many as a sub-window ago; after a rest anew."""
    demand, ends = Demand(1_000), T
    for number in range(3):
        assert demand.wanted(number + 0.5) == 0
        demand.charged(ends + 1_000 * number, number + 0.999)
    taken = []
    for _ in range(5):
        taken.append(demand.wanted(2.6))
        demand.charged(ends + 2_000, 2.999)
        demand.count += taken[-1]
    assert (taken, demand.count) == ([1, 3, 7, 15, 31], 63)
    assert demand.wanted(3.1) == 62  # the one that asks is charged by itself
    demand.charged(ends + 3_000, 3.999)
    assert demand.wanted(3.2) == 62
    demand.count = 50
    assert (
        demand.wanted(3.3) == 50
    )  # at the least as many again: 63 of before less 50 would be too few for who got faster
    assert demand.wanted(5.0) == 0
    demand.charged(ends + 9_000, 9.999)
    assert demand.wanted(9.5) == 1
    demand.charged(ends - 60_000, 10.999)  # the clock of the store went back
    assert (demand.count, demand.wanted(10.5)) == (1, 1)


MINUTE, DAY = ahead(rate(1_000, 60_000)), ahead(quota(100, "day", cost=5))


@pytest.mark.parametrize(
    ("charges", "at", "units", "for_ms"),
    [
        ([ahead(rate(100, 60_000))], T, 12, 1_000),  # an eighth of 99
        ([ahead(rate(100, 60_000, cost=3))], T, 4, 1_000),  # 12 units
        ([ahead(rate(9, 60_000))], T, 1, 1_000),
        ([ahead(rate(8, 60_000))], T, 0, None),
        ([ahead(rate(100_000, 60_000))], T, 500, 1_000),  # no more than it asks for
        ([MINUTE, DAY], T, 2, 1_000),
        ([DAY, MINUTE], T, 2, 1_000),
        ([MINUTE, ahead(rate(9_000, 1_000, 3))], T, 124, 334),
        ([MINUTE], T + 994, 124, 6),
        ([MINUTE], T + 995, 0, None),  # over on arrival
        ([ahead(quota(800, "day"))], T, 99, 1_000),
        ([MINUTE, ahead(quota(800, "day"))], MIDNIGHT - 400, 99, 400),
        ([ahead(quota(800, "day"))], MIDNIGHT - 5, 0, None),
        ([ahead(rate(0, 60_000, maxes=((T + 400, 1_000), (FOREVER, 10))))], T, 124, 400),
        ([MINUTE, rate(1_000, 60_000, key="other")], T, 0, None),
        ([MINUTE, rate(1_000, 60_000, key="other", cost=0)], T, 124, 1_000),
        ([MINUTE, ahead(rate(1_000, 60_000, key="other", mode="shadow"))], T, 0, None),
        ([MINUTE, ahead(rate(1_000, 60_000, key="other", enforce_from_ms=T + 9))], T, 0, None),
        ([MINUTE, ahead(rate(1_000, 60_000, key="other", enforce_from_ms=T))], T, 124, 1_000),
        ([ahead(rate(1_000, 60_000, stages=((T + 400, True), (FOREVER, False))))], T, 124, 400),
        ([ahead(rate(1_000, 60_000, stages=((T + 400, False), (FOREVER, True))))], T, 0, None),
        ([MINUTE, concurrency(1_000)], T, 0, None),
        ([MINUTE, ahead(concurrency(1_000))], T, 0, None),
        ([ahead(rate(1_000, 60_000, cost=0))], T, 0, None),
    ],
)
def test_what_is_taken(
    subject: Subject,
    clock: Clock,
    wanted: Callable[[int], None],
    charges: list[Charge],
    at: int,
    units: int,
    for_ms: int | None,
) -> None:
    """An eighth of what is left at most, of the limit with the least; none for a moment, nor where a trip is needed."""
    wanted(500)

    async def test() -> None:
        clock.to(at)
        own = tuple(charges)
        decision = await subject.store.acquire(own)
        allotment = caller_of(subject, own).allotment
        assert (decision.allowed, allotment.left if allotment else 0) == (True, units)
        assert [state.used for state in decision.states] == [charge.cost for charge in charges]
        if allotment and for_ms:
            assert allotment.deadline == pytest.approx((at + for_ms - for_ms / 1_000 - 1) / 1_000, abs=1e-6)
        again = await subject.store.acquire(own)
        assert [state.used for state in again.states] == [2 * charge.cost for charge in charges]

    subject.run(test())


def test_none_is_taken_on_a_denial(subject: Subject, clock: Clock, wanted: Callable[[int], None]) -> None:
    """Where one limit denies, no limit is charged, nor ahead."""
    wanted(500)
    own = (MINUTE, ahead(rate(1, 60_000, key="full")))

    async def test() -> None:
        clock.to(T)
        assert (await subject.store.acquire(own)).allowed
        denied = await subject.store.acquire(own)
        assert (denied.allowed, [state.used for state in denied.states]) == (False, [1, 1])
        assert caller_of(subject, own).allotment is None

    subject.run(test())


def test_none_is_taken_while_the_clock_is_back(subject: Subject, clock: Clock, wanted: Callable[[int], None]) -> None:
    """A request that counts in a sub-window ahead of the store's clock takes nothing: when that ends is not known."""
    own = (MINUTE,)

    async def test() -> None:
        clock.to(T + 5_000)
        assert (await subject.store.acquire(own)).allowed
        wanted(500)
        clock.to(T + 3_000)
        assert (await subject.store.acquire(own)).states[0].used == 2
        assert caller_of(subject, own).allotment is None
        clock.to(T + 5_000)
        assert (await subject.store.acquire(own)).states[0].used == 3
        assert caller_of(subject, own).allotment

    subject.run(test())
