"""How stages are told: instants, and what begins at them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = 253_402_300_799_000  # the year 9999: no calendar goes beyond it here


def instant(at_ms: int) -> str:
    """`2027-01-12 09:00:00 UTC`"""
    return f"{EPOCH + timedelta(milliseconds=min(at_ms, LAST_MS)):%Y-%m-%d %H:%M:%S} UTC"
