"""How long a request takes: against the number of connections, and what a lone decision adds to it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median

from benchmarks import check, load, lone
from benchmarks.candidates import BARE, BOTH, DEFAULT, FLOORS, HEADERS, IETF, NAMES, PEERS, Candidate, Framework, served
from benchmarks.section import Cell, Figure, Plot, Point, Section, Table

CONNECTIONS = (1, 4, 16, 64, 256)
BEST_PEERS = ("limits, headers", "throttled-py, headers")  # those that keep most of the throughput
OURS = (DEFAULT, IETF, HEADERS)
LIKE_THEM = tuple(
    floor for floor in FLOORS if floor.name in {"floor: one dict counter", "floor: one PING a batch, constant headers"}
)
COMPARED = (BARE, *OURS, *LIKE_THEM, *(peer for peer in PEERS if peer.name in BEST_PEERS))
MUST_WORK = {BARE.name, *(one.name for one in OURS)}
ROUNDS = {"short": 2, "full": 7}
HALF = 0.5  # of what an app answers at 64 connections
AT_HALF = 64  # connections
SECONDS = {"short": 1, "full": 5}
TURNS = {"short": 4_000, "full": 40_000}  # of a lone decision

ADDED = 1.8  # PINGs through redis-py that a lone decision takes, at most

TEXT = """\
Latency under load is what wrk saw of the FastAPI app, from a request to its answer, with headers on allowed
responses; each connection sends the next request when it has the answer to the one before. Once the server is busy
all the time, a further connection only waits.

At half load each of 64 connections pauses at random before each request, so long that the app is asked for half of
what it answered at full load just before: what a request waits then is not for a queue that the load itself makes.

A lone decision is timed in one process, by turns with a PING and with the same script call through redis-py, with
nothing else to share a trip with: `store.acquire` alone, on charges that were prepared. What the middleware does
around it (who calls, which limits, which headers) is not in it: its parts are measured one by one below."""

Runs = dict[str, dict[int, list[load.Run]]]  # by candidate, then by connections


def measure(*, short: bool) -> Section:
    form = "short" if short else "full"
    runs = _under_load(ROUNDS[form], SECONDS[form])
    half = [_at_half(framework, ROUNDS[form], SECONDS[form]) for framework in (BOTH[:1] if short else BOTH)]
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
    return Section("latency", "Latency", TEXT, [_table(runs, note), *half, timed.table()], plots, [figure], raw)


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
                    elif name in MUST_WORK:
                        raise RuntimeError(f"{name} did not do what it should: {run}\n{app.complaints()}")
                    else:
                        print(f"latency: {name} failed at {count} connections: {run}", file=sys.stderr)
        for name, app in apps.items():
            _tell(name, app)
    return runs


def _at_half(framework: Framework, rounds: int, seconds: int) -> Table:
    """The medians of each app: what it answers at full load, what it was asked for then, and how long that took."""
    rows: list[list[Cell]] = []
    for candidate in COMPARED:
        with check.stored(candidate) as store, served(candidate, framework, store) as app:
            load.wrk(app.url, seconds=1, connections=AT_HALF)
            runs = [half_run(candidate, app, seconds) for _ in range(rounds)]
            _tell(candidate.name, app)
        full, half = (median(run.rate for run in of) for of in zip(*runs, strict=True))
        times = [round(median(getattr(run, f"{name}_ms") for _, run in runs), 2) for name in ("p50", "p99")]
        rows.append([candidate.name, round(full), round(half), f"{half / full:.2f}", *times])
    columns = ("", "requests/s at full load", "at half", "of it", "p50, ms", "p99, ms")
    title = f"At half load, {NAMES[framework]}, {AT_HALF} connections"
    return Table(title, columns, rows, f"Medians of {rounds} runs of {seconds} s.")


def half_run(candidate: Candidate, app: load.App, seconds: int) -> tuple[load.Run, load.Run]:
    """A run at full load, and one at half of it right after. Raises RuntimeError for what was not answered."""
    print(f"latency: {candidate.name} at half load", file=sys.stderr)
    full = load.wrk(app.url, seconds=seconds, connections=AT_HALF)
    run = load.wrk(app.url, seconds=seconds, connections=AT_HALF, pause_ms=pause_ms(full))
    if any(one.broken or one.refused for one in (full, run)):
        raise RuntimeError(f"{candidate.name} at half load: {run}\n{app.complaints()}")
    return full, run


def pause_ms(full: load.Run) -> float:
    """Before each request of a connection: a request of theirs takes so long in all that half as many are sent. An
    answer then takes as long as the app works on it, which is what each of them adds to the queue at full load."""
    return max(0.0, (AT_HALF / (HALF * full.rate) - 1 / full.rate) * 1e3)


def _tell(name: str, app: load.App) -> None:
    """Shows what an app wrote. Raises RuntimeError where it is ours: what it did was not what is to be measured."""
    if said := app.complaints().splitlines():
        print(f"latency: {name} wrote: {said[0]}", file=sys.stderr)
        if name in MUST_WORK:
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
