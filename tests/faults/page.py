"""docs/faults.md, made of docs/faults.json and nothing else; `make faults` measures, and calls it.

`python -m tests.faults.page` makes the page again from what is there.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.matrix import CONNECTIONS, POLICIES, Observation, as_json

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "faults.json"
PAGE = DOCS / "faults.md"

COLUMNS = (
    ("fault", "---"),
    ("`on_failure`", "---"),
    ("200", "---:"),
    ("429", "---:"),
    ("503", "---:"),
    ("other", "---:"),
    ("without the store", "---:"),
    ("waited for it", "---:"),
    ("longest wait, ms", "---:"),
    ("admitted at the limit", "---:"),
    ("found back after, ms", "---:"),
)


def write(observations: Sequence[Observation], folder: Path = DOCS) -> None:
    """Keep what was observed here and now, and make the page of it."""
    run = {
        "at": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpus": os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cells": [as_json(one) for one in observations],
    }
    (folder / RESULTS.name).write_text(json.dumps(run, indent=1) + "\n")
    (folder / PAGE.name).write_text(page(run))


def page(run: Mapping[str, Any]) -> str:
    """In Markdown."""
    cells = run["cells"]
    (limit,), (timeout,) = {cell["limit"] for cell in cells}, {cell["timeout_ms"] for cell in cells}
    tables = [_table(server, cells) for server in dict.fromkeys(cell["server"] for cell in cells)]
    return f"""# Faults

What callers of an API saw while the store behind its limiter failed. Written by `make faults` from
[faults.json](faults.json), which `tests/faults/test_matrix.py` measured on {run["at"]}: {run["machine"]} with
{run["cpus"]} CPUs, Python {run["python"]}. Nothing here is typed by hand. On another machine the numbers are others;
what the test asserts of each row holds on all of them.

Each fault is done once, to a real server, while {CONNECTIONS} connections to each of {len(POLICIES)} apps on uvicorn
ask 40 times a second; each `on_failure` is a process of its own. A fault that is a state lasts about a second.
`timeout` is {timeout:.0f} ms.

- **200, 429, 503, other**: how often callers got which status, from half a second before the fault until the store was
  back; other is any other status, a connection that was cut, and an answer that did not come within 5 s.
- **without the store**: answers, 200 or 503, that the limiter gave by itself, as `on_failure` says.
- **waited for it**: requests that waited for the store for half of `timeout` or longer: those under way when it went.
- **longest wait**: for a decision, in the limiter, of any request.
- **admitted at the limit**: of a caller that is allowed {limit} requests a minute and {limit} a month and asks for
  more. Where the store has lost what was counted it begins anew.
- **found back**: from the end of the fault to the first answer that the store decided.

{chr(10).join(tables)}"""


def _table(server: str, cells: Sequence[Mapping[str, Any]]) -> str:
    names, rulers = zip(*COLUMNS, strict=True)
    lines = [_line(names), _line(rulers), *[_line(_row(cell)) for cell in cells if cell["server"] == server]]
    return "\n".join([f"## {server.capitalize()}", "", *lines, ""])


def _row(cell: Mapping[str, Any]) -> list[str]:
    statuses = dict(cell["statuses"])
    known = [statuses.pop(status, 0) for status in ("200", "429", "503")]
    counts = [*known, sum(statuses.values()), cell["without_store"], cell["waiting"]]
    recovery = cell["recovery_ms"]
    return [
        cell["fault"],
        f"`{cell['on_failure']}`",
        *map(str, counts),
        f"{cell['longest_wait_ms']:.0f}",
        f"{cell['admitted']} of {cell['limit']}",
        "never" if recovery is None else f"{recovery:.0f}",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
