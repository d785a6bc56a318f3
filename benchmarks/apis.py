"""The three APIs that are reproduced, at full load on memory and on Redis; each answer is looked at.

A benchmark that is wrong is no benchmark: one wrong answer, and the measure fails.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks import environments, load
from benchmarks.children import child
from benchmarks.section import Cell, Figure, Section, Table

ASKED = {"lendworks": 60_000, "lightspeed": 60_000, "facturapi": 45_000}  # requests: more than the limits let through
WHAT = {
    "lendworks": "LendWorks, premium tier: 4 keys, 10,000 a minute each",
    "lightspeed": "Lightspeed: 4 retailers of 1, 3, 33 and 33 registers, 300 x registers + 50 in 5 minutes",
    "facturapi": "Facturapi: 12 callers, five classes, a rate and a cap at a time each",
}
PHASES = {"short": 1, "full": 2}
STORES = ("memory", "Redis")

TEXT = """\
The policies of the [examples](../examples) with callers of their own, and a Starlette app that answers at once (as
Facturapi after 2 ms, so that requests are inside at a time), driven as in [the processor
time](#processor-time-a-request): 64 connections, each sends the next request when it has its answer. More is asked
than the limits let through. Then every answer is looked at: that of each limit exactly the max was let through, and
in no window more, by when each request was sent and answered; that no more were inside the app at a time than the
cap, and as many as that; that nobody was denied while there was room; statuses and bodies; that Remaining falls by
one with each; that Reset, Retry-After and resetAt are the second at which the first unit, or all of them, are free
again. One wrong answer, and there is no page."""


def measure(*, short: bool) -> Section:
    phases = PHASES["short" if short else "full"]
    rows: list[list[Cell]] = []
    raw: dict[str, Any] = {}
    for api, asked in ASKED.items():
        for store in STORES:
            print(f"apis: {api}, {store}", file=sys.stderr)
            found = ran(api, store, asked, phases)
            raw[f"{api}, {store}"] = found
            rows.append(row(api, store, found))
    return section(rows, raw)


def ran(api: str, store: str, asked: int, phases: int) -> dict[str, Any]:
    """What the child found. Raises RuntimeError where an answer was wrong."""
    order = {"api": api, "asked": asked, "phases": phases}
    program = environments.python(environments.OURS)
    if store == "memory":
        found = child(program, "benchmarks.apis_run", json.dumps({**order, "url": ""}))
    else:
        with load.store() as server:
            found = child(program, "benchmarks.apis_run", json.dumps({**order, "url": server.unix_url}))
    if found["wrong"]:
        raise RuntimeError(f"{WHAT[api]}, on {store}: wrong answers, by what was wrong: {found['wrong']}")
    return dict(found)


def row(api: str, store: str, found: dict[str, Any]) -> list[Cell]:
    cells: list[Cell] = [WHAT[api], store, found["counters"], found["requests"], found["allowed"]]
    return [*cells, round(found["rate"]), round(found["cpu_us"], 1), sum(found["wrong"].values())]


def section(rows: list[list[Cell]], raw: dict[str, Any]) -> Section:
    columns = (
        "API",
        "store",
        "counters",
        "requests",
        "let through",
        "requests/s",
        "server, µs/request",
        "wrong answers",
    )
    wrong = sum(int(row[-1]) for row in rows)
    asked = sum(int(row[3]) for row in rows)
    figure = Figure(
        "wrong answers at full load: LendWorks, Lightspeed and Facturapi, memory and Redis",
        "0",
        wrong,
        wrong == 0,
        f"of {asked:,} answers",
    )
    note = "Server is processor time, that of the load and of its notes with it."
    return Section(
        "apis", "The APIs that it reproduces", TEXT, [Table("At full load", columns, rows, note)], [], [figure], raw
    )
