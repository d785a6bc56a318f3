"""Instants and durations, however a log writes them."""

from __future__ import annotations

from collections import Counter
from zoneinfo import ZoneInfo

import pytest

from ratelimit.simulate.logs.instants import REMEMBERED, Durations, Instants

AT = 1_772_445_600_000  # 2026-03-02T10:00:00Z


@pytest.mark.parametrize(
    ("said", "at"),
    [
        (b"02/Mar/2026:10:00:00 +0000", AT),
        (b"02/Mar/2026:10:00:00.250 +0000", AT + 250),
        (b"02/Mar/2026:02:00:00 -0800", AT),
        (b"02/Mar/2026:10:00:60 +0000", AT + 60_000),  # a leap second is the second after it
        ("2026-03-02T10:00:00Z", AT),
        ("2026-03-02T10:00:00.250999Z", AT + 250),
        ("2026-03-02 10:00:00,250", AT + 250),
        ("2026-03-02T11:00:00+01:00", AT),
        (b"2026/03/02 10:00:00", AT),
        (b"2026-03-02\t10:00:00", AT),
        (1_772_445_600, AT),
        (1_772_445_600.25, AT + 250),
        ("1772445600.250", AT + 250),
        (1_772_445_600_250, AT + 250),
        ("1772445600250000", AT + 250),
        (1_772_445_600_250_000_000, AT + 250),
    ],
)
def test_instants(said: bytes | str | float, at: int) -> None:
    """Seconds, milliseconds, micro- and nanoseconds since 1970, ISO 8601, and the format of CLF."""
    assert Instants()[said] == at


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"-",
        5,
        10**30,
        "1e400",
        "soon",
        b"32/Mar/2026:10:00:00 +0000",
        b"02/Mai/2026:10:00:00 +0000",
        0,
        -5,
        float("nan"),
        b"\xff",
    ],
)
def test_what_is_no_instant(said: bytes | str | float) -> None:
    """It is none, and no error."""
    assert Instants()[said] is None


def test_before_1970() -> None:
    """There were no logs then."""
    assert Instants()["1969-12-31T00:00:00Z"] is None
    assert Instants()[b"01/Jan/1960:00:00:00 +0000"] is None


def test_zone() -> None:
    """A time without an offset is in the zone that is given; one with an offset is where it says."""
    instants = Instants(ZoneInfo("Europe/Madrid"))
    assert instants["2026-03-02 11:00:00"] == AT
    assert instants[b"02/Mar/2026:11:00:00"] == AT
    assert instants["2026-03-02T10:00:00Z"] == AT


def test_an_hour_that_clocks_show_twice() -> None:
    """It is taken for the first of the two, which is counted, to be told; an hour before and after it is not."""
    facts: Counter[str] = Counter()
    instants = Instants(ZoneInfo("Europe/Madrid"), facts)
    first, _, _ = [instants[f"2026-10-25 0{hour}:30:00"] for hour in (2, 1, 3)]
    assert first == Instants()["2026-10-25T00:30:00Z"]
    assert facts["folded"] == 1
    assert instants["2026-10-25 soon"] is None


@pytest.mark.parametrize(
    ("per_ms", "said", "ms"),
    [
        (0.001, b"0.250", 250),
        (0.001, b"-", 0),
        (1.0, 250, 250),
        (1_000.0, b"250400", 250),
        (1_000_000.0, 250_600_000, 251),
        (0.001, -1, 0),
        (0.001, "nan", 0),
        (0.001, "inf", 0),
    ],
)
def test_durations(per_ms: float, said: bytes | str | float, ms: int) -> None:
    """In whole milliseconds; what is none is 0."""
    assert Durations(per_ms)[said] == ms


def test_what_is_remembered_is_bounded() -> None:
    """A log with another time in each line fills no memory."""
    instants, durations = Instants(), Durations(1.0)
    for number in range(REMEMBERED + 10):
        assert instants[AT + number] == AT + number
        assert durations[number] == number
    assert max(len(instants), len(durations)) <= REMEMBERED
