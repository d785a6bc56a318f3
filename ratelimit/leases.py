"""The slots of concurrency limits that this process holds, renewed together while their requests run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context

from ratelimit.loops import PerLoop
from ratelimit.model import Lease, Store, StoreUnavailable

logger = logging.getLogger("ratelimit")

RETRY = 1 / 20  # of a lease: a renewal that failed is tried 9 more times before the lease ends


class Leases:
    """Holds leases of one store. A lease is renewed when half of its life is left, by the loop that holds it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held = PerLoop(lambda: _Held(store))

    def hold(self, leases: Sequence[Lease]) -> None:
        self._held[asyncio.get_running_loop()].add(leases)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give leases back. A store out of reach is logged: the slot then frees when its lease ends."""
        self._held[asyncio.get_running_loop()].discard(leases)
        try:
            await self._store.release(leases)
        except StoreUnavailable as error:
            logger.warning(
                "a slot of a concurrency limit may not have been given back; then it frees when its lease ends: %s",
                error,
            )


class _Held:
    """Of one event loop. There is a timer while anything is held, and a task only while a renewal is under way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._due: dict[Lease, float] = {}  # when to renew, by the loop's clock
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None

    def add(self, leases: Sequence[Lease]) -> None:
        now = asyncio.get_running_loop().time()
        for lease in leases:
            self._due[lease] = due = now + lease.lease_ms / 2_000
            self._wake_at(due)

    def discard(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self._due.pop(lease, None)
        if not self._due and self._timer:
            self._timer.cancel()
            self._timer = None

    def _wake_at(self, when: float) -> None:
        if self._timer is None or when < self._timer.when():
            if self._timer:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(when, self._wake, context=Context())

    def _wake(self) -> None:
        self._timer = None
        earliest = min(self._due.values())
        if self._renewal and not self._renewal.done():
            return  # one at a time: it sets the timer when it is done
        if earliest <= asyncio.get_running_loop().time():
            self._renewal = asyncio.get_running_loop().create_task(self._renew())
        else:  # what the timer was set for has ended
            self._wake_at(earliest)

    async def _renew(self) -> None:
        leases, now = list(self._due), asyncio.get_running_loop().time()
        try:
            lost = await self._store.renew(leases)
            part = 1 / 2
        except StoreUnavailable as error:
            logger.warning("slots of concurrency limits not renewed, tried again soon: %d (%s)", len(leases), error)
            lost, part = [], RETRY
        if lost:
            logger.warning("slots of concurrency limits lost while their requests ran: %d", len(lost))
        self.discard(lost)
        for lease in leases:
            if lease in self._due:  # not released in the meantime
                self._due[lease] = now + lease.lease_ms / 1_000 * part
        if self._due:
            self._wake_at(min(self._due.values()))
