"""The verdict in one sentence, and instants, durations and shares as they are told."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ratelimit.simulate.analysis.found import Found
from ratelimit.simulate.analysis.pair import Against
from ratelimit.simulate.report.words import changes, date, duration, instant, of_max, percent, verdict
from tests.simulate.analysis import HOUR, MINUTE, T

DAY = 24 * HOUR


def said(patterns: dict[str, int], last: int = T + DAY, **rest: Any) -> str:
    hit = sum(patterns.values())
    first = (T + DAY - 58 * MINUTE, "organization=acme") if hit else None
    given = {"requests": 100_000, "denied": 40, "callers": 1_240, "callers_denied": hit, "first": first, **rest}
    return verdict(Found(patterns=Counter(patterns), **given), T, last)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ({"burst at :00": 3}, "all three are bursts at :00."),
        ({"burst at the hour": 2}, "both are bursts at the hour."),
        ({"burst at the hour": 1}, "it is a burst at the hour."),
        ({"retry loop": 1}, "it is a retry loop."),
        ({"steady": 12}, "all 12 are steadily above their max."),
        ({"steady": 1}, "it is steadily above its max."),
        (
            {"retry loop": 5, "one burst": 1, "uneven": 2, "now and then": 4},
            "five are retry loops, four are denied now and then, two are uneven.",
        ),
        ({"not looked at": 9, "one burst": 1}, "nine are too many to look at, one is a single burst."),
    ],
)
def test_verdict(patterns: dict[str, int], expected: str) -> None:
    """How many callers, which part of the requests, when first, and what these callers have in common."""
    many, whole = f"{sum(patterns.values()):,} of 1,240 callers", "0.04 % of requests, first Mon 09:02"
    assert said(patterns) == f"{many} would be denied, {whole}; {expected}"


def test_nobody() -> None:
    """Where nobody would be denied that is said, with how much was looked at; in shadow it is told besides."""
    assert said({}) == "Nobody would be denied: 1,240 callers, 100,000 requests."
    shadow = said({}, callers=1, requests=1, would_deny=1)
    assert shadow == "Nobody would be denied: 1 caller, 1 request; limits in shadow would deny 1 more."
    assert said({"uneven": 1}, would_deny=2_000).endswith("it is uneven; limits in shadow would deny 2,000 more.")
    assert said({}, requests=0) == "No request of the log is limited by this policy."


def test_of_a_long_log() -> None:
    """Of a week and more the first denial has its date."""
    assert ", first Mon 2 Mar 09:02;" in said({"uneven": 1}, last=T + 9 * DAY)
    assert ", first Mon 2 Mar 09:02;" in verdict(
        Found(
            requests=9,
            denied=1,
            callers=1,
            callers_denied=1,
            patterns=Counter(uneven=1),
            first=(T + 23 * HOUR + 2 * MINUTE, "x"),
        ),
        None,
        None,
    )


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        *((0, "0 ms"), (999, "999 ms"), (1_000, "1 s"), (1_250, "1.25 s"), (59_600, "59.6 s"), (60_000, "1 min")),
        *((250_000, "4 min 10 s"), (HOUR, "1 h"), (HOUR + 5 * MINUTE, "1 h 5 min"), (9 * DAY + HOUR, "9 d 1 h")),
    ],
)
def test_duration(ms: int, expected: str) -> None:
    """In its two largest units."""
    assert duration(ms) == expected


def test_instants() -> None:
    """In UTC, whatever the locale and the time zone of the machine."""
    assert (instant(T), date(T)) == ("Sun 1 Mar 10:00", "2026-03-01 10:00")


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 9, "0 %"),
        (3, 0, "0 %"),
        (1, 100_000, "less than 0.01 %"),
        (4, 10_000, "0.04 %"),
        (1, 3, "33 %"),
        (9, 9, "100 %"),
    ],
)
def test_percent(part: int, whole: int, expected: str) -> None:
    """With two digits, and no 0 for what is not nothing."""
    assert percent(part, whole) == expected


def test_of_max() -> None:
    """A part of a max, also far above it; of a max of 0 there is none."""
    assert [of_max(share) for share in (0.0012, 0.5, 4.07, 12_345.0, float("inf"))] == [
        "0.12 %", "50 %", "407 %", "1,234,500 %", "closed",
    ]  # fmt: skip


def test_changes() -> None:
    """What another policy makes of it."""
    told = changes(Against(1, 2, 3, 4_000, 1))
    assert told == (
        "1 caller newly denied, 2 no longer, 3 more or less often; 4,000 requests newly denied, 1 no longer."
    )
