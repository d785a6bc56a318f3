"""The reference implementation of the store, in plain Python: one process, no Redis, the same decisions."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence

from ratelimit.model import Charge, Decision, Lease
from ratelimit.stores.counting.counters import Counter, Slots
from ratelimit.stores.counting.decide import View, decided, new_counter, view
from ratelimit.stores.counting.terms import KnownTerms, Terms, new_lease


class MemoryStore:
    """Keeps counters in this process, for one process. `clock` gives milliseconds since 1970; tests move it.

    Safe to use from several threads and event loops. Counters that no longer matter are collected by a clock that
    never goes back, as Redis does it.
    """

    def __init__(self, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counters: dict[str, Counter] = {}
        self._expiry = _Expiry()
        self._terms_at = KnownTerms()

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        with self._lock:
            now = self._clock()
            for key in self._expiry.due(at_most=len(charges) + 1):
                del self._counters[key]
            return decided([self._view(charge, now) for charge in charges], now, self._charge)

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

    def _renewed(self, lease: Lease, now: int) -> bool:
        slots = self._counters.setdefault(lease.key, Slots())
        if not isinstance(slots, Slots):
            return False
        self._expiry.keep(lease.key, lease.lease_ms)
        return slots.renew(lease, now)

    def _view(self, charge: Charge, now: int) -> View:
        terms = self._terms_at(charge, now)
        counter = self._counters.get(charge.key) or new_counter(charge)
        if matters_ms := counter.repair(now, terms):
            self._expiry.keep(charge.key, matters_ms)
        return view(charge, terms, counter, now)

    def _charge(self, charge: Charge, terms: Terms, counter: Counter, now: int) -> Lease | None:
        self._counters[charge.key] = counter
        if matters_ms := counter.charge(now, terms, charge.cost):
            self._expiry.keep(charge.key, matters_ms)
        if not isinstance(counter, Slots):
            return None
        lease = new_lease(charge.key, terms.lease_ms, terms.max)
        counter.give(lease, now)
        return lease


class _Expiry:
    """When a counter can be forgotten, by a clock that never goes back. It only collects garbage."""

    def __init__(self) -> None:
        self._until: dict[str, int] = {}
        self._queue: list[tuple[int, str]] = []  # one entry a key, at its expiry or earlier

    def keep(self, key: str, matters_ms: int) -> None:
        """Not before `matters_ms` and a second more."""
        until = time.monotonic_ns() // 1_000_000 + matters_ms + 1_000
        if key not in self._until:
            heapq.heappush(self._queue, (until, key))
        self._until[key] = max(until, self._until.get(key, 0))

    def due(self, at_most: int) -> list[str]:
        """Keys to forget: more than a request can add, so that they never pile up, and never a pause."""
        now = time.monotonic_ns() // 1_000_000
        due: list[str] = []
        for _ in range(at_most):
            if not self._queue or self._queue[0][0] > now:
                break
            key = self._queue[0][1]
            if self._until[key] > now:
                heapq.heapreplace(self._queue, (self._until[key], key))
            else:
                heapq.heappop(self._queue)
                del self._until[key]
                due.append(key)
        return due
