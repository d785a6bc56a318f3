"""A limit in words, as a policy file has it: `100/minute`, `50000/month`, `10 at a time`."""

from __future__ import annotations

from ratelimit.model import Concurrency, Limit, Quota

_UNITS = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1000))


def amount_of(limit: Limit) -> str:
    most = getattr(limit.max, "text", "computed")  # a Formula of a file has one, a function of a program has not
    if isinstance(limit.kind, Concurrency):
        return f"{most} at a time"
    return f"{most}/{limit.kind.period if isinstance(limit.kind, Quota) else window_of(limit.kind.window_ms)}"


def window_of(window_ms: int) -> str:
    """`minute`, `5 minutes`, `1500 ms`"""
    for unit, length in _UNITS:
        if window_ms % length == 0:
            number = window_ms // length
            return unit if number == 1 else f"{number} {unit}s"
    return f"{window_ms} ms"


def max_in_words(limit: Limit) -> str:
    """`100/minute, in shadow`"""
    mode = "in launch" if limit.launch else "" if limit.mode == "enforce" else "in shadow"
    return f"{amount_of(limit)}, {mode}" if mode else amount_of(limit)
