"""How much of an app's throughput is left under a limiter, and what the limiter costs the processor and Redis."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median

from benchmarks import check, environments, policy
from benchmarks.candidates import (
    BARE,
    BOTH,
    DEFAULT,
    FLOORS,
    HEADERS,
    HOT,
    IETF,
    LENDWORKS,
    NAMES,
    OURS,
    PEERS,
    REDIS,
    TEN,
    TEN_REDIS,
    Framework,
)
from benchmarks.rounds import CONNECTIONS, Outcome, compare
from benchmarks.section import Cell, Figure, Plot, Point, Section, Table

ROUNDS = {"short": 3, "full": 9}
SECONDS = {"short": 1, "full": 5}

# The share of the bare app's throughput that is kept, by candidate: the goal, and below what it is not reached at all.
KEPT: dict[str, dict[Framework, tuple[float, float | None]]] = {
    DEFAULT.name: {"starlette": (0.75, 0.68), "fastapi": (0.85, 0.78)},
    LENDWORKS.name: {"starlette": (0.75, None), "fastapi": (0.85, None)},
    HEADERS.name: {"starlette": (0.70, 0.66), "fastapi": (0.86, 0.80)},
    IETF.name: {"starlette": (0.70, 0.66), "fastapi": (0.86, 0.80)},
    REDIS.name: {"starlette": (0.80, 0.75), "fastapi": (0.92, 0.88)},
    TEN.name: {"starlette": (0.55, 0.50), "fastapi": (0.72, None)},
    TEN_REDIS.name: {"starlette": (0.52, None), "fastapi": (0.76, None)},
    HOT.name: {"starlette": (0.85, None), "fastapi": (0.92, None)},
}
SCRIPT_CALLS = 16  # requests that share one, at least
HOT_COMMANDS = 0.01  # a request, at most
OF_REDIS = 20.0  # µs of Redis a request with ten limits, at most

TEXT = f"""\
The same app bare and under each limiter: FastAPI or Starlette with one route, in uvicorn (one worker, uvloop,
httptools), asked by wrk over {CONNECTIONS} connections, each request from the next of {policy.CALLERS} callers for
the next of 1,000 items. Every caller has two limits, a rate a minute and a long one a month, so high that nobody is
denied. The first tables are of what a fresh installation has, headers that tell callers of their limits on each
response, beside the peers with theirs; the next ones are without. Each has a process and a Valkey of its own; all
are up meanwhile, and one is asked. In a round each runs right before or right after the bare app; *kept* is its
share of the requests a second of that neighbour: the median of the rounds, the least and the most. What is spent is
processor time, from /proc. Before all this, each limiter has to deny the fourth request at a limit of 3, once for
each of its two limits, and none of another caller's.

A floor is no limiter: it is what a limiter of any kind would take with these headers, or with one trip that all who
wait share."""

COLUMNS = ("requests/s", "kept", "least", "most", "server, µs/request")
ON_REDIS = ("Redis, µs/request", "commands/request", "script calls/request")
COMMANDS = "Redis commands a request"

Outcomes = dict[str, list[Outcome]]
ByVersion = dict[str, Outcomes]
EVERYONE = (*OURS, *FLOORS, *PEERS)


def measure(*, short: bool) -> Section:
    form = "short" if short else "full"
    shares = _checked()
    tables: list[Table] = []
    figures: list[Figure] = []
    kept: dict[str, list[Point]] = {}
    commands: dict[str, list[Point]] = {}
    raw: dict[str, object] = {}
    for framework in BOTH:
        measured: ByVersion = {}
        for version in environments.versions_shown():
            everyone = EVERYONE if version == environments.OWN or not short else (*OURS, *FLOORS)
            candidates = [one for one in everyone if framework in one.frameworks]
            measured[version] = compare(framework, candidates, ROUNDS[form], SECONDS[form], version, shares)
        outcomes = measured[environments.OWN]
        tables += [_table(framework, measured, headers, SECONDS[form]) for headers in (True, False)]
        figures += _figures(framework, outcomes)
        raw[framework] = {name: [asdict(run) for run in runs] for name, runs in outcomes.items()}
        raw[f"{framework}, other Pythons"] = {
            version: {name: [run.kept for run in runs] for name, runs in of.items()}
            for version, of in measured.items()
            if version != environments.OWN
        }
        limited = {name: runs for name, runs in outcomes.items() if name != BARE.name}
        kept |= _kept(framework, limited)
        commands[NAMES[framework]] = [
            (name, _middle(runs, "commands")) for name, runs in limited.items() if runs[0].on_redis
        ]
    plots = [
        Plot("throughput", "Throughput kept", "", "share of the bare app's requests a second", "bars", kept),
        Plot("commands", COMMANDS, "", COMMANDS, "bars", commands, "What clients send, not what scripts call inside."),
    ]
    return Section("throughput", "Throughput", TEXT, [*tables, _who()], plots, figures, raw)


def _checked() -> dict[str, dict[str, float]]:
    """What share of each limiter's commands is sent by clients. Raises RuntimeError if one does not limit, which is by
    itself and not by the framework around it."""
    shares = {}
    for candidate in EVERYONE:
        framework = candidate.frameworks[-1]
        if candidate.limits:
            print(f"does {candidate.name} limit?", file=sys.stderr)
            check.limits(candidate, framework)
        if candidate.needs == "redis":
            shares[candidate.name] = check.client_shares(candidate, framework)
    return shares


def _middle(runs: Sequence[Outcome], name: str) -> float:
    """The median of one of an Outcome's figures."""
    return median(float(getattr(run, name)) for run in runs)


