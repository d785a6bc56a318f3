"""Processor time a request of telemetry: the default limiter without one, and telling Prometheus or OpenTelemetry."""

from __future__ import annotations

import sys
from statistics import median

from benchmarks import environments, processor
from benchmarks.processor import BARE, MEMORY, Subject, Turns
from benchmarks.section import Cell, Figure, Section, Table
from ratelimit.telemetry.journal import BATCH

ROUNDS = {"short": 250, "full": 1_000}
TURN = 2 * BATCH  # requests: each turn has the same part of what is done once for so many decisions
GOAL = 1.5  # µs above the same app without telemetry

OFF = Subject("without telemetry", store=MEMORY.store, style=MEMORY.style)
PROMETHEUS = Subject("Prometheus()", store=MEMORY.store, style=MEMORY.style, telemetry="prometheus")
OPENTELEMETRY = Subject("OpenTelemetry()", store=MEMORY.store, style=MEMORY.style, telemetry="opentelemetry")
ON = (PROMETHEUS, OPENTELEMETRY)
SUBJECTS = (BARE, OFF, *ON)

TEXT = f"""\
The harness of [processor time](#processor-time-a-request): Starlette bare, under the default limiter on the memory
store with two limits, and under the same with a telemetry. All are in one process and have turns of {TURN} requests,
each round begun by another one; decisions are counted {BATCH} at a time, so that no turn has more of that than another.
*Above* is the least of all turns less the least of another app's, *median* that of the differences within a round.
OpenTelemetry is its API alone, without an SDK: what that takes, and spans that are recorded, are the app's own."""


def measure(*, short: bool) -> Section:
    print(f"telemetry: Python {environments.OWN}", file=sys.stderr)
    rounds = ROUNDS["short" if short else "full"]
    turns = processor.taken("starlette", environments.OWN, rounds, SUBJECTS, TURN)
    raw = {name: [round(each, 2) for each in spent] for name, spent in turns.rounds.items()}
    return Section("telemetry", "Telemetry", TEXT, [_table(turns)], [], goals(turns), raw)


def above(turns: Turns, one: Subject, other: Subject) -> float:
    """Microseconds: the least of one above the least of another."""
    return min(turns.rounds[one.name]) - min(turns.rounds[other.name])


def middle_above(turns: Turns, one: Subject, other: Subject) -> float:
    """Microseconds: the median of what one takes more than another in the same round."""
    pairs = zip(turns.rounds[one.name], turns.rounds[other.name], strict=True)
    return median(own - others for own, others in pairs)


def goals(turns: Turns) -> list[Figure]:
    figures = []
    for subject in ON:
        more = round(above(turns, subject, OFF), 2)
        what = f"processor time a request of telemetry in µs, {subject.name}, Python {environments.OWN}"
        note = f"median {middle_above(turns, subject, OFF):.2f}"
        figures.append(Figure(what, f"<= {GOAL:g}", more, more <= GOAL, note))
    return figures


def _table(turns: Turns) -> Table:
    columns = ("", "µs above bare", "µs above without", "median", "goal")
    rows: list[list[Cell]] = [[OFF.name, round(above(turns, OFF, BARE), 2), "", "", ""]]
    for subject in ON:
        more = round(above(turns, subject, OFF), 2), round(middle_above(turns, subject, OFF), 2)
        rows.append([subject.name, round(above(turns, subject, BARE), 2), *more, f"<= {GOAL:g}"])
    taken = turns.rounds[BARE.name]
    note = f"The bare app takes {min(taken):.1f} µs on {environments.OWN}. {len(taken)} rounds."
    return Table("Telemetry, Starlette, on the memory store", columns, rows, note)
