"""Processor time a request: what a limiter adds to an app in uvicorn's own protocol, without a network.

This is the yardstick of regressions: wrk's runs of seconds spread by 0.05 to 0.1 of the throughput, and a figure of
these repeats within 2 µs on a quiet machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import environments, load, policy
from benchmarks.candidates import BOTH, NAMES, Framework
from benchmarks.children import child
from benchmarks.section import Cell, Figure, Section, Table

ROUNDS = {"short": 40, "full": 150}
GOALS_YARDSTICK = 3_888  # ns: what micro.py found on Python 3.13 on the machine on which the goals were set
FACTOR_VERSION = "3.13"


@dataclass(frozen=True, slots=True)
class Subject:
    """One row: a floor, or ours on a store in a style; without either it is the bare app."""

    name: str
    floor: str = ""
    store: str = ""  # memory | redis
    style: str = "ietf"
    settings: Mapping[str, Any] = field(default_factory=dict)
    callers: int = policy.CALLERS
    headers: bool = True
    telemetry: str = ""  # prometheus | opentelemetry


@dataclass(frozen=True, slots=True)
class Turns:
    """Microseconds a request by the name of the subject, one a round; the least of the yardstick in nanoseconds."""

    rounds: Mapping[str, Sequence[float]]
    yardstick: float

    def above(self, name: str) -> float:
        """The least of a subject above that of the bare app."""
        return min(self.rounds[name]) - min(self.rounds[BARE.name])

    def low_above(self, name: str) -> float:
        return low(self.rounds[name]) - low(self.rounds[BARE.name])

    def kept(self, name: str) -> float:
        return min(self.rounds[BARE.name]) / min(self.rounds[name])

    def spread(self, name: str) -> tuple[float, float]:
        """The quartiles of the differences from the bare app in the same round."""
        pairs = zip(self.rounds[name], self.rounds[BARE.name], strict=True)
        differences = [own - bare for own, bare in pairs]
        return low(differences), -low([-one for one in differences])


def low(values: Sequence[float]) -> float:
    """The lower quartile."""
    return sorted(values)[len(values) // 4]


BARE = Subject("bare", headers=False)
MEMORY = Subject("memory, ietf: the default", store="memory")
LENDWORKS = Subject("memory, lendworks", store="memory", style="lendworks")
TEN = Subject("memory, ietf, 10 limits", store="memory", settings={"limits": 10})
SUBJECTS = (
    BARE,
    MEMORY,
    LENDWORKS,
    Subject("Redis, ietf", store="redis"),
    Subject("Redis, lendworks", store="redis", style="lendworks"),
    Subject("memory, ietf, 1 limit", store="memory", settings={"limits": 1}),
    Subject("memory, ietf, 5 limits", store="memory", settings={"limits": 5}),
    TEN,
    Subject("Redis, ietf, 1 limit", store="redis", settings={"limits": 1}),
    Subject("Redis, ietf, 5 limits", store="redis", settings={"limits": 5}),
    Subject("Redis, ietf, 10 limits", store="redis", settings={"limits": 10}),
    Subject("Redis, lendworks, 10 limits", store="redis", style="lendworks", settings={"limits": 10}),
    Subject("floor: constant headers", floor="constant headers"),
    Subject("floor: one dict counter", floor="one dict counter"),
    Subject("floor: one PING a batch, constant headers", floor="one PING a batch, constant headers"),
    Subject("memory, no headers", store="memory", style="silent", headers=False),
    Subject("Redis, no headers", store="redis", style="silent", headers=False),
    Subject(
        "Redis, reservations, a hot caller, no headers",
        store="redis",
        style="silent",
        settings={"reserve": True},
        callers=1,
        headers=False,
    ),
    Subject("floor: one PING a batch", floor="one PING a batch", headers=False),
)
GOALS = {MEMORY.name: 11.0, LENDWORKS.name: 11.0, TEN.name: 20.0}  # µs above bare, Starlette
KEPT = {"Redis, ietf": 0.70, "Redis, lendworks": 0.70, "Redis, no headers": 0.80}  # goals that are given as shares
GOALS_OF: Framework = "starlette"

Measured = dict[str, "Turns"]  # by version of Python

TEXT = """\
uvicorn's own protocol parses each request and runs the app on uvloop; only the sockets are not there. A transport
that counts takes the answer and hands in the next request of its connection, 64 connections in all. Each request is
from the next of 100 callers for the next of 1,000 items, as wrk's are above. All apps are in one process and have
short turns, each round begun by another one; shown is processor time of that process, so that what Redis takes is
not in it. *Above bare* is the least of all turns less the least of the bare app's, *low quartile* the same of their
lower quartiles, and *spread* is between the quartiles of the differences within a round. *Kept* is what is left of a
core's requests a second. Two limits, a rate a minute and a monthly quota, unless it says otherwise."""


