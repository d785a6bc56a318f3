"""What the memory store keeps of a quota and of a concurrency cap of one caller; a rate is in `window.py`."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Protocol

from ratelimit.model import Lease
from ratelimit.stores.counting.terms import Terms

SLOT_WAIT_MS = 1_000  # a slot can free at any time: a second is the shortest wait that Retry-After can say
SPARE = 64  # entries of leases that were given back, besides as many as count, before a queue is made anew


class Counter(Protocol):
    """One limit of one caller."""

    def used(self, now_ms: int, terms: Terms) -> int:
        """Units that count at `now_ms`."""

    def repair(self, now_ms: int, terms: Terms) -> int:
        """Make sense of a state from a clock far ahead. Returns for how long (ms) that matters, 0: all is well."""

    def charge(self, now_ms: int, terms: Terms, cost: int) -> int:
        """Count units. Returns for how long (ms) they matter, 0 where an earlier charge surely said so already."""

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
    place: object = field(default=None, compare=False, repr=False)  # of it, for who keeps it

    def used(self, _: int, terms: Terms) -> int:
        return self.total if self.charged_at >= terms.start else 0

    def repair(self, now_ms: int, terms: Terms) -> int:
        """Charged more than a period ahead, it would count in every period until then: it is this one's."""
        if self.charged_at < terms.end + terms.length_ms:
            return 0
        self.charged_at = now_ms
        return terms.end - now_ms

    def charge(self, now_ms: int, terms: Terms, cost: int) -> int:
        self.total = self.used(now_ms, terms) + cost
        self.charged_at = max(self.charged_at, now_ms)
        return terms.end - now_ms

    def counted_at(self, now_ms: int, terms: Terms) -> int:
        """An instant in the period of what was just charged: now, if the clock did not go back over its end."""
        return self.charged_at if self.charged_at >= terms.end else now_ms

    def give_back(self, units: int, at_ms: int, terms: Terms) -> None:
        """What was charged at an instant: if no period has begun since, and never more than is there."""
        if terms.start <= at_ms <= self.charged_at and not at_ms < terms.end <= self.charged_at:
            self.total -= min(units, self.total)

    def reset_after(self, now_ms: int, terms: Terms, _: int) -> int:
        return terms.end - now_ms

    def free_at(self, now_ms: int, terms: Terms, room: int) -> int:
        return now_ms if self.used(now_ms, terms) <= room else terms.end


class Slots:
    """Of a concurrency cap: the expiry of each lease by its id, which ends with the length of the lease.

    What it costs does not grow with what is held. Leases move between those that count and those that have ended as the
    clock goes, in the order in which they end; what was released is left in the queue until that is mostly such.
    """

    __slots__ = ("_ended", "_latest", "_queue", "leases", "until_ms")

    def __init__(self) -> None:
        self.until_ms = 0  # by the clock of who forgets it
        self.leases: dict[str, int] = {}  # those that count at the instant that was last looked at
        self._ended: dict[str, int] = {}  # the last to end last: they count again where the clock goes back
        self._queue: list[tuple[int, str]] = []  # a heap with an entry for each that counts, and others
        self._latest: dict[int, int] = {}  # by length of a lease, an instant at which all of these have ended

    @property
    def empty(self) -> bool:
        """Nothing is held, and nothing that has ended can come back."""
        return not (self.leases or self._ended)

    def used(self, now_ms: int, _: Terms) -> int:
        self._look(now_ms)
        return len(self.leases)

    def repair(self, now_ms: int, terms: Terms) -> int:
        """After the clock went back, a full cap would stay full until it caught up: cut such leases to one from now."""
        if self.used(now_ms, terms) < terms.max:
            return 0
        if not any(latest > _too_late(now_ms, own, terms) for own, latest in self._latest.items()):
            return 0
        longest, held = 0, self.leases
        self.leases, self._queue, self._latest = {}, [], {}
        for lease_id, expiry in held.items():
            own = length_of(lease_id)
            if expiry > _too_late(now_ms, own, terms):
                own = own or terms.lease_ms
                longest = max(longest, own)
                self._put(lease_id, now_ms + own)
            else:
                self._put(lease_id, expiry)
        return longest

    def charge(self, now_ms: int, terms: Terms, _: int) -> int:
        """Drop what has expired. The lease itself is added by the store, which makes its id."""
        self._look(now_ms)
        self._ended.clear()
        return terms.lease_ms

    def give(self, lease: Lease, now_ms: int) -> None:
        self._look(now_ms)
        self._ended.pop(lease.id, None)
        self._put(lease.id, now_ms + lease.lease_ms)

    def give_back(self, lease: Lease) -> None:
        self.leases.pop(lease.id, None)
        self._ended.pop(lease.id, None)

    def renew(self, lease: Lease, now_ms: int) -> bool:
        """Prolong a lease, or take it again. An expired one that is still there was given to nobody else."""
        self._look(now_ms)
        room = True
        if lease.id not in self.leases and lease.id not in self._ended:
            self._ended.clear()
            room = len(self.leases) < lease.max
        self.give(lease, now_ms)
        return room

    def _look(self, now_ms: int) -> None:
        while self._queue and self._queue[0][0] <= now_ms:
            expiry, lease_id = heapq.heappop(self._queue)
            if self.leases.get(lease_id) == expiry:
                self._ended[lease_id] = self.leases.pop(lease_id)
        while self._ended:
            lease_id, expiry = self._ended.popitem()
            if expiry <= now_ms:
                self._ended[lease_id] = expiry
                break
            self._put(lease_id, expiry)

    def _put(self, lease_id: str, expiry: int) -> None:
        own = length_of(lease_id)
        self.leases[lease_id] = expiry
        self._latest[own] = max(expiry, self._latest.get(own, 0))
        heapq.heappush(self._queue, (expiry, lease_id))
        if len(self._queue) > 2 * len(self.leases) + SPARE:
            self._queue = [(expiry, lease_id) for lease_id, expiry in self.leases.items()]
            heapq.heapify(self._queue)

    def reset_after(self, _: int, terms: Terms, used: int) -> int:
        """One lease is the longest that a slot stays taken unless its request still runs."""
        return terms.lease_ms if used else 0

    def free_at(self, now_ms: int, terms: Terms, room: int) -> int:
        return now_ms if self.used(now_ms, terms) <= room else now_ms + SLOT_WAIT_MS


def length_of(lease_id: str) -> int:
    """0 for one that does not say it."""
    own = lease_id.partition("/")[2]
    return int(own) if own.isdecimal() and own.isascii() else 0


def _too_late(now_ms: int, own: int, terms: Terms) -> int:
    """No lease of this length ends after that, unless the clock went back."""
    return now_ms + 2 * max(own, terms.lease_ms)
