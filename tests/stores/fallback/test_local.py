"""What a process decides by itself while its store is away: as the memory store would, from what it saw last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.model import FOREVER, Charge, Decision, State, StoreUnavailable
from ratelimit.stores.counting.terms import Item, Place
from ratelimit.stores.fallback.doubt import Doubt, InDoubt
from ratelimit.stores.fallback.idempotency import NEVER_KNOWN, NOT
from ratelimit.stores.fallback.local import LocalLimiter
from ratelimit.stores.memory import MemoryStore
from tests.stores import concurrency, quota, rate

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
MARCH, APRIL = 1_772_323_200_000, 1_775_001_600_000
AWAY = StoreUnavailable("it is away")
MINUTE, MONTH = rate(10, 60_000), quota(10)


class Side:
    """A Local under a clock, and what the store was last seen to decide."""

    def __init__(self, **options: object) -> None:
        self.now = T
        self.decisions: dict[Sequence[Charge], Decision] = {}
        self.local = LocalLimiter(lambda _: self.now, self.decisions.get, **options)

    def saw(self, charges: tuple[Charge, ...], *useds: int, at: int = 0) -> None:
        states = [State(charge, 10, used, 0, 0) for charge, used in zip(charges, useds, strict=True)]
        self.decisions[charges] = Decision(True, at or self.now, tuple(states))

    def ask(self, *charges: Charge, failure: StoreUnavailable = AWAY) -> Decision:
        return self.local.decide(charges, failure)

    def admitted(self, *charges: Charge, of: int) -> int:
        return sum(self.ask(*charges).allowed for _ in range(of))

    @property
    def owed(self) -> list[Item]:
        return [item for _, item in self.local.journal.take(lambda _: True)]


@pytest.fixture
def side() -> Side:
    return Side()


def test_a_caller_never_seen(side: Side) -> None:
    """Who was never seen starts from nothing, and is held to its limits, with the true state in the decision."""
    decisions = [side.ask(MINUTE, MONTH) for _ in range(11)]
    assert [decision.allowed for decision in decisions] == [True] * 10 + [False]
    assert all(decision.unavailable for decision in decisions)
    assert [state.remaining for state in decisions[3].states] == [6, 6]
    denying = decisions[10].denying
    assert denying
    assert (denying.limit.name, denying.retry_after_ms) == ("quota", APRIL - T)


def test_many_units(side: Side) -> None:
    """So many times the cost are counted and owed, all or none."""
    assert side.local.decide((MINUTE, MONTH), AWAY, 7).allowed
    denied = side.local.decide((MINUTE, MONTH), AWAY, 4)
    assert not denied.allowed
    assert [state.used for state in denied.states] == [7, 7]
    assert [item.units for item in side.owed] == [7, 7]
    assert side.admitted(MINUTE, MONTH, of=4) == 3


def test_it_goes_on_from_what_was_seen(side: Side) -> None:
    """A rate counts what was seen used as of then, a quota in its period; what was seen too long ago does not count."""
    side.saw((MINUTE, MONTH), 7, 4)
    side.now += 30_000
    assert side.admitted(MINUTE, MONTH, of=5) == 3
    side.now = T + 61_000  # what was seen has left the window, the three have not
    assert side.admitted(MINUTE, MONTH, of=5) == 3
    assert side.ask(MINUTE, MONTH).states[1].used == 10
    side.now = APRIL
    assert side.admitted(MINUTE, MONTH, of=11) == 10


def test_a_denial_that_was_seen_holds(side: Side) -> None:
    """A caller that the store denied is denied, and its wait is at most a window from when that was seen."""
    side.saw((MINUTE,), 10)
    denied = side.ask(MINUTE)
    assert (denied.allowed, denied.states[0].retry_after_ms) == (False, 61_000)
    side.now = T + 61_000
    assert side.ask(MINUTE).allowed


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 40, 400, 1_000, 5_000]), st.integers(0, 3), st.booleans()), max_size=60)
)
@settings(deadline=None, max_examples=60)
def test_it_agrees_with_the_memory_store(steps: list[tuple[int, int, bool]]) -> None:
    """From nothing on, decision for decision and state for state, with costs, shadows, two rates and a later max."""
    side = Side()
    store = MemoryStore(clock=lambda: side.now)
    maxes = ((T + 20_000, 12), (FOREVER, 5))

    async def test() -> None:
        for ms, cost, second in steps:
            side.now += ms
            charges = [rate(8, 5_000, cost=cost), quota(0, "day", cost=cost, maxes=maxes)]
            if second:
                charges.append(rate(2, 1_000, key="second", mode="shadow"))
            expected = await store.acquire(charges)
            assert side.ask(*charges) == replace(expected, unavailable=True)

    asyncio.run(test())


def test_what_is_admitted_is_owed(side: Side) -> None:
    """What each charge took, by sub-window and period; nothing for a denial, an exceeded shadow, or a cost of 0."""
    charges = (
        rate(9, 60_000, cost=3),
        quota(100),
        rate(1, 60_000, key="new", mode="shadow"),
        quota(9, key="0", cost=0),
    )
    for now in (T, T + 500, T + 1_000, T + 1_000):
        side.now = now
        side.ask(*charges)
    second, keys = T // 1_000, [charge.key for charge in charges]
    march = Place("q", MARCH, APRIL, 0)
    assert side.owed == [
        Item(keys[0], Place("r", 60_000, 60, second), 6),
        Item(keys[0], Place("r", 60_000, 60, second + 1), 3),
        Item(keys[1], march, 3),
        Item(keys[2], Place("r", 60_000, 60, second), 1),
    ]


def test_a_later_decision_of_the_store_counts(side: Side) -> None:
    """What the store says after an outage takes the place of what was counted here, but for what it does not know."""
    assert side.admitted(MONTH, of=4) == 4
    side.now += 1_000
    side.saw((MONTH,), 3)  # others used three; our four are still owed
    side.now += 1_000
    assert side.ask(MONTH).states[0].used == 8
    for item in side.owed:
        side.local.settled(item)
    assert side.ask(MONTH).states[0].used == 9  # what was settled after that was seen is not forgotten
    side.now += 1_000
    side.saw((MONTH,), 5)  # a reset by hand
    side.now += 1_000
    assert side.ask(MONTH).states[0].used == 7  # one more is owed by then


def test_an_older_view_is_no_news(side: Side) -> None:
    """Two sets of charges may share a counter: what one of them saw before the other counted here changes nothing."""
    other = (MONTH, rate(100, 60_000))
    side.saw(other, 2, 2)
    side.now += 1_000
    side.saw((MONTH,), 6)
    side.now += 1_000
    assert side.admitted(MONTH, of=2) == 2
    assert side.ask(*other).states[0].used == 9


def doubted() -> tuple[Doubt, InDoubt]:
    doubt = Doubt(b"07")
    return doubt, InDoubt("no reply", doubt)


@pytest.mark.parametrize("early", [True, False], ids=["known by then", "told later"])
@pytest.mark.parametrize(
    ("charged_at", "allowed", "units"),
    [(T - 9, True, 0), (NOT, True, 1), (NEVER_KNOWN, True, 0), (T - 9, False, -1), (NOT, False, 0), (-1, False, 0)],
)
def test_a_call_in_doubt(side: Side, charged_at: int, allowed: bool, units: int, early: bool) -> None:
    """What was admitted here and was charged by the call is not owed; what was denied here and was charged goes back;
    nothing is charged twice where nobody will ever know."""
    side.saw((MONTH,), 0 if allowed else 10)
    doubt, failure = doubted()
    if early:
        doubt.tell(charged_at)
    assert side.ask(MONTH, failure=failure).allowed == allowed
    if not early:
        assert side.local.journal.open(MONTH.key) == allowed
        assert side.owed == []
        doubt.tell(charged_at)
    assert side.owed == ([Item(MONTH.key, Place("q", MARCH, APRIL, 0), units)] if units else [])
    assert side.local.journal.open(MONTH.key) == units
    assert side.local.journal.refunds == (units < 0)


def test_only_units_go_back(side: Side) -> None:
    """A slot of a call in doubt is given back by itself, and what costs nothing is not given back."""
    charges = (MONTH, concurrency(9), rate(9, 60_000, cost=0))
    side.saw(charges, 10, 0, 0)
    doubt, failure = doubted()
    assert not side.ask(*charges, failure=failure).allowed
    doubt.tell(T)
    assert [item.key for item in side.owed] == [MONTH.key]


def test_something_to_settle_is_told(side: Side) -> None:
    """Who settles is woken when something is owed, or is to go back, and not for a denial."""
    woken = []
    side.local.on_owed = lambda: woken.append(side.now)
    side.saw((MONTH,), 9)
    assert side.admitted(MONTH, of=3) == 1
    assert len(woken) == 1
    doubt, failure = doubted()
    side.ask(MONTH, failure=failure)
    doubt.tell(T)
    assert len(woken) == 2


def test_concurrency_of_its_own(side: Side) -> None:
    """Slots that are given here are held until they are given back, however long that takes, and never expire."""
    cap = concurrency(2, lease_ms=1_000)
    first, second, third = (side.ask(cap) for _ in range(3))
    assert (first.allowed, second.allowed, third.allowed, third.leases) == (True, True, False, ())
    assert (third.states[0].used, third.states[0].retry_after_ms, third.states[0].window_ms) == (2, 1_000, 1_000)
    side.now += 3_600_000
    assert not side.ask(cap).allowed
    asyncio.run(side.local.release(first.leases))
    asyncio.run(side.local.release(first.leases))
    again = side.ask(cap)
    assert (again.allowed, again.states[0].used, side.owed) == (True, 2, [])
    assert again.states[0].reset_after_ms == 1_000


def test_concurrency_from_what_was_seen(side: Side) -> None:
    """What others were seen to hold counts for one lease; what the store gave this process counts while it is held."""
    cap = concurrency(5, lease_ms=10_000)
    lease = side.ask(cap).leases[0]
    asyncio.run(side.local.release([lease]))
    state = State(cap, 5, 4, 0, 0)
    side.local.held.saw(Decision(True, T, (state,), (lease,)))  # three of others, and ours
    assert side.ask(cap).states[0].used == 5
    assert not side.ask(cap).allowed
    side.local.held.give_back([lease])  # the store's: given back to it, too
    assert side.ask(cap).allowed
    side.now += 10_000
    assert side.ask(cap).states[0].used == 3


def test_counters_are_bounded() -> None:
    """The counter asked for the longest time ago is dropped first; what it owes is still owed, and counted again."""
    side = Side(most=2)
    a, b, c = (replace(MONTH, key=f"{{user={name}}}:quota") for name in "abc")
    for charge in (a, b, a, c):
        side.ask(charge)
    assert len(side.local._known) == 2
    assert [side.ask(charge).states[0].used for charge in (a, b)] == [3, 2]
    assert side.ask(a, b, c).allowed  # more than are kept
    assert len(side.local._known) == 2


def test_nothing_is_asked_for(side: Side) -> None:
    """A request without limits is allowed."""
    assert side.ask() == Decision(True, T, unavailable=True)


def test_where_nobody_settles() -> None:
    """Of a store that can't be charged later no account is kept."""
    side = Side(owes=False)
    assert side.admitted(MONTH, of=12) == 10
    assert (side.owed, side.local.journal.open_units) == ([], 0)