def measure(*, short: bool) -> Section:
    rounds = ROUNDS["short" if short else "full"]
    tables: list[Table] = []
    figures: list[Figure] = []
    yardsticks: dict[str, float] = {}
    raw: dict[str, Any] = {}
    for framework in BOTH:
        by_version: Measured = {}
        for version in environments.versions_shown():
            print(f"processor: {NAMES[framework]}, Python {version}", file=sys.stderr)
            turns = taken(framework, version, rounds if version == environments.OWN or not short else rounds // 2)
            by_version[version] = turns
            yardsticks[version] = min(turns.yardstick, yardsticks.get(version, turns.yardstick))
            raw.setdefault(framework, {})[version] = {
                name: [round(each, 2) for each in spent] for name, spent in turns.rounds.items()
            }
        tables += _tables(framework, by_version)
        if framework == GOALS_OF:
            figures += goals(by_version[environments.OWN])
    text = f"{TEXT} {machine(yardsticks)}"
    return Section("processor", "Processor time a request", text, tables, [], figures, raw)


def taken(
    framework: Framework, version: str, rounds: int, subjects: Sequence[Subject] = SUBJECTS, turn: int | None = None
) -> Turns:
    """In a process of its own, in the environment of the apps, with a Valkey of its own; `turn` as of `compared`."""
    with load.store() as server:
        order = {
            "framework": framework,
            "rounds": rounds,
            "turn": turn,
            "url": server.unix_url,
            "subjects": [asdict(subject) for subject in subjects],
        }
        program = environments.python(environments.OURS, version)
        found = child(program, "benchmarks.turns", json.dumps(order))
    return Turns(found["rounds"], min(found["yardstick"]))


def _tables(framework: Framework, measured: Measured) -> list[Table]:
    """With headers on first, since that is what is installed; then without."""
    columns: list[str] = [""]
    for version in measured:
        columns += [f"µs above bare, {version}", "low quartile", "spread", f"kept, {version}"]
    bare = ", ".join(f"{min(turns.rounds[BARE.name]):.1f} µs on {version}" for version, turns in measured.items())
    rounds = " and ".join(str(len(turns.rounds[BARE.name])) for turns in measured.values())
    tables = []
    for headers in (True, False):
        shown = [one.name for one in SUBJECTS if one.headers is headers and one is not BARE]
        rows = [[name, *_cells(name, measured)] for name in shown if all(name in of.rounds for of in measured.values())]
        title = f"{NAMES[framework]}, {'headers on' if headers else 'without headers on'} allowed responses"
        tables.append(Table(title, columns, rows, f"The bare app takes {bare}. {rounds} rounds."))
    return tables


def _cells(name: str, measured: Measured) -> list[Cell]:
    cells: list[Cell] = []
    for turns in measured.values():
        between = " to ".join(f"{end:.1f}" for end in turns.spread(name))
        cells += [round(turns.above(name), 1), round(turns.low_above(name), 1), between, round(turns.kept(name), 2)]
    return cells


def goals(turns: Turns) -> list[Figure]:
    """As measured, by the Python that runs this: what the machine makes of it is said in the text."""
    bare = min(turns.rounds[BARE.name])
    goals = GOALS | {name: round(bare / kept - bare, 1) for name, kept in KEPT.items()}
    figures = []
    for name, goal in goals.items():
        above = round(turns.above(name), 1)
        what = f"processor time a request above the bare {NAMES[GOALS_OF]} app in µs, {name}, Python {environments.OWN}"
        note = f"low quartile {turns.low_above(name):.1f}, kept {turns.kept(name):.2f}"
        note += f", which is to be {KEPT[name]:.2f}" if name in KEPT else ""
        figures.append(Figure(what, f"<= {goal:g}", above, above <= goal, note))
    return figures


def machine(yardsticks: Mapping[str, float]) -> str:
    """What the goals would be on this machine, by the yardstick of the parts below."""
    here = ", ".join(f"{least:,.0f} ns on {version}" for version, least in yardsticks.items())
    text = f"The yardstick of [the parts](#the-parts) took {here} beside them"
    if FACTOR_VERSION not in yardsticks:
        return f"{text}; where the goals were set it took {GOALS_YARDSTICK:,} ns on {FACTOR_VERSION}."
    factor = yardsticks[FACTOR_VERSION] / GOALS_YARDSTICK
    return (
        f"{text}; where the goals were set it took {GOALS_YARDSTICK:,} ns on {FACTOR_VERSION}, so that this machine"
        f" takes {factor:.2f} times as long. The figures are as measured here, and so are they held against the goals."
    )
