"""Limits, instants and durations in words."""

from __future__ import annotations

import pytest

from ratelimit.explanation import words
from ratelimit.model import FOREVER


@pytest.mark.parametrize(
    ("length_ms", "said"),
    [(60_000, "minute"), (300_000, "5 minutes"), (86_400_000, "day"), (7_200_000, "2 hours"), (1_500, "1500 ms")],
)
def test_window(length_ms: int, said: str) -> None:
    """A window is told in its largest whole unit."""
    assert words.window(length_ms) == said


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
    assert words.span(length_ms) == said


def test_instants() -> None:
    """An instant is told in UTC, with milliseconds where it has some; none is beyond the year 9999."""
    assert words.instant(1_772_445_600_000) == "2026-03-02T10:00:00Z"
    assert words.instant(1_772_445_600_001) == "2026-03-02T10:00:00.001Z"
    assert words.instant(FOREVER) == "9999-12-31T23:59:59.000Z"
    assert words.end(FOREVER) == ""


def test_matched() -> None:
    """Whom an override is for; of an API key the first digits of its hash."""
    assert words.matched({"api_key": "0123456789abcdef", "seats": 3}) == "api_key = 01234567…, seats = 3"


def test_maxes_of_a_program() -> None:
    """A max that a program computes is told where it comes out without attributes."""
    assert words.written(lambda attributes: 7) == "7"
    assert words.written(lambda attributes: int(attributes["seats"])) == "computed"
