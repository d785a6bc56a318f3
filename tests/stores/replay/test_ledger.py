"""A ledger decides as a memory store does whose clock never goes back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ratelimit import Charge, Concurrency, Limit, MemoryStore, Quota, Rate
from ratelimit.model import FOREVER, Decision
from ratelimit.stores.counting.terms import terms_at
from ratelimit.stores.replay import Counter, InFlight, Ledger, Plan, Quotas, Rates, Row, Tariff, counter_of

T = 1_772_445_600_000  # 2026-03-02T10:00:00Z
DAY = 86_400_000
KINDS: tuple[Any, ...] = (Rate(1_000, 7), Rate(60_000, 60), Rate(10, 1), Quota("day"), Quota("month", anchor_day=3))


def at_most(number: int) -> Any:
    return lambda attributes: number


def charge(kind: Any, maximum: int, cost: int = 1, *, name: str = "a", mode: Any = "enforce", later: int = 0) -> Charge:
    limit = Limit(name, kind, at_most(maximum), mode=mode)
    steps = ((T + later, maximum + 3), (FOREVER, maximum)) if later else ((FOREVER, maximum),)
    return Charge(limit, f"{{ip=1}}:{name}", cost, steps)


def row(ledger: Ledger, charges: tuple[Charge, ...], now: int) -> Row:
    tariffs = [ledger.tariff(one, now) for one in charges]
    return Row(Plan("search", "basic", charges, tariffs), tuple([counter_of(one) for one in tariffs]))


def settled(decision: Decision) -> tuple[Any, ...]:
    return decision.allowed, [(s.used, s.max, s.exceeded, s.retry_after_ms, s.reset_after_ms) for s in decision.states]


steps = st.lists(st.tuples(st.integers(0, 3 * DAY) | st.integers(0, 3_000), st.booleans()), min_size=1, max_size=40)


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(0, 6), st.integers(0, 3), st.sampled_from(["enforce", "shadow"])),
        min_size=1,
        max_size=3,
    ),
    steps,
    st.integers(0, 5_000),
)
def test_as_the_memory_store(limits: list[Any], steps: list[tuple[int, bool]], later: int) -> None:
    """Whatever limits and whenever somebody asks: the same decision, in each number of it, and units that go back are
    back in both."""
    charges = tuple(
        charge(kind, most, cost, name=f"l{n}", mode=mode, later=later)
        for n, (kind, most, cost, mode) in enumerate(limits)
    )
    now = T
    store, ledger = MemoryStore(clock=lambda: now), Ledger()
    ours = row(ledger, charges, now)
    for wait, refunds in steps:
        now += wait
        theirs = _run(store.acquire(charges))
        if ledger.admit(ours, now):
            assert settled(theirs)[0]
            assert not theirs.exceeded
            assert [state.used for state in theirs.states] == [counter.used for counter in ours.counters]
        else:
            assert settled(ledger.decide(ours, charges, now)) == settled(theirs)
        if refunds and theirs.allowed:
            _run(store.refund(theirs))
            for state, counter in zip(theirs.states, ours.counters, strict=True):
                if state.charge.cost and not state.exceeded:
                    counter.give_back(state.charge.cost, now)


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 3), st.integers(0, 2_000)), max_size=40))
def test_units_go_back_late(asked: list[tuple[int, int, int]]) -> None:
    """Units of an instant that is long past go back while they count, and never more than are there."""
    now = T
    one = charge(Rate(1_000, 7), 10**6)
    daily = charge(Quota("day"), 10**6, name="b")
    store, ledger = MemoryStore(clock=lambda: now), Ledger()
    ours = row(ledger, (one, daily), now)
    taken: list[tuple[int, Decision]] = []
    for wait, times, back in asked:
        now += wait
        for _ in range(times):
            taken.append((now, _run(store.acquire((one, daily)))))
            assert ledger.admit(ours, now)
        at, spent = taken.pop(back % len(taken))
        _run(store.refund(spent))
        for counter in ours.counters:
            counter.look(now)
            counter.give_back(1, at)
        peeked = _run(store.peek((one, daily), 0))
        assert [state.used for state in peeked.states] == [counter.used for counter in ours.counters]


def test_slots() -> None:
    """A slot is held until its request leaves, and who finds none waits as the store says it."""
    ledger = Ledger()
    cap = charge(Concurrency(), 1)
    ours = row(ledger, (cap,), T)
    assert ledger.admit(ours, T)
    assert not ledger.admit(ours, T + DAY)
    decision = ledger.decide(ours, (cap,), T + DAY)
    assert settled(decision) == (False, [(1, 1, True, 1_000, 60_000)])
    [slot] = ours.counters
    assert isinstance(slot, InFlight)
    slot.give_back(1, T)
    assert slot.copy().used == 1
    slot.leave()
    assert ledger.admit(ours, T + DAY)


def test_what_can_not_go_back() -> None:
    """Units of a sub-window or a period that counts no more, or of one in which nothing was charged."""
    for kind in (Rate(60_000, 60), Quota("day")):
        counter = counter_of(Tariff(charge(kind, 5), T))
        counter.look(T)
        counter.add(2)
        counter.give_back(1, T - 2 * DAY)
        counter.give_back(5, T)
        assert counter.used == 0
    rates = Rates(Tariff(charge(Rate(60_000, 60), 5), T))
    for at in (T, T + 2_000):
        rates.look(at)
        rates.add(2)
    rates.give_back(1, T + 1_000)
    rates.give_back(1, T)
    assert (rates.used, rates.kept().used(T + 2_000, rates.tariff.terms)) == (3, 3)
    rates.look(T + DAY)
    assert rates.kept().total == 0


def test_copies() -> None:
    """A copy goes on by itself."""
    for kind in (Rate(60_000, 60), Quota("day")):
        counter: Counter = counter_of(Tariff(charge(kind, 5), T))
        for at in (T, T + 2_000):
            counter.look(at)
            counter.add(1)
        twin = counter.copy()
        assert isinstance(twin, Rates | Quotas)
        twin.add(2)
        assert (counter.used, twin.look(T + 2_500)) == (2, 4)
    fresh = Rates(Tariff(charge(Rate(60_000, 60), 5), T)).copy()
    assert isinstance(fresh, Rates)
    assert (fresh.used, fresh.older) == (0, None)


def test_tariffs() -> None:
    """Charges that differ in key and cost alone have one tariff; it follows the clock."""
    ledger = Ledger()
    limit = Limit("a", Rate(60_000), at_most(5))
    maxes = (T + 10, 9), (FOREVER, 5)
    one, other = Charge(limit, "{ip=1}:a", 1, maxes), Charge(limit, "{ip=2}:a", 2, maxes)
    tariff = ledger.tariff(one, T)
    assert ledger.tariff(other, T) is tariff
    assert ledger.tariff(Charge(limit, "{ip=1}:a", 1, ((FOREVER, 5),)), T) is not tariff
    assert (tariff.max, tariff.terms) == (9, terms_at(one, T))
    ours = Row(Plan("search", "", (one,), (tariff,)), (counter_of(tariff),))
    assert ledger.admit(ours, T + 10)
    assert tariff.max == 5


def test_what_is_free() -> None:
    """A cost of 0 fits into a limit that is closed, and counts nothing in any."""
    ledger = Ledger()
    ours = row(ledger, (charge(Rate(60_000), 0, 0), charge(Quota("day"), 5, name="b")), T)
    assert ledger.admit(ours, T)
    assert [counter.used for counter in ours.counters] == [0, 1]


def _run(work: Any) -> Any:
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the memory store never waits")
