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
QUIET = 10.0  # seconds without a release that failed, after which the next one is news


class Leases:
    """Holds leases of one store. A lease is renewed when half of its life is left, by the loop that holds it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held = PerLoop(lambda: _Held(store))

    def hold(self, leases: Sequence[Lease]) -> None:
        self._held[asyncio.get_running_loop()].add(leases)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give leases back, but for those that close() has given back. A store out of reach is logged."""
        ours = self._held[asyncio.get_running_loop()]
        if held := ours.discard(leases):
            await ours.give_back(held)

    async def close(self) -> None:
        """Give back all that this loop holds, also of requests that never end: their process does."""
        if held := self._held.pop(asyncio.get_running_loop(), None):
            await held.close()


class _Held:
    """Of one event loop. There is a timer while anything is held, and a task only while a renewal is under way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._due: dict[Lease, float] = {}  # when to renew, by the loop's clock
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._failing_since: float | None = None
        self._release_failed = float("-inf")

    def add(self, leases: Sequence[Lease]) -> None:
        now = self._loop.time()
        for lease in leases:
            self._due[lease] = due = now + lease.lease_ms / 2_000
            self._wake_at(due)

    def discard(self, leases: Sequence[Lease]) -> list[Lease]:
        """Returns those that were held."""
        held = [lease for lease in leases if self._due.pop(lease, None) is not None]
        if not self._due and self._timer:
            self._timer.cancel()
            self._timer = None
        return held

    async def close(self) -> None:
        held = self.discard(list(self._due))
        if self._renewal:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
        if held:
            await self.give_back(held)

    async def give_back(self, leases: Sequence[Lease]) -> None:
        """A store out of reach is logged, once and not for each release: the slot then frees when its lease ends."""
        try:
            await self._store.release(leases)
        except StoreUnavailable as error:
            before, self._release_failed = self._release_failed, self._loop.time()
            if self._release_failed - before >= QUIET:
                logger.warning(
                    "slots of concurrency limits may not have been given back; then each frees when its lease ends: %s",
                    error,
                )

    def _wake_at(self, when: float) -> None:
        if self._timer is None or when < self._timer.when():
            if self._timer:
                self._timer.cancel()
            self._timer = self._loop.call_at(when, self._wake, context=Context())

    def _wake(self) -> None:
        self._timer = None
        earliest = min(self._due.values())
        if self._renewal and not self._renewal.done():
            return  # one at a time: it sets the timer when it is done
        if earliest <= self._loop.time():
            self._renewal = self._loop.create_task(self._renew(self._loop.time() - earliest))
        else:  # what the timer was set for has ended
            self._wake_at(earliest)

    async def _renew(self, late: float) -> None:
        """`late` (s) is how long ago it was due: for so long this loop stood still."""
        leases, now = list(self._due), self._loop.time()
        part = 1 / 2
        try:
            if crowding := await self._store.renew(leases):
                _log_crowding(len(crowding), self._why(crowding[0], now, late))
            self._recovered(now)
        except Exception as error:  # noqa: BLE001 - also one of a store of the user's: what is held is never forgotten
            part = RETRY
            self._failed(len(leases), now, error)
        released = []
        for lease in leases:
            if lease in self._due:
                self._due[lease] = now + lease.lease_ms / 1_000 * part
            else:  # meanwhile: a renewal that was asked for twice, by what a node said, may have taken it again
                released.append(lease)
        if self._due:
            self._wake_at(min(self._due.values()))
        if released:
            await self.give_back(released)

    def _failed(self, count: int, now: float, error: Exception) -> None:
        if self._failing_since is None:  # once, not twenty times a lease
            self._failing_since = now
            logger.warning("slots of concurrency limits not renewed, tried again until they are: %d (%s)", count, error)

    def _recovered(self, now: float) -> None:
        if self._failing_since is not None:
            logger.warning(
                "slots of concurrency limits are renewed again, after %.0f s without the store",
                now - self._failing_since,
            )
            self._failing_since = None

    def _why(self, lease: Lease, now: float, late: float) -> str:
        if self._failing_since is not None:
            return f"the store was out of reach for {now - self._failing_since:.0f} s"
        if late > lease.lease_ms / 2_500:  # renewed at half of it, and 40 % late
            return f"the event loop stood still for {late:.0f} s, so that nothing was renewed"
        return "the store has lost them: a restart, a flush, an eviction or a failover; or this process was suspended"


def _log_crowding(count: int, why: str) -> None:
    logger.warning(
        "concurrency limits are exceeded by %d: slots of running requests had expired, others have come in, and they "
        "are counted again until they end: %s",
        count,
        why,
    )
