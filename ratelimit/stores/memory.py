"""The reference implementation of the store, in plain Python: one process, no Redis, the same decisions."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import time_ns

from ratelimit.checks import made
from ratelimit.checks.values import MAX_CALLERS
from ratelimit.model import FOREVER, Charge, Decision, Hold, Lease, State
from ratelimit.stores.counting import asked
from ratelimit.stores.counting.counters import Counter, Slots, Usage
from ratelimit.stores.counting.decide import View, decided, view
from ratelimit.stores.counting.holds import Held, held, new_id
from ratelimit.stores.counting.terms import KnownTerms, Terms
from ratelimit.stores.counting.window import Window
from ratelimit.stores.records.forgetting import Forgetting
from ratelimit.stores.records.kept import Kept, give_back
from ratelimit.stores.records.prepared import PreparedCharges


class MemoryStore:
    """Keeps counters in this process, for one process. `clock` gives milliseconds since 1970; tests move it.

    Safe to use from several threads and event loops. Counters that no longer matter are dropped by a clock that never
    goes back, as Redis does it, also while nobody asks. Of more than `max_callers` the anonymous one that was unseen
    the longest is dropped; known ones are not, see `beyond_max`. ValueError for a bound that is none.
    """

    at_once = True

    def __init__(self, clock: Callable[[], int] | None = None, *, max_callers: int = MAX_CALLERS) -> None:
        made.store_bound("MemoryStore", max_callers)
        self._moved = clock
        self._latest = 0  # by that clock: only where it went back is anything counted elsewhere than now
        self._name = secrets.token_hex(4)
        self._lock = threading.Lock()
        self.max_callers = max_callers
        self._kept = Kept(max_callers)
        self._terms_at = KnownTerms()
        self._prepared = PreparedCharges(self._kept, self._terms_at)
        self._forgetting = Forgetting(self._forget_some)

    @property
    def beyond_max(self) -> Mapping[str, int]:
        """What was done so far as there were more callers than `max_callers`: anonymous callers "dropped", their
        requests that were counted together ("shared"), and known callers that came "above" it."""
        return self._kept.counters.callers.beyond

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        with self._lock:
            now = self._moved() if self._moved else time_ns() // 1_000_000  # as `_clock`, without a call
            known = self._prepared.recent.young.get(id(charges))
            if known is not None and known.since_ms <= now < known.until_ms and known.charges is charges:
                decision = known.decide(now)
                if decision is not None:
                    return decision
            return self._acquired(charges, now)

    async def peek(self, charges: Sequence[Charge], units: int = 1) -> Decision:
        asked.readable(charges, units)
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
                self._kept.give_back(charge, self._terms_at(charge, now), times * charge.cost, at_ms)

    async def hold(self, charges: Sequence[Charge], units: int, lease_ms: int) -> Decision:
        asked.holdable(charges, units, lease_ms)
        with self._lock:
            decision = self._decided(charges, self._now(charges), units)
            hold_id, until_ms = new_id(self._name, lease_ms), decision.now_ms + lease_ms
            lasts_ms = max([state.reset_after_ms for state in decision.states], default=0)
            for charge, at_ms in asked.taken(decision) if decision.allowed else ():
                one = Held(charge.cost * units, at_ms, lease_ms, until_ms)
                self._kept.holds_for(charge.key, lease_ms, lasts_ms).put(hold_id, one)
            return held(decision, hold_id, lease_ms, units)

    async def settle(self, hold: Hold, used: int) -> None:
        charges = asked.settled(hold, used, self._name)
        with self._lock:
            now = self._now(charges)
            for charge in charges:
                _, terms, counter, *_ = found = self._view(charge, now, reap=False)
                one = self._kept.holds_for(charge.key, hold.lease.lease_ms).settle(hold.lease, now)
                if one is not None:
                    self._kept.give_back(charge, terms, one.units - used * charge.cost, one.counted_ms, counter)
                    self._counted(found, used * charge.cost - one.units, now)

    async def reset(self, keys: Sequence[str]) -> int:
        asked.resettable(keys)
        with self._lock:
            return sum([self._kept.forget(key) for key in keys])

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        with self._lock:
            now = self._clock()
            return [lease for lease in leases if not self._kept.renew(lease, now)]

    async def release(self, leases: Sequence[Lease]) -> None:
        with self._lock:
            for lease in leases:
                self._kept.release(lease)

    async def close(self) -> None:
        """Nothing to close; the counters stay."""

    def _clock(self) -> int:
        return self._moved() if self._moved else time_ns() // 1_000_000

    def _acquired(self, charges: Sequence[Charge], now: int) -> Decision:
        """With a look at each counter. Who comes again soon is prepared for."""
        self._now(charges, now)
        known = self._prepared.of(charges, now)
        if known is None or now < self._latest:
            return self._decided(charges, now, 1)
        decision = known.advance(now)
        if decision is not None:
            known.asked_ms = now
            return decision
        looked = self._decided(charges, now, 1)
        self._prepared.decided(known, looked)
        return looked

    def _forget_some(self) -> bool | None:
        with self._lock:
            return self._kept.forget_some()

    def _decided(self, charges: Sequence[Charge], now: int, units: int) -> Decision:
        views = [self._view(charge, now, units) for charge in charges]
        decision = decided(views, now, partial(self._charge, units=units), units)
        if now < self._latest and decision.allowed:
            decision.counted_ms = _counted_ms(views, decision.states, now)
        return decision

    def _now(self, charges: Sequence[Charge], now: int | None = None) -> int:
        self._forgetting.wake(self._kept.forget_some)
        self._kept.seen(charges)
        now = self._clock() if now is None else now
        self._latest = max(self._latest, now)
        return now

    def _view(self, charge: Charge, now: int, units: int = 1, *, reap: bool = True) -> View:
        terms = self._terms_at(charge, now)
        counter = self._kept.counter(charge)
        holds = self._kept.holds.get(charge.key) if charge.limit.hold else None
        if matters_ms := counter.repair(now, terms):
            self._kept.keep(charge.key, counter, matters_ms)
            if holds:
                holds.lose_count(now)
        if holds and reap:
            for one in holds.ended(now):
                self._kept.give_back(charge, terms, one.units, one.counted_ms, counter)
        return view(charge, terms, counter, now, units)

    def _copied(self, charge: Charge, now: int, units: int) -> View:
        """As `_view` finds it, and nothing is changed."""
        terms = self._terms_at(charge, now)
        counter = self._kept.counter(charge)
        holds = self._kept.holds.get(charge.key) if charge.limit.hold else None
        if not counter.repair(now, terms) and holds:
            for one in holds.ending(now):
                give_back(counter, one.units, one.counted_ms, terms)
        return view(charge, terms, counter, now, units)

    def _charge(self, charge: Charge, terms: Terms, counter: Counter, now: int, units: int = 1) -> Lease | None:
        if isinstance(counter, Slots):
            return self._kept.take_slot(charge.key, terms, now)
        self._kept.keep(charge.key, counter, counter.charge(now, terms, charge.cost * units))
        return None

    def _counted(self, found: View, cost: int, now: int) -> State:
        """Also above the max; a counter holds no more than 2^53 - 1."""
        charge, terms, counter, *_ = found
        used = counter.used(now, terms)
        cost = max(0, min(cost, FOREVER - used))
        if cost:
            self._kept.keep(charge.key, counter, counter.charge(now, terms, cost))
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


def _charge_copy(units: int, charge: Charge, terms: Terms, counter: Counter, now: int) -> None:
    counter.charge(now, terms, charge.cost * units)
