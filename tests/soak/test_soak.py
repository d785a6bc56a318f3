"""The soak sees what grows and what is left behind; a minute of it is a proof, and ten are `make soak`."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.matrix import POLICIES
from tests.soak.__main__ import text
from tests.soak.run import Look, Report, Soaked, broken, soak


@pytest.mark.proof
def test_a_minute() -> None:
    """It runs: faults are done, callers are answered, every app is looked into, and nothing is left behind."""
    report = soak(minutes=1, seed=11, policies=POLICIES)
    assert report.faults
    assert [app.on_failure for app in report.apps] == list(POLICIES)
    assert all(app.statuses[200] and len(app.looks) >= 4 for app in report.apps)
    assert broken(report, most_kib=2**30) == [], text(report)  # of a minute the slope says nothing: caches fill


def app(*looks: Look, on_failure: str = "allow", statuses: dict[int, int] | None = None) -> Soaked:
    return Soaked(on_failure, list(looks), Counter(statuses or {200: 9}))


def look(minute: float, memory_kib: int = 50_000, tasks: int = 5, files: int = 16) -> Look:
    return Look(60 * minute, memory_kib, tasks, files)


def report(one: Soaked, leases: int = 0) -> Report:
    return Report(7, Counter({"killed": 2}), [one], leases)


def test_the_slope() -> None:
    """In KiB a minute, of what comes after the app is warm; a step while it warms up is none."""
    grows = app(*[look(minute, 50_000 + 300 * minute) for minute in range(10)])
    assert grows.slope == pytest.approx(300)
    assert grows.minutes == 6
    warms = app(look(0, 40_000), *[look(minute) for minute in range(3, 10)])
    assert warms.slope == pytest.approx(0)
    assert app(look(0)).slope == 0


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (report(app(look(0), look(5), look(9))), []),
        (report(app(look(0), look(5, tasks=99, files=99), look(9))), []),  # under load there are more of them
        (report(app(look(0), look(9)), leases=1), ["1 leases"]),
        (report(app(look(0), look(9, tasks=6))), ["6 tasks"]),
        (report(app(look(0), look(9, files=17))), ["17 open files"]),
        (report(app(*[look(minute, 50_000 + 600 * minute) for minute in range(10)])), ["600 KiB a minute"]),
        (report(app(look(0), statuses={200: 1, 500: 1})), ["500"]),
        (report(app(look(0), statuses={200: 1, 503: 1})), ["503"]),
        (report(app(look(0), on_failure="deny", statuses={200: 1, 503: 1})), []),
    ],
)
def test_what_is_broken_is_seen(seen: Report, expected: list[str]) -> None:
    """Each thing that may not grow or be left behind is told, and a clean report tells nothing."""
    told = broken(seen)
    assert len(told) == len(expected)
    assert all(part in one for part, one in zip(expected, told, strict=True)), told


def test_the_report() -> None:
    """It has the seed that gives the same faults again, and the slope."""
    shown = text(report(app(*[look(minute, 50_000 + 300 * minute) for minute in range(10)])))
    assert "seed 7" in shown
    assert "2 x killed" in shown
    assert "slope +300 KiB a minute over the last 6.0 minutes" in shown
