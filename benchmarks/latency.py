"""How long a request takes: against the number of connections, and what a lone decision adds to it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median

from benchmarks import check, load, lone
from benchmarks.candidates import BARE, PEERS, REDIS, served
from benchmarks.section import Cell, Figure, Plot, Point, Section, Table

CONNECTIONS = (1, 4, 16, 64, 256)
BEST_PEERS = ("limits", "throttled-py")  # those that keep most of the throughput
COMPARED = (BARE, REDIS, *(peer for peer in PEERS if peer.name in BEST_PEERS))
ROUNDS = {"short": 2, "full": 7}
SECONDS = {"short": 1, "full": 5}
TURNS = {"short": 4_000, "full": 40_000}  # of a lone decision

ADDED = 1.8  # PINGs through redis-py that a lone decision takes, at most

TEXT = """\
Latency under load is what wrk saw of the FastAPI app, from a request to its answer; each connection sends the next
request when it has the answer to the one before. Once the server is busy all the time, a further connection only waits.

A lone decision is timed in one process, by turns with a PING and with the same script call through redis-py, with
nothing else to share a trip with: `store.acquire` alone, on charges that were prepared. What the middleware does around
it (who calls, which limits, which headers) is not in it: its parts are measured one by one below."""

Runs = dict[str, dict[int, list[load.Run]]]  # by candidate, then by connections


def measure(*, short: bool) -> Section:
    form = "short" if short else "full"
    runs = _under_load(ROUNDS[form], SECONDS[form])
    timed = lone.measure(TURNS[form])
    added, script = median(timed.ratios(lone.DECISION)), median(timed.ratios(lone.EVALSHA))
    note = "the decision alone, store.acquire on prepared charges;"
    note += f" the same EVALSHA through redis-py: {script:.2f} x PING"
    figure = Figure("added latency of a lone request", f"<= {ADDED} x PING", round(added, 2), added <= ADDED, note)
    plots = [
        Plot(f"latency_{name}", f"Latency against load, {name}", "connections", "ms", "lines", _lines(runs, name))
        for name in ("p50", "p99")
    ]
    raw = {name: {str(count): [asdict(one) for one in seen] for count, seen in by.items()} for name, by in runs.items()}
    note = f"ms, medians of {ROUNDS[form]} runs of {SECONDS[form]} s."
    return Section("latency", "Latency", TEXT, [_table(runs, note), timed.table()], plots, [figure], raw)


def _under_load(rounds: int, seconds: int) -> Runs:
    """All apps are up at a time, and one of them is asked; idle ones cost nothing."""
    runs: Runs = {candidate.name: {count: [] for count in CONNECTIONS} for candidate in COMPARED}
    with ExitStack() as stack:
        apps = {}
        for candidate in COMPARED:
            store = stack.enter_context(check.stored(candidate))
            apps[candidate.name] = stack.enter_context(served(candidate, "fastapi", store))
            load.wrk(apps[candidate.name].url, seconds=1, connections=max(CONNECTIONS))  # some peers refuse so many
        for number in range(rounds):
            print(f"latency: round {number + 1} of {rounds}", file=sys.stderr)
            for count in CONNECTIONS:
                for name, app in apps.items():
                    run = load.wrk(app.url, seconds=seconds, connections=count)
                    if not (run.broken or run.refused):
                        runs[name][count].append(run)
                    elif name in (BARE.name, REDIS.name):
                        raise RuntimeError(f"{name} did not do what it should: {run}\n{app.complaints()}")
                    else:
                        print(f"latency: {name} failed at {count} connections: {run}", file=sys.stderr)
        for name, app in apps.items():
            _tell(name, app)
    return runs


def _tell(name: str, app: load.App) -> None:
    """Shows what an app wrote. Raises RuntimeError where it is ours: what it did was not what is to be measured."""
    if said := app.complaints().splitlines():
        print(f"latency: {name} wrote: {said[0]}", file=sys.stderr)
        if name == REDIS.name:
            raise RuntimeError(f"{name} wrote while it was measured: {said[0]}")


def _middle(runs: list[load.Run], name: str) -> float:
    return median(float(getattr(run, f"{name}_ms")) for run in runs)


def _lines(runs: Runs, name: str) -> dict[str, list[Point]]:
    return {who: [(count, _middle(seen, name)) for count, seen in by.items() if seen] for who, by in runs.items()}


def _table(runs: Runs, note: str) -> Table:
    columns = ["", *(f"{name}, {count}" for count in CONNECTIONS for name in ("p50", "p99"))]
    rows: list[list[Cell]] = [
        [who, *(round(_middle(seen, name), 2) if seen else "errors" for seen in by.values() for name in ("p50", "p99"))]
        for who, by in runs.items()
    ]
    return Table("Latency against connections, FastAPI", columns, rows, note)
