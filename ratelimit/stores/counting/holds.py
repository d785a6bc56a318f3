"""Units that are held under one counter, until they are settled or their lease ends."""

from __future__ import annotations

import copy
import heapq
import secrets
from typing import NamedTuple

from ratelimit.model import FOREVER, Decision, Hold, Lease
from ratelimit.stores.counting.asked import taken

HOUR_MS = 3_600_000


def known_ms(lease_ms: int) -> int:
    """For how long it is known that a hold was settled: a settle whose reply was lost may come again after three leases
    without the store, and late. lua/lib/holds.lua has it too."""
    return 4 * lease_ms + HOUR_MS


class Held(NamedTuple):
    units: int
    counted_ms: int  # the instant in whose sub-window or period they were counted; -1: nobody knows any more
    lease_ms: int
    until_ms: int


GONE = Held(0, -1, 0, 0)


class Holds:
    """By the id of their lease. What it costs does not grow with what is held."""

    __slots__ = ("_held", "_queue", "_settled", "until_ms")

    def __init__(self) -> None:
        self.until_ms = 0  # by the clock of who forgets it
        self._held: dict[str, Held] = {}
        self._queue: list[tuple[int, str]] = []  # a heap: an entry for each lease, renewal and settle
        self._settled: dict[str, int] = {}  # until when that is remembered

    def put(self, hold_id: str, held: Held) -> None:
        self._held[hold_id] = held
        heapq.heappush(self._queue, (held.until_ms, hold_id))

    def renew(self, hold_id: str, now_ms: int) -> bool:
        """Whether it was there: also one that has ended, if nobody has given it back yet."""
        held = self._held.get(hold_id)
        if held:
            self.put(hold_id, held._replace(until_ms=now_ms + held.lease_ms))
        return held is not None

    def ended(self, now_ms: int) -> list[Held]:
        """Those whose lease has ended; each is told once."""
        ended = []
        while self._queue and self._queue[0][0] <= now_ms:
            _, hold_id = heapq.heappop(self._queue)
            if self._settled.get(hold_id, FOREVER) <= now_ms:
                del self._settled[hold_id]
            if (held := self._held.get(hold_id)) and held.until_ms <= now_ms:
                ended.append(self._held.pop(hold_id))
        return ended

    def ending(self, now_ms: int) -> list[Held]:
        """The same, and nothing changes."""
        return [held for held in self._held.values() if held.until_ms <= now_ms]

    def settle(self, lease: Lease, now_ms: int) -> Held | None:
        """What was held, GONE where it is not there, None where it was settled before."""
        if self._settled.get(lease.id, 0) > now_ms:
            return None
        self._settled[lease.id] = until_ms = now_ms + known_ms(lease.lease_ms)
        heapq.heappush(self._queue, (until_ms, lease.id))
        return self._held.pop(lease.id, GONE)

    def lose_count(self, now_ms: int) -> None:
        """The clock went far back, and the counter no longer knows what was counted when: nothing goes back to it. They
        end within a lease all the same."""
        for hold_id, held in self._held.items():
            until_ms = min(held.until_ms, now_ms + held.lease_ms)
            self.put(hold_id, held._replace(counted_ms=-1, until_ms=until_ms))


def new_id(store: str, lease_ms: int) -> str:
    """Of a hold. `store` is what tells it from others."""
    return f"{secrets.token_hex(16)}/{lease_ms}@{store}"


def held(decision: Decision, hold_id: str, lease_ms: int, units: int) -> Decision:
    """The same, on units that are held if it is allowed: then none of it can be refunded."""
    decision.units = 0
    if decision.allowed:
        counters = tuple([charge.key for charge, _ in taken(decision)])
        lease = Lease(counters[0] if counters else "", hold_id, lease_ms, counters=counters)
        decision.hold = Hold(lease, copy.copy(decision), units)
    return decision
