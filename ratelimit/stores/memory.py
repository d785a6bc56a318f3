"""The reference implementation of the store, in plain Python: one process, no Redis, the same decisions."""

from __future__ import annotations

import copy
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from ratelimit.model import FOREVER, Charge, Decision, Hold, Lease, State
from ratelimit.stores.counting import asked
from ratelimit.stores.counting.counters import Counter, Slots, Usage
from ratelimit.stores.counting.decide import View, decided, new_counter, view
from ratelimit.stores.counting.expiry import Expiry
from ratelimit.stores.counting.holds import Held, Holds, held, known_ms, new_id
from ratelimit.stores.counting.terms import KnownTerms, Terms, new_lease
from ratelimit.stores.counting.window import Window


class MemoryStore:
    """Keeps counters in this process, for one process. `clock` gives milliseconds since 1970; tests move it.

    Safe to use from several threads and event loops. Counters that no longer matter are collected by a clock that
    never goes back, as Redis does it.
    """

    def __init__(self, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._clock = clock
        self._latest = 0  # by that clock: only where it went back is anything counted elsewhere than now
        self._name = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._counters: dict[str, Counter] = {}
        self._holds: dict[str, Holds] = {}  # by counter, and forgotten with it
        self._expiry = Expiry()
        self._terms_at = KnownTerms()

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        with self._lock:
            return self._acquired(charges)

    async def peek(self, charges: Sequence[Charge], units: int = 1) -> Decision:
        asked.countable(charges, units)
        with self._lock:
            now = self._clock()
            views = [self._copied(charge, now, units) for charge in charges]
            decision = decided(views, now, partial(_charge_copy, units), units)
            decision.units = 0
            return decision

    async def charge(self, charges: Sequence[Charge], units: int = 1) -> Decision:
        asked.countable(charges, units)
        with self._lock:
            now = self._now(charges)
            views = [self._view(charge, now) for charge in charges]
            states = tuple([self._counted(view, view[0].cost * units, now) for view in views])
            return Decision(True, now, states, units=units, counted_ms=_counted_ms(views, states, now) if units else ())

    async def refund(self, spent: Decision, units: int | None = None) -> None:
        with self._lock:
            now, times = self._clock(), asked.given_back(spent, units)
            for charge, at_ms in asked.taken(spent):
                terms = self._terms_at(charge, now)
                _give_back(self._counters.get(charge.key), times * charge.cost, at_ms, terms)

    async def hold(self, charges: Sequence[Charge], units: int, lease_ms: int) -> Decision:
        asked.holdable(charges, units, lease_ms)
        with self._lock:
            decision = self._acquired(charges, units)
            hold_id, until_ms = new_id(self._name, lease_ms), decision.now_ms + lease_ms
            for charge, at_ms in asked.taken(decision) if decision.allowed else ():
                one = Held(charge.cost * units, at_ms, lease_ms, until_ms)
                self._holds_of(charge.key, lease_ms).put(hold_id, one)
            return held(decision, hold_id, lease_ms, units)

    async def settle(self, hold: Hold, used: int) -> None:
        charges = asked.settled(hold, used, self._name)
        with self._lock:
            now = self._now(charges)
            for charge in charges:
                found = self._view(charge, now, reap=False)
                one = self._holds_of(charge.key, hold.lease.lease_ms).settle(hold.lease, now)
                if one is not None:
                    _give_back(found[2], one.units - used * charge.cost, one.counted_ms, found[1])
                    self._counted(found, used * charge.cost - one.units, now)

    async def reset(self, keys: Sequence[str]) -> int:
        asked.resettable(keys)
        with self._lock:
            return sum([self._forget(key) for key in keys])

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        with self._lock:
            now = self._clock()
            return [lease for lease in leases if not self._renewed(lease, now)]

    async def release(self, leases: Sequence[Lease]) -> None:
        with self._lock:
            for lease in leases:
                slots = self._counters.get(lease.key)
                if isinstance(slots, Slots):
                    slots.give_back(lease)

    async def close(self) -> None:
        """Nothing to close; the counters stay."""

    def _acquired(self, charges: Sequence[Charge], units: int = 1) -> Decision:
        now = self._now(charges)
        views = [self._view(charge, now, units) for charge in charges]
        decision = decided(views, now, self._charge if units == 1 else partial(self._charge, units=units), units)
        if now < self._latest and decision.allowed:
            decision.counted_ms = _counted_ms(views, decision.states, now)
        return decision

    def _now(self, charges: Sequence[Charge]) -> int:
        for key in self._expiry.due(at_most=len(charges) + 1):
            self._forget(key)
        now = self._clock()
        if now > self._latest:
            self._latest = now
        return now

    def _forget(self, key: str) -> bool:
        self._holds.pop(key, None)
        counter = self._counters.pop(key, None)
        return counter is not None and not (isinstance(counter, Slots) and counter.empty)

    def _renewed(self, lease: Lease, now: int) -> bool:
        if lease.counters is not None:
            there = [key for key in lease.counters if key in self._holds and self._holds[key].renew(lease.id, now)]
            for key in there:
                self._holds_of(key, lease.lease_ms)
            return bool(there) or not lease.counters
        slots = self._counters.setdefault(lease.key, Slots())
        if not isinstance(slots, Slots):
            return False
        self._expiry.keep(lease.key, lease.lease_ms)
        return slots.renew(lease, now)

    def _holds_of(self, key: str, lease_ms: int) -> Holds:
        self._expiry.keep(key, known_ms(lease_ms))
        return self._holds.setdefault(key, Holds())

    def _view(self, charge: Charge, now: int, units: int = 1, *, reap: bool = True) -> View:
        terms = self._terms_at(charge, now)
        counter = self._counters.get(charge.key) or new_counter(charge)
        holds = self._holds.get(charge.key) if charge.limit.hold else None
        if matters_ms := counter.repair(now, terms):
            self._expiry.keep(charge.key, matters_ms)
            if holds:
                holds.lose_count(now)
        if holds and reap:
            for one in holds.ended(now):
                _give_back(counter, one.units, one.counted_ms, terms)
        return view(charge, terms, counter, now, units)

    def _copied(self, charge: Charge, now: int, units: int) -> View:
        """As `_view` finds it, and nothing is changed."""
        terms = self._terms_at(charge, now)
        counter = copy.deepcopy(self._counters.get(charge.key)) or new_counter(charge)
        holds = self._holds.get(charge.key) if charge.limit.hold else None
        if not counter.repair(now, terms) and holds:
            for one in holds.ending(now):
                _give_back(counter, one.units, one.counted_ms, terms)
        return view(charge, terms, counter, now, units)

    def _charge(self, charge: Charge, terms: Terms, counter: Counter, now: int, units: int = 1) -> Lease | None:
        self._counters[charge.key] = counter
        if matters_ms := counter.charge(now, terms, charge.cost * units):
            self._expiry.keep(charge.key, matters_ms)
        if not isinstance(counter, Slots):
            return None
        lease = new_lease(charge.key, terms.lease_ms, terms.max)
        counter.give(lease, now)
        return lease

    def _counted(self, found: View, cost: int, now: int) -> State:
        """Also above the max; a counter holds no more than 2^53 - 1."""
        charge, terms, counter, *_ = found
        used = counter.used(now, terms)
        cost = max(0, min(cost, FOREVER - used))
        if cost:
            self._counters[charge.key] = counter
            if matters_ms := counter.charge(now, terms, cost):
                self._expiry.keep(charge.key, matters_ms)
        reset_after = counter.reset_after(now, terms, used + cost)
        return State(charge, terms.max, used + cost, reset_after, terms.length_ms, shadow=terms.shadow)


def _counted_ms(views: Sequence[View], states: Sequence[State], now: int) -> tuple[int, ...]:
    """Of what was just charged, where that is not now for all of it."""
    counted_ms = tuple(
        [
            counter.counted_at(now, terms)
            if isinstance(counter, Window | Usage) and state.charge.cost and not state.exceeded
            else now
            for (_, terms, counter, *_), state in zip(views, states, strict=True)
        ]
    )
    return () if counted_ms == (now,) * len(views) else counted_ms


def _give_back(counter: Counter | None, units: int, at_ms: int, terms: Terms) -> None:
    if units > 0 and isinstance(counter, Window | Usage):
        counter.give_back(units, at_ms, terms)


def _charge_copy(units: int, charge: Charge, terms: Terms, counter: Counter, now: int) -> None:
    counter.charge(now, terms, charge.cost * units)
