"""Two processes of an app on one Redis: what is left of their throughput, and that they count together."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from statistics import median
from typing import Any

from benchmarks import check, load, policy
from benchmarks.candidates import BARE, BOTH, FLOORS, HEADERS, IETF, NAMES, PEERS, Candidate, Framework, served
from benchmarks.rounds import CONNECTIONS, WARM
from benchmarks.section import Cell, Figure, Section, Table

WORKERS = 2
ROUNDS = {"short": 3, "full": 9}
SECONDS = {"short": 1, "full": 5}
COMPARED = (
    BARE,
    *(floor for floor in FLOORS if floor.needs == "redis" and floor.headers),
    IETF,
    HEADERS,
    *(peer for peer in PEERS if peer.name in {"limits, headers", "throttled-py, headers"}),
)
TOGETHER = 5_000  # requests a minute of one caller, of whom more is asked
SHARED = "admitted by two workers on one Redis"

TEXT = f"""\
The same apps in uvicorn with `--workers {WORKERS}`, all with headers on allowed responses, and one Valkey for both
workers. This machine has to run wrk and Valkey beside them. That they count together is seen first: one caller with
{TOGETHER:,} a minute asks both as fast as it can."""

Runs = dict[str, list[tuple[load.Run, float]]]  # by name; with the share that was kept


def measure(*, short: bool) -> Section:
    form = "short" if short else "full"
    admitted = [counted_together(candidate) for candidate in (IETF, HEADERS)]
    tables = []
    raw: dict[str, Any] = {}
    for framework in BOTH[1:] if short else BOTH:  # Starlette, which leaves most to the limiter
        runs = compared(framework, ROUNDS[form], SECONDS[form])
        tables.append(table(framework, runs, SECONDS[form]))
        raw[framework] = {
            name: [(run.rate, run.p50_ms, run.p99_ms, kept) for run, kept in of] for name, of in runs.items()
        }
    return Section("workers", "Two workers on one Redis", TEXT, tables, [], [figure(admitted)], raw)


def figure(admitted: Sequence[int]) -> Figure:
    right = all(number == TOGETHER for number in admitted)
    what = f"{SHARED}, of {TOGETHER:,} a minute of one caller at full load"
    return Figure(what, f"{TOGETHER:,}", f"{max(admitted, key=lambda number: abs(number - TOGETHER)):,}", right)


@contextmanager
def up(candidate: Candidate, framework: Framework, rate: int = policy.RATE) -> Iterator[load.App]:
    with check.stored(candidate) as store, served(candidate, framework, store, rate=rate, workers=WORKERS) as app:
        yield app


def counted_together(candidate: Candidate) -> int:
    """How many requests of one caller two workers let through, within less than a minute."""
    limited = replace(candidate, callers=1)
    with up(limited, "starlette", TOGETHER) as app:
        print(f"workers: does {candidate.name} count together?", file=sys.stderr)
        run = load.wrk(app.url, seconds=3, connections=CONNECTIONS, callers=1)
        later = load.wrk(app.url, seconds=1, connections=CONNECTIONS, callers=1)
        if later.refused != later.requests:
            raise RuntimeError(f"{candidate.name}: {later} after {run}: two workers did not deny all that was asked")
        return run.requests - run.refused


def compared(framework: Framework, rounds: int, seconds: int) -> Runs:
    """All are up, and one is asked; each round is begun by another one."""
    names = [candidate for candidate in COMPARED if framework in candidate.frameworks]
    runs: Runs = {candidate.name: [] for candidate in names}
    with ExitStack() as stack:
        apps = {candidate.name: stack.enter_context(up(candidate, framework)) for candidate in names}
        for app in apps.values():
            load.wrk(app.url, seconds=WARM, connections=CONNECTIONS)
        for number in range(rounds):
            print(f"workers: {framework}, round {number + 1} of {rounds}", file=sys.stderr)
            turn = number % len(names)
            seen = {one.name: asked(one.name, apps[one.name], seconds) for one in [*names[turn:], *names[:turn]]}
            for name, run in seen.items():
                runs[name].append((run, run.rate / seen[BARE.name].rate))
    return runs


def asked(name: str, app: load.App, seconds: int) -> load.Run:
    run = load.wrk(app.url, seconds=seconds, connections=CONNECTIONS)
    if run.broken or run.refused:
        raise RuntimeError(f"{name} with {WORKERS} workers did not do what it should: {run}\n{app.complaints()}")
    return run


def table(framework: Framework, runs: Runs, seconds: int) -> Table:
    rows: list[list[Cell]] = []
    for name, of in runs.items():
        kept = [share for _, share in of]
        shares = [round(value, 2) for value in (median(kept), min(kept), max(kept))]
        times = [round(median(getattr(run, f"{p}_ms") for run, _ in of), 2) for p in ("p50", "p99")]
        rows.append([name, round(median(run.rate for run, _ in of)), *shares, *times])
    columns = ("", "requests/s", "kept", "least", "most", "p50, ms", "p99, ms")
    note = f"{len(next(iter(runs.values())))} rounds, runs of {seconds} s."
    return Table(f"{NAMES[framework]}, {WORKERS} workers, headers on allowed responses", columns, rows, note)
