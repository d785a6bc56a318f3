"""Durations as texts, in a file and in a program."""

from __future__ import annotations

import re
from typing import Any

from ratelimit.checks.values import duration_ms, lease_ms
from ratelimit.ground.words import shown

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
