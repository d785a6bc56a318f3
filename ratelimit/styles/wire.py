"""What the styles share: numbers, dates and headers as they go over the wire.

Whole seconds are always rounded up, so that a client that waits for what it was told is let through: `Retry-After` is a
duration of at least 1, an instant is the first whole second at or after the true one. With 44,200 ms to wait at 15.3 s,
`Retry-After` is 45 and the instant is 60 (of 59.5): waiting for either is enough.

An instant that a client may wait for is the clock of this process, which the `Date` beside it tells, plus a duration:
the store's clock may be seconds away, and a date that has passed makes a client come back at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache, wraps
from http import HTTPStatus
from time import time_ns
from typing import Any, TypeVar

from ratelimit.model import Answer, Decision, Headers, Identity, State

CONTENT_TYPE_JSON = (b"content-type", b"application/json")
RETRY_IN_A_SECOND = (b"retry-after", b"1")  # of every 503: the store is found back within a second
EPOCH = datetime.fromtimestamp(0, UTC)
TOLD = 256  # denials that are remembered
MAX_RETRY_AFTER = 2_073_600  # seconds, 24 days: what a wait is told as at most, unless a style says otherwise
LARGEST_MAX_RETRY_AFTER = 2_147_000  # the timers of JavaScript fire at once above 2**31 - 1 ms, which are 2,147,483 s
LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z, the last instant that either date format can say

_S = TypeVar("_S")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

_compact = json.JSONEncoder(separators=(",", ":")).encode


Denied = Callable[[_S, Decision, Identity, str], Answer]


def made_once(denied: Denied[_S]) -> Denied[_S]:
    """For a denial without a log id: of one Decision for one caller the answer is made once in a millisecond. On Redis
    who floods is denied by the same Decision for as long, which is some thirty times."""
    told: dict[int, tuple[_S, Decision, Identity, int, Answer]] = {}  # by the id of a Decision that is held here

    @wraps(denied)
    def told_again(style: _S, decision: Decision, identity: Identity, log_id: str) -> Answer:
        known, now = told.get(id(decision)), now_ms()
        if not (known and known[0] is style and known[1] is decision and known[2] == identity and known[3] == now):
            if len(told) >= TOLD:
                told.clear()
            answer = denied(style, decision, identity, log_id)
            told[id(decision)] = known = style, decision, identity, now, answer
        status, headers, body = known[4]
        return Answer(status, [*headers], body)  # the list is the caller's to change

    return told_again


def now_ms() -> int:
    """The clock of this process, in milliseconds since 1970."""
    return time_ns() // 1_000_000


def most_of(style: object) -> int:
    """The seconds that a style tells as a wait at most; of one that adds to another's headers, that one's."""
    while (inner := getattr(style, "style", None)) is not None:
        style = inner
    most: int = getattr(style, "max_retry_after", MAX_RETRY_AFTER)
    return most


def check_options(max_retry_after: int, never: int) -> None:
    """The options that every style has."""
    if type(max_retry_after) is not int or not 1 <= max_retry_after <= LARGEST_MAX_RETRY_AFTER:
        raise ValueError(
            f"max_retry_after is a whole number of seconds, at least 1 and at most {LARGEST_MAX_RETRY_AFTER};"
            f" it is {max_retry_after!r}"
        )
    if type(never) is not int or never not in {403, 429}:
        raise ValueError(f"never is the status of what can never pass, 403 or 429; it is {never!r}")


def seconds(duration_ms: int) -> int:
    """A duration in whole seconds, rounded up, at least 1: 44,200 ms are 45 s."""
    return -(-duration_ms // 1000) if duration_ms > 0 else 1


def wait(duration_ms: int, most: int) -> int:
    """A wait as it is told: in whole seconds, `most` at most."""
    return min(seconds(duration_ms), most)


def epoch(instant_ms: int) -> int:
    """The first whole second since 1970 that is not before an instant."""
    return -(-instant_ms // 1000)


def http_date(instant_ms: int) -> str:
    """IMF-fixdate of RFC 9110 section 5.6.7: `Wed, 15 Jul 2020 15:04:05 GMT`."""
    return _http_date(epoch(instant_ms))


def rfc3339(instant_ms: int) -> str:
    """RFC 3339 in UTC, without a fraction: `2025-01-15T10:30:00Z`."""
    return _rfc3339(epoch(instant_ms))


# A caller that floods is told the same second again and again.
@lru_cache(maxsize=256)
def _http_date(second: int) -> str:
    return format_datetime(_datetime(second), usegmt=True)


@lru_cache(maxsize=256)
def _rfc3339(second: int) -> str:
    return f"{_datetime(second):%Y-%m-%dT%H:%M:%SZ}"


def _datetime(second: int) -> datetime:
    # Not fromtimestamp(): it ends with the year 3000 on Windows.
    return EPOCH + timedelta(seconds=min(second, LAST_SECOND))


def compact_json(document: Mapping[str, Any]) -> bytes:
    """JSON without white space, in ASCII: a name with a lone surrogate must not turn a 429 into a 500."""
    return _compact(document).encode("ascii")


def phrase(status: int) -> str:
    """`Bad Request`, of 400; of a status that has no phrase, its number."""
    return _PHRASES.get(status, str(status))


def retry_after(duration_ms: int | None, most: int = MAX_RETRY_AFTER) -> Headers:
    """`Retry-After` in seconds; nothing for a request that can never pass."""
    return [] if duration_ms is None else [(b"retry-after", b"%d" % wait(duration_ms, most))]


def denied_by(decision: Decision) -> State:
    """The limit whose code and body are told."""
    denying = decision.denying
    if denying is None:
        raise ValueError("denied() needs a Decision in which an enforced limit is exceeded; in this one none is")
    return denying


def can_never_pass(cost: int, maximum: int) -> str:
    """The message for a cost above the max, with both: waiting is no use, a smaller request or a larger limit is.
    A cost that is not above it finds no room before a limit changes for good."""
    if maximum == 0:
        return "This request can never pass: its limit is closed."
    if cost <= maximum:
        return "This request can never pass: before there is room for it, its limit is lowered."
    return f"This request can never pass: it costs {cost} and its limit allows {maximum}."
