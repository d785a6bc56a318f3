"""What one event loop holds, slots and units, renewed together while their requests run.

Slots are given back when they are not held any more. Units are settled by who held them, or go back with their lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from types import FrameType
from typing import Any, Protocol

from ratelimit.ground.loops import Task, hand_over, interrupted, running, runs, stopped
from ratelimit.ground.trio_loop import TrioTask
from ratelimit.ground.words import fields
from ratelimit.model import Lease, StoreUnavailable
from ratelimit.slots.report import Report, slots

logger = logging.getLogger("ratelimit")

RETRY = 1 / 20  # of a lease: a renewal that failed is tried 9 more times before the lease ends
_NEVER = (float("inf"), "")


class Slots(Protocol):
    """What is asked of a store here."""

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]: ...

    def release(self, leases: Sequence[Lease]) -> Coroutine[Any, Any, None]: ...


class Renewals:
    """There is a timer while anything is held, and a task only while a renewal is under way."""

    def __init__(self, store: Slots, left_behind: Sequence[Lease], reclaimed: Counter[str]) -> None:
        self._store = store
        self._reclaimed = reclaimed
        self._loop = running()
        self._process = os.getpid()
        self._due: dict[Lease, float] = {}  # when to renew, by the loop's clock
        self._looks: dict[Lease, tuple[float, Callable[[], None]]] = {}  # from when on, of the first lease of a request
        self._orphans: dict[Lease, tuple[float, str]] = {}  # until when they are held, and their limit
        self._timer: asyncio.TimerHandle | TrioTask | None = None
        self._renewal: Task | None = None
        self._report = Report()
        if left_behind:
            self._give_back_at_once(left_behind)

    def add(self, leases: Sequence[Lease], look: Callable[[], None] | None) -> None:
        now = self._loop.time()
        for lease in leases:
            self._due[lease] = due = now + lease.lease_ms / 2_000
            self._wake_at(due)
        if look:
            self._looks[leases[0]] = now + leases[0].lease_ms / 2_000, look

    def orphan(self, lease: Lease, limit: str) -> None:
        if lease in self._due:
            self._orphans[lease] = self._loop.time() + lease.lease_ms / 1_000, limit

    def discard(self, leases: Sequence[Lease]) -> list[Lease]:
        """Returns the slots among them that were held: they are to be given back."""
        held = [lease for lease in leases if self._due.pop(lease, None) is not None]
        for lease in held:
            self._looks.pop(lease, None)
            self._orphans.pop(lease, None)
        if not self._due and self._timer:
            self._timer.cancel()
            self._timer = None
        return slots(held)

    def holds(self) -> bool:
        """Whether this process has slots to give back: what it was forked with is its parent's."""
        return bool(slots(self._due)) and self._process == os.getpid()

    def drained(self) -> list[Lease]:
        """The slots that this process held by now, by a loop that has ended or is about to: it renews none of them."""
        left = slots(self._due) if self.holds() else []
        self._due.clear()
        self._looks.clear()
        self._orphans.clear()
        return left

    def let_go(self, leases: Sequence[Lease], closer: FrameType | None) -> None:
        if not any(lease in self._due for lease in leases):
            return
        alone = runs(self._loop) or self._loop.is_closed()
        if alone and not getattr(self._store, "asyncio_only", False) and not interrupted(closer):
            self._let_go(leases)
        else:  # to a loop that has ended: then they are given back by the next one, or when the process ends
            hand_over(self._loop, self._let_go, leases)

    def _let_go(self, leases: Sequence[Lease]) -> None:
        if held := self.discard(leases):
            self._give_back_at_once(held)

    def _give_back_at_once(self, leases: Sequence[Lease]) -> None:
        """A release takes effect also if it is cancelled at its first `await`."""
        release = self._store.release(leases)
        try:
            with suppress(StopIteration, asyncio.CancelledError):
                release.send(None)
                release.throw(asyncio.CancelledError())
            release.close()
        except Exception as error:  # noqa: BLE001 - also one of a store of the user's: there is nobody to catch it
            self._report.not_given_back(self._loop.time(), error)

    async def close(self) -> None:
        held = self.discard(list(self._due))
        if self._renewal:
            self._renewal.cancel()
            await stopped(self._renewal)
        if held:
            await self.give_back(held)

    async def give_back(self, leases: Sequence[Lease]) -> None:
        """A store out of reach is logged."""
        try:
            await self._store.release(leases)
        except StoreUnavailable as error:
            self._report.not_given_back(self._loop.time(), error)

    def _wake_at(self, when: float) -> None:
        if self._timer is None or when < self._timer.when():
            if self._timer:
                self._timer.cancel()
            self._timer = self._loop.call_at(when, self._wake, context=Context())

    def _wake(self) -> None:
        self._timer = None
        if not self._due or (self._renewal and not self._renewal.done()):
            return  # one at a time: it sets the timer when it is done
        earliest = min(self._due.values())
        if earliest <= self._loop.time():
            self._renewal = self._loop.create_task(self._renew(self._loop.time() - earliest))
        else:  # what the timer was set for has ended
            self._wake_at(earliest)

    async def _renew(self, late: float) -> None:
        """`late` (s) is how long ago it was due: for so long this loop stood still."""
        now = self._loop.time()
        for since, look in list(self._looks.values()):
            if since <= now:
                look()
        released = self._over(now)
        leases, part = list(self._due), 1 / 2
        try:
            if leases:
                self._told(await self._store.renew(leases), now, late)
                self._report.renewed(leases, now)
        except Exception as error:  # noqa: BLE001 - also one of a store of the user's: what is held is never forgotten
            part = RETRY
            self._report.not_renewed(leases, now, error)
        for lease in leases:
            if lease in self._due:
                end, _ = self._orphans.get(lease, _NEVER)
                self._due[lease] = min(now + lease.lease_ms / 1_000 * part, end)
            else:  # meanwhile: a renewal that was asked for twice, by what a node said, may have taken it again
                released.append(lease)
        if self._due:
            self._wake_at(min(self._due.values()))
        if released := slots(released):
            await self.give_back(released)

    def _told(self, leases: Sequence[Lease], now: float, late: float) -> None:
        """What a renewal says of some: slots that are above their max, units that are gone and not renewed any more."""
        if crowding := slots(leases):
            self._report.crowding(crowding, now, late)
        gone = [lease for lease in leases if lease.counters is not None and lease in self._due]
        if gone:
            self.discard(gone)
            self._report.gone(gone, now, late)

    def _over(self, now: float) -> list[Lease]:
        """Slots of callers who hung up a lease ago: not held any more."""
        over = {lease: limit for lease, (end, limit) in self._orphans.items() if end <= now}
        for limit, count in Counter(over.values()).items():
            self._reclaimed[limit] += count
            logger.warning(
                "limit %s: %s given back, as the caller hung up a lease ago and the endpoint still runs; have it end "
                "at http.disconnect (in Starlette: request.is_disconnected())",
                limit,
                "1 slot" if count == 1 else f"{count} slots",
                extra=fields("slots_reclaimed", limit=limit, count=count),
            )
        return self.discard(list(over))
