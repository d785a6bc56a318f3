"""What the denials of one caller look like: a burst at a certain second of the minute or minute of the hour, a client
that asks again at once, or more than it may all the time."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

ONE_BURST, RETRIES, STEADY, UNEVEN = "one burst", "retry loop", "steady", "uneven"
RARE, NOT_LOOKED_AT = "now and then", "not looked at"
MOST = 0.7  # of the denials make a pattern
WIDE_S = 10  # seconds of a minute that a burst has
WIDE_MIN = 2  # minutes of an hour
FEW = 5  # denials are no pattern
AGAIN = 3  # times that a burst comes
SHORT = 2  # minutes that one burst has

SECOND, MINUTE = 1_000, 60_000


class Shape:
    """Of one caller, from its first denial on."""

    __slots__ = (
        "_after_admitted_ms", "_after_denied_ms", "_again", "_asked", "_first_ms", "_hours_of", "_last_call",
        "_last_denied", "_last_minute", "_last_ms", "_last_second", "_minutes", "_minutes_of", "_seconds", "_until_ms",
        "admitted", "denied",
    )  # fmt: skip

    def __init__(self) -> None:
        self.denied = self.admitted = 0
        self._asked = _counts()  # requests by second of the minute,
        self._seconds = _counts()  # denials by that,
        self._minutes_of = _counts()  # and minutes in which this second had one;
        self._minutes = _counts()  # denials by minute of the hour,
        self._hours_of = _counts()  # and hours in which this minute had one
        self._first_ms = self._last_ms = self._last_minute = self._last_second = self._until_ms = -1
        self._again = 0  # denials of the same call before the wait of the one before was over
        self._last_call = b""
        self._last_denied = False
        self._after_denied_ms = self._after_admitted_ms = 0  # until the next request, in all

    def deny(self, now_ms: int, call: bytes, wait_ms: int) -> None:
        self._ask(now_ms)
        self._last_denied = True
        self.denied += 1
        if self._first_ms < 0:
            self._first_ms = now_ms
        second, minute = now_ms // SECOND, now_ms // MINUTE
        self._seconds[second % 60] += 1
        self._minutes[minute % 60] += 1
        if second != self._last_second:
            self._last_second = second
            self._minutes_of[second % 60] += 1
        if minute != self._last_minute:
            self._last_minute = minute
            self._hours_of[minute % 60] += 1
        if call == self._last_call and now_ms < self._until_ms:
            self._again += 1
        self._last_call, self._until_ms = call, now_ms + wait_ms

    def admit(self, now_ms: int) -> None:
        self._ask(now_ms)
        self._last_denied = False
        self.admitted += 1

    def _ask(self, now_ms: int) -> None:
        self._asked[now_ms // SECOND % 60] += 1
        if self._last_ms >= 0:
            if self._last_denied:
                self._after_denied_ms += now_ms - self._last_ms
            else:
                self._after_admitted_ms += now_ms - self._last_ms
        self._last_ms = now_ms

    def pattern(self) -> str:
        """`burst at :00`, or one of the words above."""
        if self.denied < FEW:
            return RARE
        minute = densest(self._minutes, self._hours_of, WIDE_MIN, self.denied)
        if minute is not None:
            return f"burst at minute {minute} of the hour" if minute else "burst at the hour"
        second = densest(self._seconds, self._minutes_of, WIDE_S, self.denied)
        if second is not None:
            began = densest(self._asked, self._asked, WIDE_S, self.denied + self.admitted)  # before one was denied
            return f"burst at :{second if began is None else began:02d}"
        if self._last_minute - self._first_ms // MINUTE < SHORT:
            return ONE_BURST
        if self._retries():
            return RETRIES
        return STEADY if self._is_even() else UNEVEN

    def _retries(self) -> bool:
        """The same call again before its time, and faster than this caller asks otherwise."""
        if self._again < MOST * self.denied:
            return False
        if not self.admitted:
            return True
        return self._after_denied_ms / self.denied <= 0.5 * self._after_admitted_ms / self.admitted

    def _is_even(self) -> bool:
        """No half of the minute has much more of it."""
        twice = [*self._seconds, *self._seconds]
        return max(sum(twice[at : at + 30]) for at in range(0, 60, 10)) < MOST * self.denied


def _counts() -> array[int]:
    return array("I", bytes(4 * 60))


def densest(counts: Sequence[int], times: Sequence[int], wide: int, total: int) -> int | None:
    """Where most of `counts` begins, on a clock that goes round; None where no part so wide has most of it, or that did
    not come again: `times` says how often there was any."""
    twice = [*counts, *counts]
    sums = [sum(twice[at : at + wide]) for at in range(len(counts))]
    best = max(range(len(counts)), key=lambda at: (sums[at], -at))
    if sums[best] < MOST * total:
        return None
    while not twice[best]:
        best += 1
    return best % len(counts) if max([*times, *times][best : best + wide]) >= AGAIN else None
