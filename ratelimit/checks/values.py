"""What a limit is made of, checked: value by value where a file gives it, and where a program makes it by hand.

Each function takes a value and returns what it stands for. ValueError says what is wrong and what is allowed; where the
value is, the caller knows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from ratelimit.ground.words import did_you_mean, listed, not_known, shown, too_large, too_small

MAX_CALLERS = 1_000_000  # of a memory store, unless it is told: 300 MB with two limits each
LARGEST = 2**53 - 1  # a max, a cost, an instant: beyond it Lua's doubles lose units
MOST_SUB_WINDOWS = 1000
LONGEST_QUEUE = 100_000

KINDS = ("organization", "user", "api_key", "application", "ip")  # what a caller may be known by
PER = ("identity", *KINDS)
EXEMPT = "exempt"  # the name under which rules take requests out of every limit
# connect is the handshake of a WebSocket; heavy_write is no shape: only rules give it.
BUILT_IN = ("detail_read", "search", "create", "write", "connect", "heavy_write")
MODES = ("enforce", "shadow", "off")
PERIODS = ("day", "week", "month", "year")
COUNTS = ("units", "requests")
ON_FAILURE = ("allow", "deny", "local")
ON_EXCESS = ("close", "drop", "wait")

NAME = "^[ -~]+$"
PREFIX = "^[!-z|~]+$"
STATUS = "[2-5]([0-9][0-9]|xx)"
PART = "(100|[0-9]{1,2}([.][0-9]{1,6})?)%"
PATTERNS = {  # what they mean, for messages
    NAME: "a name is made of printable ASCII characters, at least one",
    PREFIX: "a prefix is made of printable ASCII characters other than the space, { and }, at least one",
}

NO_COST_OF_A_SLOT = "is not for concurrency, where each request takes one slot"
NO_RESERVE_OF_A_SLOT = "is not for concurrency: a slot is held while a request runs, so there is nothing to take ahead"
NO_HOLD_OF_A_SLOT = "is not for concurrency, where each request holds its slot while it runs"
NO_COUNTS_OF_A_SLOT = "is not for concurrency, where each request takes one slot, whatever its units"
NO_OUTCOME_OF_A_SLOT = "is not for concurrency: a slot comes back when its request ends, whatever the status"
NO_TWO_OUTCOMES = "is there beside charge_on, which says all that counts; write one of the two"
NO_HOLD_AHEAD = "is not for a limit with reserve: units ahead are spent without asking the store; write one of the two"
NO_OUTCOME_AHEAD = NO_HOLD_AHEAD
BESIDE_LAUNCH = "is there beside launch, which says from when on the limit is enforced; write one of the two"


_STATUS = re.compile(STATUS)
_OF_THE_MACHINE = re.compile("localtime|posixrules|(posix|right)/.*")
_SPELLINGS = {kind.replace("_", ""): kind for kind in PER}


def not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("is blank" if value else "is empty")
    return value


def whole(value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a whole number")  # noqa: TRY004 - one kind of error for a reader
    if value < least:
        raise ValueError(too_small(shown(value), least))
    if value > most:
        raise ValueError(too_large(shown(value), most))
    return value


def units(value: Any) -> int:
    """What a request costs."""
    return whole(value, 0, LARGEST)


def precision(value: Any) -> int:
    """Sub-windows of a rate."""
    return whole(value, 1, MOST_SUB_WINDOWS)


def anchor_day(value: Any) -> int:
    """The first day of a month; 31 is the last of a short one."""
    return whole(value, 1, 31)


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not true or false")  # noqa: TRY004
    return value


def text(value: Any, pattern: str = NAME) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not a text in quotes")  # noqa: TRY004
    if not re.fullmatch(pattern.strip("^$"), value):
        raise ValueError(of_pattern(shown(value), pattern))
    return value


def of_pattern(value: str, pattern: str) -> str:
    return f"{value} can't be used; {PATTERNS[pattern]}"


def one_of_these(value: Any, allowed: Sequence[str]) -> str:
    for known in allowed:
        if value == known:
            return known
    quoted = [shown(known) for known in allowed]
    raise ValueError(not_known(shown(value), f"{listed(quoted[:-1])} or {quoted[-1]}"))


def mode(value: Any) -> str:
    return one_of_these(value, MODES)


def mode_of_override(value: Any) -> str:
    if value == "off":
        raise ValueError('"off" is not for an override; write "shadow": the limit counts then, and denies nobody')
    return one_of_these(value, MODES[:2])


def on_failure(value: Any) -> str:
    return one_of_these(value, ON_FAILURE)


def status(value: Any) -> str:
    """Of a response, or a class of them: `304`, `5xx`"""
    if isinstance(value, str) and _STATUS.fullmatch(value):
        return value
    raise ValueError(f'{shown(value)} is not a status; write three digits or a class in quotes: "401", "304", "5xx"')


def part(value: Any) -> float:
    """`1%`, `0.5%`: of all"""
    if isinstance(value, str) and re.fullmatch(PART, value):
        return float(value[:-1]) / 100
    raise ValueError(f'{shown(value)} is not a part of all; write from "0%" to "100%", as "1%" or "0.5%"')


def on_excess(value: Any) -> str:
    return one_of_these(value, ON_EXCESS)


def timezone(value: Any) -> str:
    allowed = 'write one of the IANA database, such as "UTC" or "Europe/Berlin"'
    if isinstance(value, str) and _OF_THE_MACHINE.fullmatch(value):
        raise ValueError(f"{shown(value)} is not the same on every machine; {allowed}")
    try:
        return ZoneInfo(value).key
    except (KeyError, ValueError, OSError, TypeError, AttributeError):  # by "Nowhere", "../x", "America", [], 5
        hint = did_you_mean(value, available_timezones() - {"localtime"}) if isinstance(value, str) else ""
    raise ValueError(f"{shown(value)} is not a time zone{hint or '; ' + allowed}")


def anchor_of(period: str | None) -> str:
    return f"is for quotas per month; this one is per {period}"


def wrong_per(parts: Sequence[str], attributes: Collection[str] = ()) -> Iterator[tuple[int, str]]:
    """What is wrong with the parts of a `per`, by their number. `attributes` are those that callers surely have."""
    for number, part in enumerate(parts):
        if part in parts[:number]:
            yield number, f"{shown(part)} is there twice"
        hint = _hint(part, attributes)
        if hint or _plain(part) == "tier" or not part.isidentifier():
            allowed = f"; write {listed(PER)}, the name of an attribute, or a list of these"
            yield number, f"{shown(part)} can't be counted by{hint or allowed}"


def _hint(part: str, attributes: Collection[str]) -> str:
    """An attribute may come from the user's own identify, but one that is named nearly like a kind is a slip of the
    pen, and would be counted per identity without a word: organisation is near at 0.92, organization_id not at 0.89."""
    meant = _SPELLINGS.get(_plain(part), part)
    if meant != part:  # "API-Key", "apiKey"
        return f'; did you mean "{meant}"?'
    if part in PER or part in attributes:
        return ""
    return did_you_mean(part.lower(), PER, cutoff=0.9 if part.isidentifier() else 0.7)


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def wrong_operation(name: str, operations: Collection[str] | None) -> str | None:
    """What is wrong with an operation that a limit names; `operations` are those that it is for, None is all."""
    if name == EXEMPT:
        return f"{shown(name)} is what no limit applies to; write another operation"
    if operations is not None and name not in operations:
        return f"{shown(name)} is not one of the operations of this limit"
    return None
