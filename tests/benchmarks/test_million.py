"""Bytes a caller, pauses, what is used again: measured in processes of their own, and told with what disturbs them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import load, million, million_callers
from benchmarks.children import child

PART: dict[str, Any] = {
    "requests": 10,
    "callers": 10,
    "resident_mib": 100.0,
    "bytes": 400.4,
    "gap_ms": 3.0,
    "gap_cpu_ms": 1.0,
    "slowest_ms": 2.5,
    "slowest_cpu_ms": 0.5,
    "median_us": 7.77,
}
FILLED = {
    **PART,
    "idle_gap_ms": 4.0,
    "idle_gap_cpu_ms": 2.0,
    "idle_mib": 99.0,
    "again": {**PART, "resident_mib": 104.0, "gap_cpu_ms": 25.0},
}


def test_section() -> None:
    """Goals are held against the worse of both millions, by processor time, with the wall clock beside it."""
    section = million.section(PART, FILLED, {"asked": 350.0}, {**PART, "bytes": 1_000.0}, PART)
    bytes_, gap, slowest, again = section.figures
    assert (bytes_.value, bytes_.reached, bytes_.note) == (
        400,
        True,
        "with all 60 sub-windows used 1,000, of 10 callers",
    )
    assert (gap.value, gap.reached) == (25.0, False)
    assert gap.note == "of processor time; by the wall clock 3.0, in the loop without a store 3.0"
    assert (slowest.value, slowest.reached) == (0.5, True)
    assert (again.value, again.reached) == ("4.0%", True)
    (table,) = section.tables
    assert list(table.rows[1][1:]) == [10, 400, "1.0 (3.0)", "0.5 (2.5)", 7.8]
    assert "1,000,000 callers who use all of their sub-windows would take 954 MiB, extrapolated from 10" in table.note


def test_each_part_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million and another one, a loop without a store, one with a policy, one traced, one with all sub-windows."""
    orders: list[dict[str, object]] = []

    def found(_: object, module: str, order: str) -> dict[str, Any]:
        assert module == "benchmarks.million_callers"
        orders.append(json.loads(order))
        return {"asked": 350.0} if "trace" in orders[-1] else FILLED

    monkeypatch.setattr(million, "child", found)
    assert million.measure(short=True).name == "million"
    assert {"callers": 1_000_000, "again": True} in orders
    assert sorted(len(order) for order in orders) == [2] * 5
    assert any(order.get("sub_windows") == 60 for order in orders)


@pytest.mark.parametrize(
    ("order", "requests"),
    [({}, 1_500), ({"sub_windows": 3}, 4_500), ({"policy": True}, 1_500), ({"store": False}, 1_500)],
)
def test_a_few_callers(order: dict[str, object], requests: int) -> None:
    """In a process of their own, so that no other clock is moved: as many requests as callers and sub-windows."""
    found = child(sys.executable, "benchmarks.million_callers", json.dumps({"callers": 1_500, **order}))
    assert found["requests"] == requests
    assert found["gap_ms"] >= 0 <= found["gap_cpu_ms"]
    assert found["median_us"] > 0


def test_callers_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clocks are put past the end of the month; the others who come then are let through, too."""
    monkeypatch.setattr(million_callers, "IDLE", 0.01)
    monkeypatch.setattr(million_callers, "FIRST", 10)
    ahead = SimpleNamespace(ahead_ms=0, now_ms=lambda: time.time_ns() // 1_000_000 + ahead.ahead_ms)
    found = asyncio.run(million_callers.main({"callers": 300, "again": True}, ahead))  # type: ignore[arg-type]
    assert found["again"]["requests"] == 300
    assert ahead.ahead_ms == 1_000 * million_callers.EXPIRED
    assert found["idle_gap_ms"] >= 0 <= found["idle_gap_cpu_ms"]


def test_what_python_asks_for() -> None:
    """Of each caller some bytes, and without a store none to speak of."""
    held, nothing = (
        child(
            sys.executable, "benchmarks.million_callers", json.dumps({"callers": 2_000, "trace": True, "store": store})
        )
        for store in (True, False)
    )
    assert held["asked"] > 50 > abs(nothing["asked"])


def test_clocks_move_together() -> None:
    """What is put ahead is ahead for the store's clock and for time.monotonic, by the same."""
    program = (
        "import time; before = time.monotonic();"
        "from benchmarks.million_callers import Clocks; clocks = Clocks(); now = clocks.now_ms();"
        "clocks.ahead_ms += 3_600_000;"
        "print(clocks.now_ms() - now >= 3_600_000 and 3_600 <= time.monotonic() - before < 3_700,"
        " time.monotonic_ns() // 10**9 - int(time.monotonic()) in {0, 1})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=load.ROOT, env=load.ours({}), check=True, stdout=-1, text=True
    )
    assert done.stdout.split() == ["True", "True"]
    assert time.monotonic.__module__ == "time"


def test_the_slowest() -> None:
    """By either clock, of whichever request; some of all are kept for the median."""
    taken = million_callers.Taken()
    for number in range(2 * million_callers.SOME):
        taken.add(number * 1_000, 5_000 - number)
    assert (taken.requests, len(taken.some)) == (194, 2)
    assert (taken.slowest, taken.slowest_cpu) == (pytest.approx(0.193), pytest.approx(0.005))
