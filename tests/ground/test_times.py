"""Instants, periods and waits in words."""

from __future__ import annotations

import pytest

from ratelimit.ground.times import instant, length, period, second, span
from ratelimit.model import FOREVER


@pytest.mark.parametrize(
    ("length_ms", "said", "by_itself"),
    [
        (60_000, "minute", "1 minute"),
        (300_000, "5 minutes", "5 minutes"),
        (90_000, "90 seconds", "90 seconds"),
        (86_400_000, "day", "1 day"),
        (7_200_000, "2 hours", "2 hours"),
        (1_500, "1500 ms", "1500 ms"),
    ],
)
def test_periods(length_ms: int, said: str, by_itself: str) -> None:
    """In the largest whole unit: as a rate is written, and as a duration. What a file can't have, a program may."""
    assert period(length_ms) == said
    assert length(length_ms) == by_itself


@pytest.mark.parametrize(
    ("length_ms", "said"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (1, "1 s"),
        (44_200, "45 s"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h"),
        (90_061_000, "1 d 1 h"),
    ],
)
def test_span(length_ms: int, said: str) -> None:
    """A wait is told in two units, rounded up."""
    assert span(length_ms) == said


def test_instants() -> None:
    """In UTC, with milliseconds where there are some and they are asked for; none is beyond the year 9999."""
    assert instant(1_772_445_600_000) == "2026-03-02T10:00:00Z"
    assert instant(1_772_445_600_001) == "2026-03-02T10:00:00.001Z"
    assert second(1_772_445_600_001) == "2026-03-02T10:00:00Z"
    assert instant(FOREVER) == second(FOREVER) == "9999-12-31T23:59:59Z"
