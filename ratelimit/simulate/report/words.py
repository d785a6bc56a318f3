"""Instants, durations, shares and patterns, as they are told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import inf

from ratelimit.simulate.analysis import patterns
from ratelimit.simulate.analysis.found import Found
from ratelimit.simulate.analysis.pair import Against

WEEK_MS = 7 * 86_400_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

_UNITS = ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", SECOND, "s"))
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # not strftime's: those are the locale's
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PHRASES: Mapping[str, tuple[str, str]] = {  # of one caller, of several
    patterns.ONE_BURST: ("a single burst", "single bursts"),
    patterns.RETRIES: ("a retry loop", "retry loops"),
    patterns.STEADY: ("steadily above its max", "steadily above their max"),
    patterns.UNEVEN: ("uneven", "uneven"),
    patterns.RARE: ("denied now and then", "denied now and then"),
    patterns.NOT_LOOKED_AT: ("one of too many to look at", "too many to look at"),
}


def instant(at_ms: int) -> str:
    """`Mon 2 Mar 09:02`, of UTC"""
    at = datetime.fromtimestamp(at_ms // SECOND, UTC)
    return f"{_DAYS[at.weekday()]} {at.day} {_MONTHS[at.month - 1]} {at:%H:%M}"


def date(at_ms: int) -> str:
    """`2026-03-02 09:02`, of UTC"""
    return f"{datetime.fromtimestamp(at_ms // SECOND, UTC):%Y-%m-%d %H:%M}"


def within(at_ms: int, first_ms: int | None, last_ms: int | None) -> str:
    """`Mon 09:02` where that says it, in a log of less than a week."""
    if first_ms is None or last_ms is None or last_ms - first_ms >= WEEK_MS - DAY:
        return instant(at_ms)
    at = datetime.fromtimestamp(at_ms // SECOND, UTC)
    return f"{_DAYS[at.weekday()]} {at:%H:%M}"


def duration(ms: int) -> str:
    """Its two largest units: `4 min 10 s`"""
    if ms < SECOND:
        return f"{ms} ms"
    for unit, name, below, of_below in _UNITS:
        if ms >= unit:
            rest = ms % unit // below
            return f"{ms // unit} {name} {rest} {of_below}" if rest else f"{ms // unit} {name}"
    return f"{ms / SECOND:.3g} s"


def percent(part: int, whole: int) -> str:
    """`0.04 %`"""
    if not part or not whole:
        return "0 %"
    share = 100 * part / whole
    if share < 0.01:
        return "less than 0.01 %"
    return f"{share:.2g} %" if share < 10 else f"{share:.0f} %"


def of_max(share: float) -> str:
    """A peak as a part of a max: `87 %`, and what a max of 0 is to any."""
    if share == inf:
        return "closed"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:,.0f} %"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def verdict(found: Found, first_ms: int | None, last_ms: int | None) -> str:
    """One sentence: `3 of 1,240 callers would be denied, 0.04 % of requests, first Mon 09:02; all three are bursts at
    :00.`"""
    if not found.requests:
        return "No request of the log is limited by this policy."
    shadow = f"; limits in shadow would deny {found.would_deny:,} more" if found.would_deny else ""
    if found.first is None:
        whom = f"{counted(found.callers, 'caller')}, {counted(found.requests, 'request')}"
        return f"Nobody would be denied: {whom}{shadow}."
    whom = f"{found.callers_denied:,} of {counted(found.callers, 'caller')} would be denied"
    what = f"{percent(found.denied, found.requests)} of requests"
    first = f"first {within(found.first[0], first_ms, last_ms)}"
    return f"{whom}, {what}, {first}; {_patterns(found.patterns, found.callers_denied)}{shadow}."


def _patterns(of: Mapping[str, int], callers: int) -> str:
    ranked = sorted(of.items(), key=lambda item: (-item[1], item[0]))
    pattern, count = ranked[0]
    if callers == 1:
        return f"it is {phrase(pattern, 1)}"
    if count == callers:
        return f"{'both' if callers == 2 else f'all {number(callers)}'} are {phrase(pattern, count)}"
    return ", ".join(f"{number(many)} {'is' if many == 1 else 'are'} {phrase(what, many)}" for what, many in ranked[:3])


def phrase(pattern: str, callers: int) -> str:
    """`bursts at :00`"""
    one, several = _PHRASES.get(pattern, (f"a {pattern}", pattern.replace("burst", "bursts", 1)))
    return one if callers == 1 else several


def number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"


def changes(of: Against) -> str:
    """What another policy makes of it."""
    callers = (
        f"{counted(of.newly, 'caller')} newly denied, {of.no_longer:,} no longer, {of.otherwise:,} more or less often"
    )
    return f"{callers}; {counted(of.requests_newly, 'request')} newly denied, {of.requests_no_longer:,} no longer."
