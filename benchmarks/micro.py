"""What each part of the path of a request takes, against the committed results: so that a regression is found."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from timeit import Timer

import uvloop

from benchmarks import load
from benchmarks.charges import charges_of, policy
from benchmarks.micro_parts import YARDSTICK, Part, parts
from benchmarks.section import Section, Table, from_json
from ratelimit import RedisStore

RESULTS = Path(__file__).parent / "results.json"
NAME = "micro"
TURN = 0.004  # seconds that a part is repeated for in each round
SLOWER = 1.25  # times the committed figure: what noise alone does not explain
CALLERS = 64
ON_REDIS = "Redis store: a rate and a quota, 64 at once"

Times = dict[str, list[float]]  # nanoseconds by part, one a round


def measure(*, short: bool) -> Section:
    """The least and the median of each part. Prints how they compare with the committed results."""
    rounds = 40 if short else 200
    times = uvloop.run(timed(parts(), rounds)) | {ON_REDIS: uvloop.run(on_redis(rounds))}
    least = {name: min(taken) for name, taken in times.items()}
    print("\n".join(compared(committed(), least)), file=sys.stderr)
    rows = [(name, round(least[name]), round(median(taken))) for name, taken in times.items()]
    text = (
        f"Each part alone, in nanoseconds: the least and the median of {rounds} rounds, in which all take turns. Of"
        " the decision on Redis it is this process's processor time. The yardstick is no part: a run on another machine"
        " is compared by how much longer it takes there."
    )
    return Section(
        NAME, "The parts", text, [Table("Parts", ("part", "least, ns", "median, ns"), rows)], raw={"least": least}
    )


async def timed(all_parts: Mapping[str, Part], rounds: int) -> Times:
    """In turns, so that what disturbs one round disturbs all parts; in a loop, as some of them ask which it is."""
    timers = {name: Timer(part) for name, part in all_parts.items()}
    numbers = {name: max(1, round(TURN / (timer.timeit(100) / 100))) for name, timer in timers.items()}
    times: Times = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer.timeit(numbers[name]) / numbers[name] * 1e9)
    return times


async def on_redis(rounds: int) -> list[float]:
    """Processor time of this process for a decision: putting the call together, sending it, reading its reply."""
    callers = charges_of(policy('rate = "1000000000/minute"', 'quota = "1000000000/month"'), CALLERS)
    times = []
    with load.store() as server:
        store = RedisStore(server.unix_url, timeout=10.0)
        await asyncio.gather(*map(store.acquire, callers))
        for _ in range(rounds):
            before = time.process_time_ns()
            for _ in range(10):
                await asyncio.gather(*map(store.acquire, callers))
            times.append((time.process_time_ns() - before) / 10 / CALLERS)
        await store.close()
    return times


def committed(results: Path = RESULTS) -> dict[str, float]:
    """The least of each part in results.json; nothing if it has none."""
    sections = from_json(results.read_text()) if results.exists() else []
    found = next((section.raw for section in sections if section.name == NAME), {})
    return {name: float(least) for name, least in found.get("least", {}).items()}


def compared(before: Mapping[str, float], now: Mapping[str, float]) -> Sequence[str]:
    """A line for each part: what it took and takes, and how many times as long that is by the yardstick of its time."""
    if YARDSTICK not in before:
        return ["there are no committed figures to compare with"]
    machine = now[YARDSTICK] / before[YARDSTICK]
    lines = [f"{'part':48} {'committed':>10} {'now':>10}   ratio, on a machine that takes {machine:.2f} times as long"]
    for name, least in now.items():
        if name in before and name != YARDSTICK:
            ratio = least / before[name] / machine
            mark = "   SLOWER" if ratio > SLOWER else ""
            lines.append(f"{name:48} {before[name]:10.0f} {least:10.0f}   {ratio:.2f}{mark}")
    return lines
