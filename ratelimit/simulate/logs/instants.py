"""The instants and durations of logs, in ms. Texts come again and again, so that what was read is remembered."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta, tzinfo

EARLIEST_MS, LATEST_MS = 10**11, 10**13  # of 1973 and 2286: what else a number may be, it is no instant of a log
LONGEST_MS = 40 * 86_400_000  # that a request takes
REMEMBERED = 8_192  # texts; then it begins anew
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_JANUARY_ON = "JanFebMarAprMayJunJulAugSepOctNovDec"
_MONTHS = {_JANUARY_ON[3 * n : 3 * n + 3]: n + 1 for n in range(12)}
_NUMBER = re.compile(r"-?\d{1,19}(?:\.\d{1,12})?")
_CLF = re.compile(r"(\d{1,2})/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?: ([+-])(\d\d):?(\d\d))?")
# The magnitude of a number tells its unit until the year 5138.
_UNITS = ((10**11, 1_000), (10**14, 1), (10**17, 1 / 1_000), (float("inf"), 1 / 1_000_000))


class Instants(dict[bytes | str | float, "int | None"]):
    """By what a log has, milliseconds since 1970; None for what is no time. Of a text without an offset, `zone` is the
    time zone; `folded` are the texts of an hour that its clocks show twice, and that is taken for the first."""

    def __init__(self, zone: tzinfo = UTC, facts: Counter[str] | None = None) -> None:
        super().__init__()
        self._zone = zone
        self._facts = Counter[str]() if facts is None else facts

    def __missing__(self, said: bytes | str | float) -> int | None:
        if len(self) >= REMEMBERED:
            self.clear()
        self[said] = made = _instant(said, self._zone)
        if made is not None and self._zone is not UTC:
            self._facts["folded"] += _shown_twice(made, self._zone)
        return made


class Durations(dict[bytes | str | float, int]):
    """By what a log has, ms; 0 for what is none. `per_ms` is how many of the unit are one: 0.001 for seconds."""

    def __init__(self, per_ms: float) -> None:
        super().__init__()
        self._per_ms = per_ms

    def __missing__(self, said: bytes | str | float) -> int:
        if len(self) >= REMEMBERED:
            self.clear()
        try:
            made = max(0, min(round(float(said) / self._per_ms), LONGEST_MS))
        except (ValueError, TypeError, OverflowError):
            made = 0
        self[said] = made
        return made


def _instant(said: bytes | str | float, zone: tzinfo) -> int | None:
    text = said.decode("latin-1") if isinstance(said, bytes) else str(said)
    try:
        if _NUMBER.fullmatch(text):
            return _of_number(float(text))
        clf = _CLF.fullmatch(text)
        if clf is None:
            at = datetime.fromisoformat(text.replace("/", "-"))
            return _since(at if at.tzinfo else at.replace(tzinfo=zone))
        day, month, year, hour, minute, second, fraction, sign, hours, minutes = clf.groups()
        at = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), tzinfo=UTC if sign else zone)
        away = (int(hours) * 60 + int(minutes)) * (-60_000 if sign == "+" else 60_000) if sign else 0
        # a leap second is the second after it
        inside = int(second) * 1_000 + int(f"{fraction or 0:0<3}"[:3])
        return _since(at + timedelta(milliseconds=away + inside))
    except (ValueError, KeyError, OverflowError):
        return None


def _shown_twice(at_ms: int, zone: tzinfo) -> bool:
    at = datetime.fromtimestamp(at_ms // 1_000, zone)
    return at.utcoffset() != at.replace(fold=1 - at.fold).utcoffset()


def _since(at: datetime) -> int | None:
    made = (at - _EPOCH) // timedelta(milliseconds=1)
    return made if EARLIEST_MS <= made < LATEST_MS else None


def _of_number(number: float) -> int | None:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970."""
    times = next(times for below, times in _UNITS if number < below)
    made = round(number * times)
    return made if EARLIEST_MS <= made < LATEST_MS else None
