"""The worst of any window is found, and the caller that looks for it comes the same way each time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import strictness
from benchmarks.strictness import SECOND, schedule, worst_in_any


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(1, 20))
def test_the_worst_of_any_window(instants: list[int], length: int) -> None:
    """The same as counting in every half-open interval of the length."""
    brute = max((sum(since <= at < since + length for at in instants) for since in range(-20, 61)), default=0)
    assert worst_in_any(instants, length) == brute


def test_two_bursts_around_an_edge() -> None:
    """What a fixed window admits is found, and bursts a window apart are not one."""
    assert worst_in_any([99] * 100 + [100] * 100, 100) == 200
    assert worst_in_any([0] * 100 + [100] * 100, 100) == 100
    assert worst_in_any([], 100) == 0


def test_stretches() -> None:
    """Stretches and pauses follow each other, over all of the time, and are the same for the same dice."""
    stretches = schedule(random.Random(1), seconds=20)
    assert stretches == schedule(random.Random(1), seconds=20)
    edges = [edge for stretch in stretches for edge in stretch]
    assert edges == sorted(edges)
    assert 16 * SECOND < edges[-1] < 22 * SECOND


def test_only_ours_has_a_goal() -> None:
    """A peer that admits more is shown, and no goal of ours; one of ours that does has missed its goal."""
    rows = [
        ("ratelimit", 100, 104, 900),
        ("ratelimit, reserve", 101, 104, 900),
        ("limits, fixed window", 200, 200, 900),
    ]
    section = strictness.section(rows, 9)
    assert [(figure.value, figure.reached) for figure in section.figures] == [(100, True), (101, False)]
    assert section.plots[0].series["admitted"][-1] == ("limits, fixed window", 200)


def test_the_interval_is_named() -> None:
    """What is judged is the count in the window less the jitter of our notes; that of the full window stands beside."""
    section = strictness.section([("ratelimit", 100, 104, 900)], 9)
    assert section.figures[0].note == "in 950 ms of our notes; the window is 1,000 ms"
    assert "in any 950 ms of our notes; the window is 1,000 ms" in section.plots[0].title
    columns = ("algorithm", "worst admitted in any 950 ms", "worst admitted in any 1,000 ms", "admitted in all")
    assert (section.tables[0].columns, section.tables[0].rows) == (columns, [("ratelimit", 100, 104, 900)])


def test_both_intervals_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst at each end of 980 ms is one in the full window, and two in the shorter one."""
    ms = 1_000_000
    monkeypatch.setattr(strictness, "run", lambda *_: [0] * 60 + [980 * ms] * 50)
    monkeypatch.setattr(strictness, "ALGORITHMS", ["ratelimit"])
    assert strictness.measure(short=True).tables[0].rows == [("ratelimit", 60, 110, 110)]
