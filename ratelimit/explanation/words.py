"""Limits, instants and durations, as they are told to people and as a policy file has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from ratelimit.checks.durations import UNITS_MS
from ratelimit.formula import Formula
from ratelimit.model import FOREVER, Charge, Concurrency, Limit, Quota

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = 253_402_300_799_000  # 9999-12-31T23:59:59Z

_UNITS = {"day": UNITS_MS["d"], "hour": UNITS_MS["h"], "minute": UNITS_MS["m"], "second": UNITS_MS["s"]}


def amount(limit: Limit, most: object | None = None) -> str:
    """What it allows: `100/minute`, `(300 * registers + 50)/5 minutes`, `50000/month`, `10 at a time`."""
    kind = limit.kind
    text = formula(limit) if most is None else str(most)
    if isinstance(kind, Concurrency):
        return f"{text} at a time"
    return f"{text}/{kind.period if isinstance(kind, Quota) else window(kind.window_ms)}"


def formula(limit: Limit) -> str:
    """Its max as it is written; of one that a program made, what it comes to without attributes."""
    return written(limit.max)


def written(most: Callable[[Mapping[str, str | int]], int]) -> str:
    if isinstance(most, Formula):
        return most.text
    try:
        return str(most({}))
    except Exception:  # noqa: BLE001 - of a program, which may need attributes
        return "computed"


def window(length_ms: int) -> str:
    """`minute`, `5 minutes`, `1500 ms`"""
    for unit, unit_ms in _UNITS.items():
        if length_ms % unit_ms == 0:
            count = length_ms // unit_ms
            return unit if count == 1 else f"{count} {unit}s"
    return f"{length_ms} ms"


def instant(at_ms: int) -> str:
    """`2026-12-31T00:00:00Z`, with milliseconds where there are some."""
    moment = EPOCH + timedelta(milliseconds=min(at_ms, LAST_MS))
    return moment.isoformat(timespec="milliseconds" if at_ms % 1000 else "seconds").replace("+00:00", "Z")


def span(length_ms: int) -> str:
    """A duration in its two largest units, rounded up to the second: `1 d 4 h`, `2 min 5 s`, `44 s`."""
    seconds = -(-max(0, length_ms) // 1000)
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def mode(limit: Limit, at_ms: int) -> str:
    """`enforced`, `in shadow`, `in shadow until 2026-05-19T00:00:00Z`, `in launch`, `off`"""
    if limit.launch is not None:
        return "in launch"
    if limit.mode == "enforce":
        since = limit.enforce_from_ms
        return "enforced" if at_ms >= since else f"in shadow until {instant(since)}"
    return "in shadow" if limit.mode == "shadow" else "off"


def mode_of(charge: Charge, at_ms: int) -> str:
    """The same for one caller, by launch and overrides: `enforced until …`, in a brownout."""
    if not charge.stages:
        return mode(charge.limit, at_ms)
    until, enforced = next((step for step in charge.stages if at_ms < step[0]), charge.stages[-1])
    return f"{'enforced' if enforced else 'in shadow'}{end(until)}"


def matched(match: Mapping[str, str | int]) -> str:
    """Whom an override is for: `organization = acme, mode = test`. Of an API key the first digits of its hash."""
    return ", ".join(
        f"{kind} = {value[:8] + '…' if kind == 'api_key' and isinstance(value, str) else value}"
        for kind, value in match.items()
    )


def end(until_ms: int) -> str:
    """Of an override: ` until 2026-12-31T00:00:00Z`, or nothing."""
    return "" if until_ms >= FOREVER else f" until {instant(until_ms)}"


def kind_of(limit: Limit) -> str:
    """`rate`, `quota`, `concurrency`"""
    return type(limit.kind).__name__.lower()
