"""The memory store at a million callers: bytes a caller, the longest pause, and whether what has expired is used again.

Each part is measured in a process of its own: `python -m benchmarks.million_callers ORDER`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.children import child
from benchmarks.million_callers import IDLE
from benchmarks.section import Cell, Figure, Section, Table

CALLERS = 1_000_000
SPREAD = {"short": 5_000, "full": 50_000}  # callers who use each of their 60 sub-windows
ASKED = 50_000  # callers of the process in which the allocations of Python are traced
GOAL = 500  # bytes a caller after one request each
PAUSE = 20.0  # ms
REUSED = 0.05  # of what a million callers take, at most: what another million may add once these have expired

TEXT = """\
Each caller has two limits, a rate a minute in 60 sub-windows and a monthly quota, and makes one request:
`MemoryStore.acquire` in one asyncio loop with a ticker of 1 ms, the garbage collector at its defaults. Bytes are
what the process has grown by, resident, over the callers. The longest gap is that between two ticks less the
millisecond, the slowest request the longest `acquire`, both in milliseconds of processor time and, in brackets, by
the wall clock, in which a process on a busy machine also waits for its turn: the goals are held against the first.
The first row is the same loop without a store. The charges are made by hand, so that what is measured is the store;
in the row with a policy it makes them, and remembers the callers of late, which collections of garbage look at too.

Then both clocks, the store's and that of the process, are put past the end of the month; the loop is left idle for
some seconds, and another million callers come."""

Found = Mapping[str, Any]


def measure(*, short: bool) -> Section:
    spread = SPREAD["short" if short else "full"]
    nothing = _found(callers=ASKED, store=False)
    filled = _found(callers=CALLERS, again=True)
    traced = _found(callers=ASKED, trace=True)
    used = _found(callers=spread, sub_windows=60)
    policy = _found(callers=ASKED, policy=True)
    return section(nothing, filled, traced, used, policy)


def section(nothing: Found, filled: Found, traced: Found, used: Found, policy: Found) -> Section:
    each, again = filled["bytes"], filled["again"]
    asked = traced["asked"]
    rows: list[Sequence[Cell]] = [
        _row("no store: the loop and its ticker", nothing),
        _row(f"{CALLERS:,} callers, one request each", filled),
        _row(f"{ASKED:,} callers, with a policy that makes the charges", policy),
        _row(f"another {CALLERS:,}, after these have expired", again),
        _row(f"{used['callers']:,} callers, a request in each of 60 sub-windows", used),
    ]
    columns = ("", "requests", "bytes a caller", "longest gap, ms", "slowest request, ms", "median request, µs")
    note = (
        f"After one request each Python itself asked for {asked:,.0f} bytes a caller. The process had"
        f" {filled['resident_mib']:,.0f} MiB more with {CALLERS:,} callers, {filled['idle_mib']:,.0f} MiB more after"
        f" {IDLE:.0f} idle seconds past their expiry, in which the longest gap was {filled['idle_gap_cpu_ms']:.1f} ms"
        f" ({filled['idle_gap_ms']:.1f}), and {again['resident_mib']:,.0f} MiB more with"
        f" another {CALLERS:,}. {CALLERS:,} callers who use all of their sub-windows would take"
        f" {used['bytes'] * CALLERS / 2**20:,.0f} MiB, extrapolated from {used['callers']:,}."
    )
    table = Table("Memory and pauses", columns, rows, note)
    gap, slowest = (max(part[name] for part in (filled, again)) for name in ("gap_cpu_ms", "slowest_cpu_ms"))
    gap = max(gap, round(filled["idle_gap_cpu_ms"], 2))
    grown = (again["resident_mib"] - filled["resident_mib"]) / filled["resident_mib"]
    what = f"memory store, {CALLERS:,} callers"
    figures = [
        Figure(
            f"{what}: bytes a caller after one request each",
            f"<= {GOAL}",
            round(each),
            each <= GOAL,
            f"with all 60 sub-windows used {used['bytes']:,.0f}, of {used['callers']:,} callers",
        ),
        _pause(f"{what}: longest gap of a 1-ms ticker, ms", gap, "gap_ms", filled, nothing),
        _pause(f"{what}: slowest request, ms", slowest, "slowest_ms", filled, nothing),
        Figure(
            f"{what}: what another million adds once these have expired",
            f"<= {REUSED:.0%}",
            f"{grown:.1%}",
            grown <= REUSED,
        ),
    ]
    raw = {
        "nothing": dict(nothing),
        "filled": dict(filled),
        "traced": dict(traced),
        "sub_windows": dict(used),
        "policy": dict(policy),
    }
    return Section("million", "The memory store at a million callers", TEXT, [table], [], figures, raw)


def _found(**order: object) -> Found:
    print(f"million: {', '.join(f'{name} {value}' for name, value in order.items())}", file=sys.stderr)
    found: Found = child(sys.executable, "benchmarks.million_callers", json.dumps(order))
    return found


def _row(name: str, part: Found) -> Sequence[Cell]:
    gap = f"{part['gap_cpu_ms']:.1f} ({part['gap_ms']:.1f})"
    slowest = f"{part['slowest_cpu_ms']:.1f} ({part['slowest_ms']:.1f})"
    return (name, part["requests"], round(part["bytes"]), gap, slowest, round(part["median_us"], 1))


def _pause(what: str, own: float, by_wall: str, filled: Found, nothing: Found) -> Figure:
    """Against the goal is what the process itself took; a machine that is busy adds to the wall clock's."""
    wall = max(part[by_wall] for part in (filled, filled["again"]))
    note = f"of processor time; by the wall clock {wall:.1f}, in the loop without a store {nothing[by_wall]:.1f}"
    return Figure(what, f"<= {PAUSE:g}", own, own <= PAUSE, note)


if __name__ == "__main__":
    from benchmarks.report import markdown

    made = measure(short="--all" not in sys.argv)
    for table in made.tables:
        print(markdown(table.columns, table.rows), table.note, sep="\n\n")
    print(*made.figures, sep="\n")
