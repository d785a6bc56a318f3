"""What the denials of one caller look like: a burst at a certain second of the minute or minute of the hour, a client
that asks again at once, or more than it may all the time."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

ONE_BURST, RETRIES, STEADY, UNEVEN, NOT_LOOKED_AT = "one burst", "retry loop", "steady", "uneven", "not looked at"
MOST = 0.7  # of the denials make a pattern
WIDE_S = 10  # seconds of a minute that a burst has
WIDE_MIN = 2  # minutes of an hour
FEW = 5  # denials are no pattern

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000


class Shape:
    __slots__ = (
        "_after_admitted_ms",
        "_after_denied_ms",
        "_again",
        "_last_call",
        "_last_denied",
        "_last_hour",
        "_last_minute",
        "_last_ms",
        "_minutes",
        "_seconds",
        "_until_ms",
        "admitted",
        "denied",
        "first_ms",
        "hours",
        "last_ms",
        "minutes",
    )  # fmt: skip

    def __init__(self) -> None:
        self._seconds = array("I", bytes(4 * 60))  # denials by second of the minute,
        self._minutes = array("I", bytes(4 * 60))  # and by minute of the hour
        self.denied = self.admitted = 0
        self.minutes = self.hours = 0  # in which there were denials
        self.first_ms = self.last_ms = -1
        self._last_minute = self._last_hour = -1
        self._again = 0  # denials of the same call before the wait of the one before was over
        self._last_call = b""
        self._until_ms = -1
        self._last_ms = -1
        self._last_denied = False
        self._after_denied_ms = self._after_admitted_ms = 0

    def deny(self, now_ms: int, call: bytes, wait_ms: int) -> None:
        self._gap(now_ms)
        self._last_denied = True
        self.denied += 1
        if self.first_ms < 0:
            self.first_ms = now_ms
        self.last_ms = now_ms
        self._seconds[now_ms // SECOND % 60] += 1
        minute, hour = now_ms // MINUTE, now_ms // HOUR
        self._minutes[minute % 60] += 1
        if minute != self._last_minute:
            self._last_minute = minute
            self.minutes += 1
        if hour != self._last_hour:
            self._last_hour = hour
            self.hours += 1
        if call == self._last_call and now_ms < self._until_ms:
            self._again += 1
        self._last_call, self._until_ms = call, now_ms + wait_ms

    def admit(self, now_ms: int) -> None:
        self._gap(now_ms)
        self._last_denied = False
        self.admitted += 1

    def _gap(self, now_ms: int) -> None:
        if self._last_ms >= 0:
            if self._last_denied:
                self._after_denied_ms += now_ms - self._last_ms
            else:
                self._after_admitted_ms += now_ms - self._last_ms
        self._last_ms = now_ms

    def pattern(self) -> str:
        """`burst at :00`, or one of the words above."""
        if self.denied >= FEW and self.minutes >= 3:
            second = densest(self._seconds, WIDE_S, self.denied)
            minute = densest(self._minutes, WIDE_MIN, self.denied)
            if minute is not None and self.hours >= 3:
                return f"burst at the hour, minute {minute:02d}" if minute else "burst at the hour"
            if second is not None:
                return f"burst at :{second:02d}"
        if self.last_ms - self.first_ms < MINUTE and self.denied >= FEW:
            return RETRIES if self._retries() and self.last_ms - self.first_ms >= WIDE_S * SECOND else ONE_BURST
        if self.denied < FEW:
            return UNEVEN
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


def densest(counts: Sequence[int], wide: int, total: int) -> int | None:
    """Where most of it begins, on a clock that goes round; None where no part so wide has most of it."""
    twice = [*counts, *counts]
    sums = [sum(twice[at : at + wide]) for at in range(len(counts))]
    best = max(range(len(counts)), key=lambda at: (sums[at], -at))
    if sums[best] < MOST * total:
        return None
    while not twice[best]:
        best += 1
    return best % len(counts)
