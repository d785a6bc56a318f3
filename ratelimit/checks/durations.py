"""Durations, as a file has them and in milliseconds: how long each kind of them may be."""

from __future__ import annotations

import re
from typing import Any

from ratelimit.ground.words import shown

LONGEST_MS = 36_500 * 86_400_000  # with 1000 sub-windows, now * 1000 + 1001 windows stay below 2**53 until 2150
SHORTEST_LEASE_MS = 1000  # it is renewed while a request runs: one of milliseconds would be lost
LONGEST_WAIT_MS = 60_000  # that a denied request is held: beyond it clients and proxies give up
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,16})(ms|s|m|h|d)")


def duration(value: Any) -> int:
    """`100ms`, `60s`: in milliseconds"""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{shown(value)} is not a duration; write a whole number and ms, s, m, h or d: "100ms", "60s"')
    return duration_ms(int(match[1]) * UNITS_MS[match[2]], shown(value))


def lease(value: Any) -> int:
    """A duration that a process can renew in time."""
    return lease_ms(duration(value), shown(value))


def window_ms(value: int, written: str, shortest: str = "1 millisecond") -> int:
    """The window of a rate, as somebody has written it."""
    if not 0 < value <= LONGEST_MS:
        raise ValueError(f"{written} is out of range; the shortest window is {shortest}, the longest 36500 days")
    return value


def duration_ms(value: int, written: str) -> int:
    if not 0 < value <= LONGEST_MS:
        raise ValueError(f"{written} is out of range; the shortest duration is 1ms, the longest 36500d")
    return value


def lease_ms(value: int, written: str) -> int:
    """A duration that a process can renew in time."""
    if not SHORTEST_LEASE_MS <= value <= LONGEST_MS:
        raise ValueError(f"{written} is out of range; the shortest lease is 1s, the longest 36500d")
    return value


def wait_ms(value: int, written: str) -> int:
    """How long a denied request may be held."""
    if not 0 < value <= LONGEST_WAIT_MS:
        raise ValueError(f"{written} is out of range; the shortest wait is 1ms, the longest 60s")
    return value
