"""Whether a process grows that meets ever new callers: its resident memory, each request from another address.

The whole middleware, called in the process. The child that is measured is `python -m benchmarks.growth URL CALLERS`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression

import uvloop

from benchmarks import load
from benchmarks.section import Figure, Plot, Point, Table
from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.model import Message, Receive, Scope, Send

SAMPLES = 40
TOGETHER = 64
MIB = 1 << 20
CALLERS = {"Redis": (1_000_000, 1_000_000), "memory://": (200_000, 1_000_000)}  # by store, in the short and full form
FLAT = 5.0  # bytes a caller that a process may grow by while it meets the second half of them
# Windows that end soon: both stores keep a counter for as long as it matters, the memory store in the process itself.
POLICY = """
[store]
timeout = "10s"
on_failure = "deny"
[tiers.anonymous]
limits = [ { name = "burst", rate = "100/second" }, { name = "all", rate = "1000/second" } ]
"""

Samples = Sequence[tuple[int, float]]  # callers so far, resident memory in MiB


def measure(*, short: bool) -> tuple[Table, Plot, list[Figure]]:
    callers = {store: of_short if short else of_full for store, (of_short, of_full) in CALLERS.items()}
    samples = {"memory://": sample("memory://", callers["memory://"])}
    with load.store() as server:
        samples["Redis"] = sample(server.unix_url, callers["Redis"])
    rows, figures = [], []
    series: dict[str, list[Point]] = {}
    for store, taken in samples.items():
        each = slope(taken)
        grown = each * callers[store] / 2 / MIB
        held = (round(taken[0][1], 1), round(taken[-1][1], 1))
        rows.append((store, callers[store], *held, round(each, 1), round(grown, 2)))
        if store == "Redis":  # what the memory store holds goes by how many callers come within two seconds
            what = (
                f"growth of a process in bytes a caller, over the second half of {callers[store]:,} different callers"
            )
            note = f"{grown:.2f} MiB in all"
            figures.append(Figure(what, f"flat: <= {FLAT:g}", round(each, 1), is_flat(taken), note))
        series[store] = [(number, resident) for number, resident in taken]
    columns = ("store", "callers", "MiB at first", "MiB at last", "bytes a caller, 2nd half", "growth in MiB, 2nd half")
    plot = Plot("growth", "Resident memory of a process", "different callers", "MiB", "lines", series)
    return Table("A process that meets ever new callers", columns, rows), plot, figures


def slope(samples: Samples) -> float:
    """Bytes a caller, by least squares over the second half: one sample alone would tell of the allocator's pages."""
    second = [taken for taken in samples if taken[0] >= samples[-1][0] / 2]
    return linear_regression([float(callers) for callers, _ in second], [mib * MIB for _, mib in second]).slope


def is_flat(samples: Samples) -> bool:
    return slope(samples) <= FLAT


def sample(url: str, callers: int) -> Samples:
    """Of a process of its own, so that nothing else is in it."""
    command = [sys.executable, "-m", "benchmarks.growth", url, str(callers)]
    done = subprocess.run(command, cwd=load.ROOT, check=True, stdout=subprocess.PIPE)
    return [(number, resident) for number, resident in json.loads(done.stdout)]


async def meet(url: str, callers: int) -> Samples:
    """One request of each caller, some at once; raises RuntimeError if one of them did not reach the app."""
    reached = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal reached
        reached += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limited = RateLimitMiddleware(app, parse_policy(POLICY), store=url)
    taken = []
    for first in range(0, callers, TOGETHER):
        some = range(first, min(first + TOGETHER, callers))
        await asyncio.gather(*(limited(request(number), receive, send) for number in some))
        if first * SAMPLES // callers != (first + TOGETHER) * SAMPLES // callers:
            taken.append((first + TOGETHER, resident()))
    await limited.store.close()
    if reached != callers:
        raise RuntimeError(f"of {callers} requests {reached} reached the app")
    return taken


def request(number: int) -> Scope:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return {"type": "http", "method": "GET", "path": "/items/1", "headers": [], "client": (address, 1)}


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Message) -> None:
    pass


def resident() -> float:
    """MiB, as Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


if __name__ == "__main__":
    print(json.dumps(uvloop.run(meet(sys.argv[1], int(sys.argv[2])))))
