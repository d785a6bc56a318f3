"""How much of an app's throughput is left under a limiter, and what the limiter costs the processor and Redis."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median

from benchmarks import environments, policy
from benchmarks.candidates import BARE, BOTH, HEADERS, HOT, IETF, NAMES, OURS, PEERS, REDIS, Candidate, Framework
from benchmarks.rounds import CONNECTIONS, Outcome, compare
from benchmarks.section import Cell, Figure, Plot, Point, Section, Table

ROUNDS = {"short": (5, 3), "full": (15, 9)}  # of the main two of ours and of the others
SECONDS = {"short": 2, "full": 10}

KEPT: dict[Framework, tuple[float, float]] = {"fastapi": (0.92, 0.86), "starlette": (0.80, 0.70)}  # goal, floor
SCRIPT_CALLS = 16  # requests that share one, at least
HOT_KEPT = 0.95
HOT_COMMANDS = 0.01  # a request, at most

TEXT = f"""\
The same app bare and under each limiter: FastAPI or Starlette with one route, in uvicorn (one worker, uvloop,
httptools), asked by wrk over {CONNECTIONS} connections, each request from the next of 100 callers for the next of 1,000
items. Every caller has two limits, a rate a minute and a long one a month, so high that nobody is denied. Each run has
a process and a Valkey of its own. In a round each candidate runs right before or right after the bare app; *kept* is
its share of the requests a second of that neighbour: the median of the rounds, the least and the most. What is spent
is processor time, from /proc. Before all this, each candidate has to deny the fourth request at a limit of 3, once for
each of its two limits, and none of another caller's."""

COLUMNS = (
    *("", "requests/s", "kept", "least", "most", "server, µs/request"),
    *("Redis, µs/request", "commands/request", "script calls/request", "runs"),
)
NO_HEADERS = "without headers on allowed responses, as most peers"
COMMANDS = "Redis commands a request"

Outcomes = dict[str, list[Outcome]]


def measure(*, short: bool) -> Section:
    form = "short" if short else "full"
    tables: list[Table] = []
    figures: list[Figure] = []
    kept: dict[str, list[Point]] = {}
    commands: dict[str, list[Point]] = {}
    raw: dict[str, object] = {}
    for framework in BOTH:
        outcomes = compare(framework, _able(framework), ROUNDS[form], SECONDS[form])
        tables.append(_table(framework, outcomes, SECONDS[form]))
        figures += _figures(framework, outcomes)
        raw[framework] = {name: [asdict(run) for run in runs] for name, runs in outcomes.items()}
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


def _able(framework: Framework) -> Sequence[Candidate]:
    """The candidates that support this framework; says why one of ours can't run."""
    able = []
    for candidate in (*OURS, *PEERS):
        if why := candidate.refusal():
            print(f"{candidate.name} is left out: {why}", file=sys.stderr)
        elif framework in candidate.frameworks:
            able.append(candidate)
    return able


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


def _table(framework: Framework, outcomes: Outcomes, seconds: int) -> Table:
    said = {f"{name}: {run.complaint}" for name, runs in outcomes.items() for run in runs if run.complaint}
    note = f"Runs of {seconds} s." + "".join(f" Written by {line}." for line in sorted(said))
    return Table(NAMES[framework], COLUMNS, [_row(name, runs) for name, runs in outcomes.items()], note)


def _row(name: str, runs: Sequence[Outcome]) -> list[Cell]:
    kept = [run.kept for run in runs]
    cells: list[Cell] = [name, round(_middle(runs, "rate"))]
    cells += [round(value, 2) for value in (median(kept), min(kept), max(kept))]
    cells.append(round(_middle(runs, "server_us")))
    if runs[0].on_redis:
        cells += [round(_middle(runs, "redis_us"), 1), round(_middle(runs, "commands"), 3)]
        cells.append(round(_middle(runs, "scripts"), 3))
    else:
        cells += ["", "", ""]
    return [*cells, len(runs)]


def _figures(framework: Framework, outcomes: Outcomes) -> list[Figure]:
    runs = outcomes[REDIS.name]
    goal, floor = KEPT[framework]
    kept = _middle(runs, "kept")
    best, peer = max((_middle(outcomes[peer.name], "kept"), peer.name) for peer in PEERS if peer.name in outcomes)
    note = f"{'not ' if kept >= floor else ''}under the floor of {floor}; best peer {best:.2f} ({peer})"
    note += f"; {NO_HEADERS}; {_with_headers(outcomes)}"
    what = f"throughput kept, {NAMES[framework]} app, {CONNECTIONS} connections"
    figures = [Figure(what, f">= {goal}", round(kept, 3), kept >= goal, note)]
    if framework == "fastapi":
        sharing = 1 / _middle(runs, "scripts")
        what = f"script calls a request at {CONNECTIONS} connections"
        figures.append(Figure(what, f"<= 1/{SCRIPT_CALLS}", f"1/{sharing:.1f}", sharing >= SCRIPT_CALLS))
        if HOT.name in outcomes:
            figures += _hot(outcomes)
    return figures


def _with_headers(outcomes: Outcomes) -> str:
    lendworks, ietf = (_middle(outcomes[candidate.name], "kept") for candidate in (HEADERS, IETF))
    return f"with lendworks' four headers {lendworks:.2f}, with ietf's two {ietf:.2f}"


def _hot(outcomes: Outcomes) -> list[Figure]:
    runs = outcomes[HOT.name]
    what = "hot caller with reservations"
    note = f"{NO_HEADERS}; {policy.CALLERS} callers {_with_headers(outcomes)}"
    kept, commands = _middle(runs, "kept"), _middle(runs, "commands")
    return [
        Figure(f"{what}: throughput kept, FastAPI app", f">= {HOT_KEPT}", round(kept, 3), kept >= HOT_KEPT, note),
        Figure(f"{what}: Redis commands", f"<= {HOT_COMMANDS} a request", round(commands, 4), commands <= HOT_COMMANDS),
    ]


def _who() -> Table:
    rows: list[list[Cell]] = []
    for candidate in (*OURS, *PEERS):
        version = environments.versions(candidate.requirements).get(candidate.requirements, "this repository")
        rows.append([candidate.name, version, candidate.how])
    return Table("What each is configured to do", ["", "version", "configuration"], rows)
