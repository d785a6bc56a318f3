"""Limits in words."""

from __future__ import annotations

from ratelimit.explanation import words
from ratelimit.model import FOREVER


def test_end() -> None:
    """What has no end is said to have none."""
    assert words.end(FOREVER) == ""
    assert words.end(1_772_445_600_000) == " until 2026-03-02T10:00:00Z"


def test_matched() -> None:
    """Whom an override is for; of an API key the first digits of its hash."""
    assert words.matched({"api_key": "0123456789abcdef", "seats": 3}) == "api_key = 01234567…, seats = 3"


def test_maxes_of_a_program() -> None:
    """A max that a program computes is told where it comes out without attributes."""
    assert words.written(lambda attributes: 7) == "7"
    assert words.written(lambda attributes: int(attributes["seats"])) == "computed"
