"""docs/faults.md says what a run of the matrix has shown, all of it, and that every promise was kept."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

from tests.faults.catalog import FAULTS
from tests.faults.matrix import POLICIES, SERVERS, Observation, broken
from tests.faults.page import PAGE, RESULTS, page, write

RUN = json.loads(RESULTS.read_text())
CELLS = [Observation(**cell) for cell in RUN["cells"]]


def test_the_page_is_made_of_the_results() -> None:
    """Nothing on the page was typed by hand."""
    assert PAGE.read_text() == page(RUN), "make faults; for its words alone: python -m tests.faults.page"


def test_the_rows_are_the_cells_of_the_matrix() -> None:
    """A fault or a policy that is added, renamed or taken away needs another run: make faults."""
    cells = list(product(SERVERS, [fault.name for fault in FAULTS], POLICIES))
    assert [(cell.server, cell.fault, cell.on_failure) for cell in CELLS] == cells
    parts = PAGE.read_text().split("## ")[1:]
    assert [part.partition("\n")[0].lower() for part in parts] == list(SERVERS)
    for server, part in zip(SERVERS, parts, strict=True):
        rows = [line.split(" | ") for line in part.splitlines() if line.startswith("| ")][2:]
        assert [(server, row[0][2:], row[1].strip("`")) for row in rows] == [
            cell for cell in cells if cell[0] == server
        ]


def test_the_run_kept_every_promise() -> None:
    """What is on show is a run without a fault of ours."""
    faults = {fault.name: fault for fault in FAULTS}
    assert [told for cell in CELLS for told in broken(faults[cell.fault], cell)] == []


def test_written(tmp_path: Path) -> None:
    """What was observed is on the page that is written with it."""
    write(CELLS[:2], tmp_path)
    run = json.loads((tmp_path / RESULTS.name).read_text())
    assert [Observation(**cell) for cell in run["cells"]] == CELLS[:2]
    assert (tmp_path / PAGE.name).read_text() == page(run)
    assert page({**RUN, "cells": [{**RUN["cells"][0], "recovery_ms": None}]}).count("| never |") == 1
