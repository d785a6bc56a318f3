"""What the log says of leases that are not renewed, not given back, or lost: when that begins and when it is over."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from ratelimit.ground.words import fields
from ratelimit.model import Lease

logger = logging.getLogger("ratelimit")

QUIET = 10.0  # seconds without a release that failed, after which the next one is news


class Report:
    """Of one event loop; instants are by its clock, in seconds."""

    def __init__(self) -> None:
        self._failing_since: float | None = None
        self._release_failed = float("-inf")

    def not_given_back(self, now: float, error: Exception) -> None:
        """Once and not for each release: the slot then frees when its lease ends."""
        before, self._release_failed = self._release_failed, now
        if now - before >= QUIET:
            logger.warning(
                "slots of concurrency limits may not have been given back; then each frees when its lease ends: %s",
                error,
                extra=fields("slots_not_given_back", reason=str(error)),
            )

    def not_renewed(self, leases: Sequence[Lease], now: float, error: Exception) -> None:
        if self._failing_since is None:  # once, not twenty times a lease
            self._failing_since = now
            what, count = _what(leases), len(leases)
            extra = fields("leases_not_renewed", count=count, reason=str(error))
            logger.warning("%s not renewed, tried again until they are: %d (%s)", what, count, error, extra=extra)

    def renewed(self, leases: Sequence[Lease], now: float) -> None:
        if self._failing_since is not None:
            seconds = now - self._failing_since
            extra = fields("leases_renewed_again", after_s=seconds)
            logger.warning("%s are renewed again, after %.0f s without the store", _what(leases), seconds, extra=extra)
            self._failing_since = None

    def crowding(self, leases: Sequence[Lease], now: float, late: float) -> None:
        """Slots that were taken again above the max."""
        why = self._why(leases[0], now, late)
        logger.warning(
            "concurrency limits are exceeded by %d: slots of running requests had expired, others have come in, and "
            "they are counted again until they end: %s",
            len(leases),
            why,
            extra=fields("slots_above_max", count=len(leases), reason=why),
        )

    def gone(self, leases: Sequence[Lease], now: float, late: float) -> None:
        """Units that are not taken again."""
        why = self._why(leases[0], now, late)
        logger.warning(
            "holds whose units went back, while their work goes on and is charged in the end: %d: %s",
            len(leases),
            why,
            extra=fields("holds_gone", count=len(leases), reason=why),
        )

    def _why(self, lease: Lease, now: float, late: float) -> str:
        if self._failing_since is not None:
            return f"the store was out of reach for {now - self._failing_since:.0f} s"
        if late > lease.lease_ms / 2_500:  # renewed at half of it, and 40 % late
            return f"the event loop stood still for {late:.0f} s, so that nothing was renewed"
        return "the store has lost them: a restart, a flush, an eviction or a failover; or this process was suspended"


def slots(leases: Iterable[Lease]) -> list[Lease]:
    return [lease for lease in leases if lease.counters is None]


def _what(leases: Sequence[Lease]) -> str:
    of_slots = len(slots(leases))
    if not of_slots:
        return "units that are held"
    return "slots of concurrency limits" + (" and units that are held" if of_slots < len(leases) else "")
