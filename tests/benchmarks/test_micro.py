"""A regression is found, and a slower machine is not taken for one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks import micro
from benchmarks.micro_parts import YARDSTICK, parts
from benchmarks.section import Section, to_json

BEFORE = {YARDSTICK: 1_000.0, "identify": 2_000.0, "classify": 500.0}


def test_a_regression_is_marked() -> None:
    """A part that takes 1.3 times as long is marked, one that takes 1.2 times is not."""
    lines = micro.compared(BEFORE, {YARDSTICK: 1_000.0, "identify": 2_600.0, "classify": 600.0, "new": 1.0})
    assert [line.split()[0] for line in lines if "SLOWER" in line] == ["identify"]
    assert len(lines) == 3


def test_a_slower_machine_is_none() -> None:
    """Where everything takes twice as long, nothing is marked."""
    lines = micro.compared(BEFORE, {name: 2 * least for name, least in BEFORE.items()})
    assert "2.00 times as long" in lines[0]
    assert not any("SLOWER" in line for line in lines)


def test_nothing_to_compare_with(tmp_path: Path) -> None:
    """Without committed results the figures are just taken; with them they are found."""
    results = tmp_path / "results.json"
    assert "no committed figures" in micro.compared(micro.committed(results), BEFORE)[0]
    results.write_text(to_json([Section("other", "", ""), Section(micro.NAME, "", "", raw={"least": BEFORE})]))
    assert micro.committed(results) == BEFORE


def test_every_part_runs() -> None:
    """Each can be called again and again in a loop, and gives something."""

    async def run() -> None:
        for part in parts().values():
            part()
            part()

    asyncio.run(run())
