"""Limits, as they are told to people and as a policy file has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ratelimit.formula import Formula
from ratelimit.ground.times import instant, period
from ratelimit.model import FOREVER, Charge, Concurrency, Limit, Quota


def amount(limit: Limit, most: object | None = None) -> str:
    """What it allows: `100/minute`, `(300 * registers + 50)/5 minutes`, `50000/month`, `10 at a time`."""
    kind = limit.kind
    text = formula(limit) if most is None else str(most)
    if isinstance(kind, Concurrency):
        return f"{text} at a time"
    return f"{text}/{kind.period if isinstance(kind, Quota) else period(kind.window_ms)}"


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
