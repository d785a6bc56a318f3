"""All that a memory store keeps: counters of rates and quotas, slots of concurrency caps, units that are held."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from ratelimit.model import Charge, Concurrency, Lease
from ratelimit.stores.counting.counters import Counter, Slots, Usage
from ratelimit.stores.counting.decide import new_counter
from ratelimit.stores.counting.holds import Holds, known_ms
from ratelimit.stores.counting.terms import Terms, new_lease
from ratelimit.stores.counting.window import Window
from ratelimit.stores.records.shards import LOOKED_AT, Shards, Walk
from ratelimit.stores.records.table import GRACE_MS, CounterTable


class Kept:
    """What no longer matters is dropped by a clock that never goes back, and only garbage is collected by it."""

    def __init__(self, max_callers: int) -> None:
        self.holds: Shards[Holds] = Shards()  # by counter, and pushed out with it: a settle then charges what was used
        self.slots: Shards[Slots] = Shards()  # while one is held
        self.counters = CounterTable(max_callers, self.holds.pop)
        others = partial(_forget_some, Walk(self.slots)), partial(_forget_some, Walk(self.holds))
        self._steps = self.counters.callers.forget_some, *others
        self._done = 0  # of these, in this round

    def counter(self, charge: Charge) -> Counter:
        """As it is kept, or new. What is changed in it is to be kept again."""
        slots = isinstance(charge.limit.kind, Concurrency)
        found: Counter | None = self.slots.get(charge.key) if slots else self.counters.load(charge)
        return found or new_counter(charge)

    def keep(self, key: str, counter: Counter, matters_ms: int) -> None:
        """For so long and a second more."""
        if isinstance(counter, Slots):
            counter.until_ms = max(counter.until_ms, _passed_ms() + matters_ms + GRACE_MS)
            self.slots.of(key)[key] = counter
        else:
            assert isinstance(counter, Window | Usage)  # noqa: S101 - there is no other kind
            self.counters.save(key, counter, matters_ms, _passed_ms())

    def has_slot(self, key: str, terms: Terms, now_ms: int) -> bool:
        slots = self.slots.get(key)
        return (slots.used(now_ms, terms) if slots else 0) < terms.max

    def take_slot(self, key: str, terms: Terms, now_ms: int) -> Lease:
        slots = self.slots.get(key) or Slots()
        self.keep(key, slots, slots.charge(now_ms, terms, 1))
        lease = new_lease(key, terms.lease_ms, terms.max)
        slots.give(lease, now_ms)
        return lease

    def taken(self, key: str) -> int:
        """Slots of a cap that were taken when it was last looked at."""
        slots = self.slots.get(key)
        return len(slots.leases) if slots else 0

    def give_back(self, charge: Charge, terms: Terms, units: int, at_ms: int, counter: Counter | None = None) -> None:
        """Units that were counted at an instant, to the caller's own counter or to one that was taken out."""
        counter = counter or self.counters.load(charge, own=True)  # what others are counted in is not this caller's
        if counter and give_back(counter, units, at_ms, terms):
            self.keep(charge.key, counter, 0)

    def seen(self, charges: Sequence[Charge]) -> None:
        """Somebody asks for these."""
        self.counters.seen(charges, _passed_ms())

    def holds_for(self, key: str, lease_ms: int, lasts_ms: int = 0) -> Holds:
        """Of a counter; they are known for as long as a settle of one with such a lease can come again, and as its
        units count: nobody may ask for days, and then they go back."""
        holds = self.holds.of(key).setdefault(key, Holds())
        holds.until_ms = max(holds.until_ms, _passed_ms() + max(known_ms(lease_ms), lasts_ms) + GRACE_MS)
        return holds

    def renew(self, lease: Lease, now_ms: int) -> bool:
        if lease.counters is None:
            return self._renew_slot(lease, now_ms)
        holds = [(key, self.holds.get(key)) for key in lease.counters]
        there = [key for key, of_key in holds if of_key is not None and of_key.renew(lease.id, now_ms)]
        for key in there:
            self.holds_for(key, lease.lease_ms)
        return bool(there) or not lease.counters

    def release(self, lease: Lease) -> None:
        slots = self.slots.get(lease.key)
        if slots is not None:
            slots.give_back(lease)
            if slots.empty:
                self.slots.pop(lease.key)

    def forget(self, key: str) -> bool:
        """Whether something was counted."""
        self.holds.pop(key)
        slots = self.slots.pop(key)
        return self.counters.forget(key) or not (slots is None or slots.empty)

    def forget_some(self) -> bool | None:
        """Look at some of what there is, and drop what no longer matters. True where all was looked at by now, None
        where nothing is left."""
        now = _passed_ms()
        for number, step in enumerate(self._steps[self._done :]):
            if not step(now):
                self._done += number
                return False
        self._done = 0
        return True if self.counters.callers.count or len(self.slots) or len(self.holds) else None

    def _renew_slot(self, lease: Lease, now_ms: int) -> bool:
        if self.counters.place(lease.key):  # no slots are counted under it
            return False
        slots = self.slots.get(lease.key) or Slots()
        self.keep(lease.key, slots, lease.lease_ms)
        return slots.renew(lease, now_ms)


def give_back(counter: Counter, units: int, at_ms: int, terms: Terms) -> bool:
    """Whether it is a counter of units, and there are some."""
    if units <= 0 or not isinstance(counter, Window | Usage):
        return False
    counter.give_back(units, at_ms, terms)
    return True


def _forget_some(walk: Walk[Slots] | Walk[Holds], now_ms: int) -> bool:
    for part in walk.some(LOOKED_AT):
        for key in [key for key, one in part.items() if one.until_ms <= now_ms]:
            del part[key]
    return walk.ended()


def _passed_ms() -> int:
    return time.monotonic_ns() // 1_000_000
