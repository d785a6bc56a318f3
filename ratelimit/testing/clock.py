"""The clock of a test: it stands where it is put."""

from __future__ import annotations

from datetime import datetime

from ratelimit.checks.durations import duration

START = "2026-03-02T10:00:00Z"  # a Monday, far from the edges of every period


class Clock:
    """`now_ms` is in milliseconds since 1970. A `start` is that, a datetime with an offset, or a text such as
    `2026-03-02T10:00:00Z`. ValueError for a time without an offset, and for a step back."""

    def __init__(self, start: int | str | datetime = START) -> None:
        self.now_ms = _instant(start)

    def __call__(self) -> int:
        """As the memory store asks it."""
        return self.now_ms

    def advance(self, by: int | str) -> int:
        """Go on by so many milliseconds, or by `"1m"`: a whole number and ms, s, m, h or d. Returns the new now."""
        step = duration(by) if isinstance(by, str) else by
        if step < 0:
            raise ValueError(f"{step} ms is a step back; put the clock there with .set(...)")
        self.now_ms += step
        return self.now_ms

    def set(self, to: int | str | datetime) -> int:
        """Put it somewhere else, also back: as a `start`."""
        self.now_ms = _instant(to)
        return self.now_ms


def _instant(given: int | str | datetime) -> int:
    if isinstance(given, int):
        return given
    instant = datetime.fromisoformat(given) if isinstance(given, str) else given
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no offset; write {instant.isoformat()}Z if it is UTC")
    return round(instant.timestamp() * 1000)
