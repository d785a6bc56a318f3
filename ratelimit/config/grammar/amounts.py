"""What a limit allows, as a policy file writes it: `100/minute`, `50000/month`, `10`.

Each function takes a value as TOML gives it. ValueError says what is wrong and what is allowed; where the value is, the
caller knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ratelimit.checks.durations import UNITS_MS
from ratelimit.checks.durations import window_ms as checked_window
from ratelimit.formula import Formula, OutOfRangeError, parse_formula
from ratelimit.ground.words import shown, too_large, too_small
from ratelimit.model import FOREVER

Period = Literal["day", "week", "month", "year"]

RATES = "100/minute, 20/10 seconds, (300 * registers + 50)/5 minutes"
QUOTAS = "50000/month, (1000 * seats)/day"

_UNITS = {"second": "s", "minute": "m", "hour": "h", "day": "d"}
_WINDOW = re.compile(r"(?:([0-9]{1,16}) *)?(second|minute|hour|day)s?")


@dataclass(frozen=True, slots=True)
class Amount:
    """What a limit or an override allows. `100/day` can be a rate and a quota, so it has both a window and a period."""

    written: str | int
    max: Formula
    window_ms: int | None = None
    period: Period | None = None


def rate(value: Any) -> Amount:
    """`100/minute`, `(300 * registers + 50)/5 minutes`"""
    amount = _per_period(value)
    if amount is None:
        allowed = f"write a whole number or arithmetic, a slash and a period: {RATES}"
    elif amount.window_ms is None:
        allowed = f"a {amount.period} goes by the calendar: write quota = {shown(value)}, or a rate such as {RATES}"
    else:
        return amount
    raise ValueError(f"{shown(value)} is not a rate; {allowed}")


def quota(value: Any) -> Amount:
    """`50000/month`"""
    amount = _per_period(value)
    if amount is not None and amount.period is not None:
        return amount
    allowed = f"write a whole number or arithmetic, a slash and day, week, month or year: {QUOTAS}"
    raise ValueError(f"{shown(value)} is not a quota; {allowed}")


def concurrency(value: Any) -> Amount:
    """`10`, `"2 * seats"`"""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= FOREVER:
            raise ValueError(too_small(str(value), 0) if value < 0 else too_large(str(value), FOREVER))
        return Amount(value, parse_formula(str(value)))
    if isinstance(value, str) and "/" not in value:
        return Amount(value, _formula(value, value))
    allowed = 'write a whole number such as 10, or arithmetic such as "2 * seats"'
    raise ValueError(f"{shown(value)} is not a number of requests at a time; {allowed}")


def of_any_kind(value: Any) -> Amount:
    """The amount of an override: which kind it has to be depends on the limit."""
    amount = _per_period(value)
    if amount is not None:
        return amount
    if "/" in value if isinstance(value, str) else not isinstance(value, int):
        allowed = f"write one of the limit's own kind: {RATES}, {QUOTAS}, or 10 for requests at a time"
        raise ValueError(f"{shown(value)} is not an amount; {allowed}")
    return concurrency(value)


def _per_period(value: Any) -> Amount | None:
    """The amount before the last slash and the period behind it, None where that is no period or there is no slash."""
    if not isinstance(value, str) or "/" not in value:
        return None
    text, _, behind = value.rpartition("/")
    behind = behind.strip(" ")
    period: Period | None = next((known for known in get_args(Period) if known == behind), None)
    window = _WINDOW.fullmatch(behind)
    if period is None and window is None:
        return None
    window_ms = None
    if window is not None:
        window_ms = checked_window(int(window[1] or 1) * UNITS_MS[_UNITS[window[2]]], shown(value), "1 second")
    return Amount(value, _formula(text, value), window_ms, period)


def _formula(text: str, value: str) -> Formula:
    try:
        return parse_formula(text)
    except OutOfRangeError as error:
        raise ValueError(f"{shown(value)} has a max that can't be meant: {error}") from None
    except ValueError as error:
        raise ValueError(f"{shown(value)} has no max that can be read: {error}") from None
