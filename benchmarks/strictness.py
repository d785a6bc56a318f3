"""The most that is admitted in any window: four processes, one greedy caller that pauses, a limit of 100.

What a limiter promises is that this is never above the limit. Bursts after a pause and on both sides of an edge are
what tells algorithms apart, so the caller asks as fast as it can for a random time, then is silent for another.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks import environments, load
from benchmarks.apps.algorithms import ALGORITHMS
from benchmarks.section import Figure, Plot, Point, Section, Table

LIMIT = 100
WINDOW = 1  # seconds: the only short window that every library can say
PROCESSES = 4
JITTER_MS = 50  # by how much the delay between a decision and our note of it may differ
OBSERVED_MS = WINDOW * 1_000 - JITTER_MS
INTERVAL = f"{OBSERVED_MS} ms of our notes; the window is {WINDOW * 1_000:,} ms"
SEED = 3
SECOND = 1_000_000_000  # in nanoseconds, as instants are here
GREEDY = load.APPS / "greedy.py"

Row = tuple[str, int, int, int]  # an algorithm; its worst in OBSERVED_MS and in a full WINDOW; what it admitted in all


def measure(*, short: bool) -> Section:
    """A row for each algorithm of each library; a figure for each mode of ours."""
    dice = random.Random(SEED)  # noqa: S311 - seeded, so that every run and every algorithm has the same stretches
    stretches = schedule(dice, seconds=6 if short else 30)
    rows: list[Row] = []
    for name in ALGORITHMS:
        print(f"strictness: {name}", file=sys.stderr)
        admitted = run(name, stretches)
        worst, in_full = (worst_in_any(admitted, ms * 1_000_000) for ms in (OBSERVED_MS, WINDOW * 1_000))
        rows.append((name, worst, in_full, len(admitted)))
    return section(rows, len(stretches))


def section(rows: Sequence[Row], stretches: int) -> Section:
    text = (
        f"{PROCESSES} processes call each library, for one caller with a limit of {LIMIT} in {WINDOW} s. Each has"
        f" two requests under way and asks again 2 ms after a denial, in {stretches} stretches of 0.2 to 1.5 windows"
        " with pauses of 0.3 to 3 windows between them, the same for all. Shown is the most that was admitted in any"
        f" {OBSERVED_MS} ms by our notes: the delay from a decision to its note differs, and an observer"
        " whose delays differ by J can expect a limit to hold in a window less J. Beside it is the count in a full"
        " window, which such delays can raise. Ours is the whole middleware, which"
        " remembers denials in all its modes."
    )
    note = "asgi-ratelimit rounds the wait to whole seconds, and lets pass whoever had less than half a second to wait."
    worst_in = [f"worst admitted in any {ms:,} ms" for ms in (OBSERVED_MS, WINDOW * 1_000)]
    table = Table("By algorithm", ("algorithm", *worst_in, "admitted in all"), rows, note)
    bars: dict[str, list[Point]] = {"admitted": [(name, worst) for name, worst, *_ in rows]}
    title = f"Worst admitted at a limit of {LIMIT}, in any {INTERVAL}"
    plot = Plot("strictness", title, "", "requests", "bars", bars)
    return Section("strictness", "Worst admitted in any window", text, [table], [plot], [*figures(rows)])


def figures(rows: Sequence[Row]) -> Iterator[Figure]:
    for name, worst, *_ in rows:
        if name.startswith(environments.OURS):
            what = f"worst admitted in any window, {PROCESSES} processes, greedy caller, {name}"
            yield Figure(what, f"<= {LIMIT}", worst, worst <= LIMIT, f"in {INTERVAL}")


def schedule(dice: random.Random, *, seconds: float) -> list[tuple[int, int]]:
    """The stretches in which the caller asks, [from, until] in nanoseconds from the start."""
    stretches = []
    at = 0.0
    while at < seconds:
        end = at + dice.uniform(0.2, 1.5) * WINDOW
        stretches.append((round(at * SECOND), round(end * SECOND)))
        at = end + dice.uniform(0.3, 3.0) * WINDOW
    return stretches


def worst_in_any(instants: Iterable[int], length: int) -> int:
    """The most instants in any half-open interval of a length: the worst of them begins with an instant."""
    ordered = sorted(instants)
    return max((bisect_left(ordered, since + length) - i for i, since in enumerate(ordered)), default=0)


def run(algorithm: str, stretches: Sequence[tuple[int, int]]) -> list[int]:
    """The instants (ns) at which any of the processes was admitted."""
    with load.store() as server:
        order = {"algorithm": algorithm, "url": server.url, "limit": LIMIT, "seconds": WINDOW, "stretches": stretches}
        processes = [start(order) for _ in range(PROCESSES)]
        try:
            for process in processes:
                if process.stdout and process.stdout.readline() != "ready\n":
                    raise RuntimeError(f"a process with {algorithm} did not start: see its error above")
            begin = time.monotonic_ns() + SECOND // 5
            for process in processes:
                if process.stdin:
                    process.stdin.write(f"{begin}\n")
                    process.stdin.flush()
            return [instant for process in processes for instant in json.loads(process.communicate()[0])]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def command(order: Mapping[str, object]) -> tuple[list[str], dict[str, str]]:
    """greedy.py in the environment of the library that an algorithm is of: the command, and its variables."""
    library = str(order["algorithm"]).partition(",")[0]
    variables = load.ours({}) if library == environments.OURS else {}
    return [str(environments.python(library)), str(GREEDY), json.dumps(order)], variables


def start(order: Mapping[str, object]) -> subprocess.Popen[str]:
    program, variables = command(order)
    return subprocess.Popen(program, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