def _kept(framework: Framework, outcomes: Outcomes) -> dict[str, list[Point]]:
    """The bars of a framework, and the ends of their error bars as plots.py expects them."""
    ends: dict[str, Callable[[list[float]], float]] = {"": median, " (least)": min, " (most)": max}
    return {
        NAMES[framework] + end: [(name, of([run.kept for run in runs])) for name, runs in outcomes.items()]
        for end, of in ends.items()
    }


def _table(framework: Framework, measured: ByVersion, headers: bool, seconds: int) -> Table:
    """Of those with headers on allowed responses or without, the bare app first; each Python has its columns."""
    own = measured[environments.OWN]
    shown = [one.name for one in (BARE, *EVERYONE) if one.name in own and (one is BARE or one.headers is headers)]
    said = {f"{name}: {run.complaint}" for name in shown for run in own[name] if run.complaint}
    note = f"{len(own[shown[-1]])} runs of {seconds} s each." + "".join(f" Written by {line}." for line in sorted(said))
    columns = [
        "",
        *(f"{column}, {version}" if column in COLUMNS[:2] else column for version in measured for column in COLUMNS),
    ]
    columns += ON_REDIS
    title = f"{NAMES[framework]}, {'with headers on' if headers else 'without headers on'} allowed responses"
    return Table(title, columns, [_row(name, measured) for name in shown], note)


def _row(name: str, measured: ByVersion) -> list[Cell]:
    cells: list[Cell] = [name]
    for outcomes in measured.values():
        cells += _cells(outcomes.get(name, []))
    runs = measured[environments.OWN][name]
    if not runs[0].on_redis:
        return [*cells, "", "", ""]
    cells += [round(_middle(runs, "redis_us"), 1), round(_middle(runs, "commands"), 3)]
    return [*cells, round(_middle(runs, "scripts"), 3)]


def _cells(runs: Sequence[Outcome]) -> list[Cell]:
    """On one Python; empty where it did not run."""
    if not runs:
        return [""] * len(COLUMNS)
    kept = [run.kept for run in runs]
    shares = [round(value, 2) for value in (median(kept), min(kept), max(kept))]
    return [round(_middle(runs, "rate")), *shares, round(_middle(runs, "server_us"))]


def _figures(framework: Framework, outcomes: Outcomes) -> list[Figure]:
    figures = [_kept_figure(name, framework, outcomes) for name in KEPT if name in outcomes]
    if framework == "fastapi":
        sharing = 1 / _middle(outcomes[REDIS.name], "scripts")
        what = f"script calls a request at {CONNECTIONS} connections, Redis"
        figures.append(Figure(what, f"<= 1/{SCRIPT_CALLS}", f"1/{sharing:.1f}", sharing >= SCRIPT_CALLS))
        commands = _middle(outcomes[HOT.name], "commands")
        what, goal = "hot caller with reservations: Redis commands", f"<= {HOT_COMMANDS} a request"
        figures.append(Figure(what, goal, round(commands, 4), commands <= HOT_COMMANDS))
        spent = round(_middle(outcomes[TEN_REDIS.name], "redis_us"), 1)
        what = f"processor time of Redis a request in µs, 10 limits, {CONNECTIONS} connections, FastAPI app"
        figures.append(Figure(what, f"<= {OF_REDIS:g}", spent, spent <= OF_REDIS))
    return figures


def _kept_figure(name: str, framework: Framework, outcomes: Outcomes) -> Figure:
    """With the best peer that has headers on where this one has, and has none where it has none."""
    goal, floor = KEPT[name][framework]
    kept, headers = _middle(outcomes[name], "kept"), next(one.headers for one in OURS if one.name == name)
    peers = [peer.name for peer in PEERS if peer.name in outcomes and peer.headers is headers]
    notes = [] if floor is None else [f"{'not ' if kept >= floor else ''}under the floor of {floor}"]
    if peers:
        best, peer = max((_middle(outcomes[peer], "kept"), peer) for peer in peers)
        notes.append(f"best peer {'with' if headers else 'without'} headers {best:.2f} ({peer})")
    what = f"throughput kept, {NAMES[framework]} app, {name.removeprefix('ratelimit, ')}"
    return Figure(what, f">= {goal:g}", round(kept, 3), kept >= goal, "; ".join(notes))


def _who() -> Table:
    rows: list[list[Cell]] = []
    for candidate in EVERYONE:
        version = environments.versions(candidate.requirements).get(candidate.requirements, "this repository")
        rows.append([candidate.name, version, candidate.how])
    return Table("What each is configured to do", ["", "version", "configuration"], rows)