def test_two_sets_that_share_a_counter(side: Side) -> None:
    """What one set of charges saw last counts also where another one, which had seen less, was asked for first."""
    other = (MONTH, rate(100, 60_000))
    side.saw((MONTH,), 2)
    side.now += 1_000
    side.saw(other, 9, 7)
    side.now += 1_000
    assert side.ask(MONTH).allowed
    assert side.ask(*other).denying is not None
    assert side.ask(MONTH).states[0].used == 10


@pytest.mark.parametrize("told", ["settled", "charged late"])
def test_what_was_seen_before_a_settlement(side: Side, told: str) -> None:
    """A decision that the store made before it was charged with what was admitted here counts, and that as well; one
    that it made after it counts alone."""
    doubt, failure = doubted()
    assert side.ask(MONTH, failure=failure).allowed
    assert side.ask(MONTH).allowed
    side.now += 1_000
    side.saw((MONTH,), 7)
    side.now += 1_000
    doubt.tell(side.now if told == "charged late" else NOT)
    for item in side.owed:
        side.local.settled(item)
    side.now += 1_000
    assert side.admitted(MONTH, of=3) == 1
    side.saw((MONTH,), 8, at=side.now - 900)  # still before our third, which is owed
    assert side.ask(MONTH).states[0].used == 10


def test_slots_that_the_store_does_not_know(side: Side) -> None:
    """Slots that were given here are not taken for those that the store counts: its are others'."""
    cap = concurrency(4)
    assert side.admitted(cap, of=2) == 2
    side.local.held.saw(Decision(True, T, (State(cap, 4, 2, 0, 0),), ()))
    denied = side.ask(cap)
    assert (denied.allowed, denied.states[0].used) == (False, 4)


def test_what_is_settled_of_a_counter_that_was_dropped() -> None:
    """A counter that is kept no more has nothing to be told when what it owed was charged."""
    side = Side(most=1)
    for name in "ab":
        assert side.ask(replace(MONTH, key=f"{{user={name}}}:quota")).allowed
    for item in side.owed:
        side.local.settled(item)
    assert side.local.journal.open_units == 0
    assert [known.settled for known in side.local._known.values()] == [1]
