"""What the memory store keeps of a quota and of a concurrency cap of one caller; a rate is in `window.py`.

All three have the same methods: used, repair, charge, reset_after, retry_after.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ratelimit.stores.terms import Terms

SLOT_WAIT_MS = 1_000  # a slot can free at any time: a second is the shortest wait that Retry-After can say


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
        return self.total if self.charged_at >= terms.first else 0

    def repair(self, now_ms: int, terms: Terms) -> int:
        return 0

    def charge(self, now_ms: int, terms: Terms, cost: int) -> int:
        self.total = self.used(now_ms, terms) + cost
        self.charged_at = max(self.charged_at, now_ms)
        if terms.second <= self.kept_until:
            return 0
        self.kept_until = terms.second
        return terms.second - now_ms

    def reset_after(self, now_ms: int, terms: Terms) -> int:
        return terms.second - now_ms

    def retry_after(self, now_ms: int, terms: Terms, _: int) -> int:
        return terms.second - now_ms


@dataclass(slots=True)
class Slots:
    """Of a concurrency cap: the expiry of each lease by its id."""

    leases: dict[str, int] = field(default_factory=dict)

    def used(self, now_ms: int, _: Terms) -> int:
        return sum(1 for expiry in self.leases.values() if expiry > now_ms)

    def repair(self, now_ms: int, terms: Terms) -> int:
        """After the clock went back, a full cap would stay full until it caught up: cut such leases to one from now."""
        if self.used(now_ms, terms) < terms.max:
            return 0
        ahead = [i for i, expiry in self.leases.items() if expiry > now_ms + 2 * terms.first]
        for lease_id in ahead:
            self.leases[lease_id] = now_ms + terms.first
        return terms.first if ahead else 0

    def charge(self, now_ms: int, terms: Terms, _: int) -> int:
        """Drop what has expired. The lease itself is added by the store, which makes its id."""
        self.leases = {lease_id: expiry for lease_id, expiry in self.leases.items() if expiry > now_ms}
        return terms.first

    def reset_after(self, now_ms: int, terms: Terms) -> int:
        """One lease is the longest that a slot stays taken unless its request still runs."""
        return terms.first if self.used(now_ms, terms) else 0

    def retry_after(self, *_: object) -> int:
        return SLOT_WAIT_MS
