"""What the memory store keeps of a quota and of a concurrency cap of one caller; a rate is in `window.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ratelimit.model import Lease
from ratelimit.stores.counting.terms import Terms

SLOT_WAIT_MS = 1_000  # a slot can free at any time: a second is the shortest wait that Retry-After can say


class Counter(Protocol):
    """One limit of one caller."""

    def used(self, now_ms: int, terms: Terms) -> int:
        """Units that count at `now_ms`."""

    def repair(self, now_ms: int, terms: Terms) -> int:
        """Make sense of a state from a clock far ahead. Returns for how long (ms) that matters, 0: all is well."""

    def charge(self, now_ms: int, terms: Terms, cost: int) -> int:
        """Count units. Returns for how long (ms) they matter, 0 where an earlier charge said so already."""

    def reset_after(self, now_ms: int, terms: Terms, used: int) -> int:
        """Until all of what is used is free if nothing more is charged."""

    def free_at(self, now_ms: int, terms: Terms, room: int) -> int:
        """The instant from which at most `room` units count if nothing more is charged."""


@dataclass(slots=True)
class Usage:
    """Of a quota.

    What was last charged before the current period began belongs to an earlier one. A period whose edges were edited
    keeps its count, and at the end that the caller was told it starts at 0.
    """

    total: int = 0
    charged_at: int = -1
    kept_until: int = 0

    def used(self, _: int, terms: Terms) -> int:
        return self.total if self.charged_at >= terms.start else 0

    def repair(self, now_ms: int, terms: Terms) -> int:
        """Charged more than a period ahead, it would count in every period until then: it is this one's."""
        if self.charged_at < terms.end + terms.length_ms:
            return 0
        self.charged_at, self.kept_until = now_ms, terms.end
        return terms.end - now_ms

    def charge(self, now_ms: int, terms: Terms, cost: int) -> int:
        self.total = self.used(now_ms, terms) + cost
        self.charged_at = max(self.charged_at, now_ms)
        if terms.end <= self.kept_until:
            return 0
        self.kept_until = terms.end
        return terms.end - now_ms

    def reset_after(self, now_ms: int, terms: Terms, _: int) -> int:
        return terms.end - now_ms

    def free_at(self, now_ms: int, terms: Terms, room: int) -> int:
        return now_ms if self.used(now_ms, terms) <= room else terms.end


@dataclass(slots=True)
class Slots:
    """Of a concurrency cap: the expiry of each lease by its id, which ends with the length of the lease."""

    leases: dict[str, int] = field(default_factory=dict)

    def used(self, now_ms: int, _: Terms) -> int:
        return sum(1 for expiry in self.leases.values() if expiry > now_ms)

    def repair(self, now_ms: int, terms: Terms) -> int:
        """After the clock went back, a full cap would stay full until it caught up: cut such leases to one from now."""
        if self.used(now_ms, terms) < terms.max:
            return 0
        longest = 0
        for lease_id, expiry in self.leases.items():
            own = int(lease_id.partition("/")[2])
            if expiry > now_ms + 2 * max(own, terms.lease_ms):
                self.leases[lease_id] = now_ms + own
                longest = max(longest, own)
        return longest

    def charge(self, now_ms: int, terms: Terms, _: int) -> int:
        """Drop what has expired. The lease itself is added by the store, which makes its id."""
        self._drop_expired(now_ms)
        return terms.lease_ms

    def renew(self, lease: Lease, now_ms: int) -> bool:
        """Prolong a lease, or take it again. An expired one that is still there was given to nobody else."""
        room = True
        if lease.id not in self.leases:
            self._drop_expired(now_ms)
            room = len(self.leases) < lease.max
        self.leases[lease.id] = now_ms + lease.lease_ms
        return room

    def _drop_expired(self, now_ms: int) -> None:
        self.leases = {lease_id: expiry for lease_id, expiry in self.leases.items() if expiry > now_ms}

    def reset_after(self, _: int, terms: Terms, used: int) -> int:
        """One lease is the longest that a slot stays taken unless its request still runs."""
        return terms.lease_ms if used else 0

    def free_at(self, now_ms: int, terms: Terms, room: int) -> int:
        return now_ms if self.used(now_ms, terms) <= room else now_ms + SLOT_WAIT_MS
