"""Concurrency slots as this process knows them: its own, and how many it saw others have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ratelimit.ground.memo import Recent
from ratelimit.model import Concurrency, Decision, Lease
from ratelimit.stores.counting.counters import SLOT_WAIT_MS
from ratelimit.stores.counting.terms import Terms


class KnownSlots:
    """Of one event loop."""

    def __init__(self) -> None:
        self._own: dict[str, set[str]] = {}  # lease ids by counter, given by the store
        self._given: dict[str, set[str]] = {}  # the same, given here: the store does not count them
        self._others: Recent[str, tuple[int, int]] = Recent()  # how many, and when that was

    def saw(self, decision: Decision) -> None:
        """A decision of the store that somebody has got."""
        for lease in decision.leases:
            self._own.setdefault(lease.key, set()).add(lease.id)
        for state in decision.states:
            if isinstance(state.limit.kind, Concurrency):
                key = state.charge.key
                self._others.put(key, (state.used - len(self._own.get(key, ())), decision.now_ms))

    def give(self, lease: Lease) -> None:
        self._given.setdefault(lease.key, set()).add(lease.id)

    def give_back(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            for ids_of in (self._own, self._given):
                if ids := ids_of.get(lease.key):
                    ids.discard(lease.id)
                    if not ids:
                        del ids_of[lease.key]

    def used(self, key: str, now_ms: int, lease_ms: int) -> int:
        """Of others no longer than a lease after they were seen: by then they have ended, or were renewed unseen."""
        others, seen_ms = self._others.get(key) or (0, 0)
        own = len(self._own.get(key, ())) + len(self._given.get(key, ()))
        return own + (max(0, others) if now_ms < seen_ms + lease_ms else 0)


@dataclass(slots=True)
class LocalSlots:
    """The Counter of a concurrency cap: own leases end when their requests do, for this process knows when."""

    key: str
    held: KnownSlots

    def used(self, now_ms: int, terms: Terms) -> int:
        return self.held.used(self.key, now_ms, terms.lease_ms)

    def repair(self, now_ms: int, terms: Terms) -> int:
        return 0

    def charge(self, now_ms: int, terms: Terms, cost: int) -> int:
        return 0

    def reset_after(self, now_ms: int, terms: Terms, used: int) -> int:
        return terms.lease_ms if used else 0

    def free_at(self, now_ms: int, terms: Terms, room: int) -> int:
        return now_ms if self.used(now_ms, terms) <= room else now_ms + SLOT_WAIT_MS
