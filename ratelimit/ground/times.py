"""Instants, periods and waits, as they are told: instants and periods as a policy file has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = 253_402_300_799_000  # 9999-12-31T23:59:59Z: no calendar goes beyond it here

_UNITS = {"day": 86_400_000, "hour": 3_600_000, "minute": 60_000, "second": 1000}


def instant(at_ms: int) -> str:
    """`2026-12-31T00:00:00Z`, with milliseconds where there are some."""
    at_ms = min(at_ms, LAST_MS)
    moment = EPOCH + timedelta(milliseconds=at_ms)
    return moment.isoformat(timespec="milliseconds" if at_ms % 1000 else "seconds").replace("+00:00", "Z")


def second(at_ms: int) -> str:
    """The second that it is in: `2026-12-31T00:00:00Z`"""
    return instant(at_ms - at_ms % 1000)


def period(length_ms: int) -> str:
    """Behind the slash of a rate: `minute`, `5 minutes`, `1500 ms`"""
    for unit, unit_ms in _UNITS.items():
        if length_ms % unit_ms == 0:
            count = length_ms // unit_ms
            return unit if count == 1 else f"{count} {unit}s"
    return f"{length_ms} ms"


def length(length_ms: int) -> str:
    """The same by itself: `1 minute`, `5 minutes`, `1500 ms`"""
    said = period(length_ms)
    return f"1 {said}" if said in _UNITS else said


def span(length_ms: int) -> str:
    """A wait in its two largest units, rounded up to the second: `1 d 4 h`, `2 min 5 s`, `44 s`."""
    seconds = -(-max(0, length_ms) // 1000)
    parts = []
    for unit, in_seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, in_seconds)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
