"""`on_failure = "local"`: this process enforces the limits itself while the store is out of reach.

It starts from the last state that it saw of each caller, counts as the memory store does, and keeps account of what it
admits, which is owed to the store. Every event loop does so by itself: each admits at most `max`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from ratelimit.ground.loops import PerLoop, running
from ratelimit.model import Charge, Concurrency, Decision, Lease, State, StoreUnavailable
from ratelimit.stores.counting.counters import Counter
from ratelimit.stores.counting.decide import decided, new_counter, view
from ratelimit.stores.counting.terms import Item, KnownTerms, Place, Terms, new_lease
from ratelimit.stores.fallback.doubt import InDoubt
from ratelimit.stores.fallback.journal import Journal
from ratelimit.stores.fallback.slots import KnownSlots, LocalSlots

MOST = 10_000  # counters of 0.4 kB, of 1.5 kB where all of 60 sub-windows are in use: 15 MB an event loop


class _Known:
    """A counter, and when that was seen from which it goes on: only what was seen later is news. `settled` are units
    that the store was charged meanwhile, last at `settled_ms`: what was seen before that does not have them."""

    __slots__ = ("counter", "seen_ms", "settled", "settled_ms")

    def __init__(self, counter: Counter, seen_ms: int) -> None:
        self.counter = counter
        self.seen_ms = seen_ms
        self.settled = self.settled_ms = 0


class LocalLimiter:
    """Of one event loop. `clock` gives what the store's clock presumably says where a key is, `seen` the last Decision
    of the store on charges, `slot_of` the slot of a key. With `owes` somebody settles what is admitted. Of `most`
    counters the one asked for the longest time ago is dropped first."""

    def __init__(
        self,
        clock: Callable[[str], int],
        seen: Callable[[Sequence[Charge]], Decision | None] = lambda _: None,
        slot_of: Callable[[str], int] = lambda _: 0,
        *,
        owes: bool = True,
        most: int = MOST,
    ) -> None:
        self._owes = owes
        self._clock = clock
        self._seen = seen
        self._most = most
        self._known: dict[str, _Known] = {}  # by key, the one asked for the longest time ago first
        self._terms_at = KnownTerms()
        self.held = KnownSlots()
        self.journal = Journal(slot_of)
        self.on_owed: Callable[[], None] = _nothing  # there is something to settle

    def decide(self, charges: Sequence[Charge], failure: StoreUnavailable, units: int = 1) -> Decision:
        """What the store would have decided as far as this process can know; `units` times the cost of each charge.
        `failure` is how the store failed."""
        now = self._clock(charges[0].key if charges else "")
        seen = self._seen(charges)
        states: Sequence[State | None] = seen.states if seen else [None] * len(charges)
        views = []
        for charge, state in zip(charges, states, strict=True):
            terms = self._terms_at(charge, now)
            counter = self._counter(charge, terms, state, seen.now_ms if seen else 0, now)
            counter.repair(now, terms)
            views.append(view(charge, terms, counter, now, units))
        admitted: list[Item] = []
        decision = decided(views, now, partial(self._charge, admitted, units), units, unavailable=True)
        doubt = failure.doubt if isinstance(failure, InDoubt) else None
        if not self._owes:
            return decision
        for item in admitted:
            self.journal.expect(item)
        if doubt is None:
            self._owe(admitted, 0)
        elif decision.allowed:
            doubt.then(partial(self._owe, admitted))
        else:
            doubt.then(partial(self._give_back, charges, doubt.number))
        return decision

    async def release(self, leases: Sequence[Lease]) -> None:
        """Of requests that were admitted here: the store never heard of them."""
        self.held.give_back(leases)

    def settled(self, item: Item) -> None:
        """The store has charged it."""
        self.journal.forget(item)
        if known := self._known.get(item.key):
            known.settled += item.units
            known.settled_ms = self._clock(item.key)

    def give_back(self, charges: Sequence[Charge], times: int, charged_at: int, number: bytes) -> None:
        """The call of a number has charged this so often, at that instant, for requests that were not let through."""
        for charge in charges:
            if charge.cost and not isinstance(charge.limit.kind, Concurrency):  # leases are given back anyway
                place = Place.at(self._terms_at(charge, charged_at), charged_at)
                self.journal.give_back(Item(charge.key, place, -times * charge.cost), number)
        self.on_owed()

    def _counter(self, charge: Charge, terms: Terms, state: State | None, seen_ms: int, now: int) -> Counter:
        key = charge.key
        known = self._known.pop(key, None)
        if known is None or (state and seen_ms > known.seen_ms):
            before, known = known, _Known(self._seeded(charge, terms, state, seen_ms, now), seen_ms)
            if before and seen_ms < before.settled_ms:
                known.settled, known.settled_ms = before.settled, before.settled_ms
                known.counter.charge(now, terms, max(0, known.settled))
        self._known[key] = known
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return known.counter

    def _seeded(self, charge: Charge, terms: Terms, state: State | None, seen_ms: int, now: int) -> Counter:
        """A counter with what was seen used, as of when it was seen, and with what the store does not know of yet."""
        if isinstance(charge.limit.kind, Concurrency):
            return LocalSlots(charge.key, self.held)
        counter = new_counter(charge)
        owed = self.journal.open(charge.key)
        if used := max(0, (state.used if state else 0) + min(0, owed)):
            counter.charge(seen_ms, terms, used)
        if owed > 0:  # perhaps admitted after that was seen
            counter.charge(now, terms, owed)
        return counter

    def _charge(
        self, admitted: list[Item], units: int, charge: Charge, terms: Terms, counter: Counter, now: int
    ) -> Lease | None:
        counter.charge(now, terms, charge.cost * units)
        if isinstance(counter, LocalSlots):
            lease = new_lease(charge.key, terms.lease_ms, terms.max)
            self.held.give(lease)
            return lease
        admitted.append(Item(charge.key, Place.at(terms, now), charge.cost * units))
        return None

    def _owe(self, admitted: Sequence[Item], charged_at: int) -> None:
        for item in admitted:
            if charged_at:
                self.settled(item)
            else:
                self.journal.owe(item)
        if admitted and not charged_at:
            self.on_owed()

    def _give_back(self, charges: Sequence[Charge], number: bytes, charged_at: int) -> None:
        if charged_at > 0:
            self.give_back(charges, 1, charged_at, number)


class Accountable(Protocol):
    """A store that can be charged later for what was admitted without it."""

    def keep_account(self) -> None:
        """Before the first request."""

    def local(self) -> LocalLimiter:
        """Of the running event loop."""


def local_of(store: object) -> Callable[[], LocalLimiter]:
    """What decides without a store, on the event loop that asks. Where the store is not Accountable, each loop starts
    from nothing, and nothing is charged later."""
    if hasattr(store, "keep_account") and hasattr(store, "local"):
        accountable: Accountable = store
        accountable.keep_account()
        return accountable.local
    locals_: PerLoop[LocalLimiter] = PerLoop(lambda: LocalLimiter(lambda _: time.time_ns() // 1_000_000, owes=False))
    return lambda: locals_[running()]


def _nothing() -> None:
    """Nobody settles."""
