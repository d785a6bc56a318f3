"""Processes that hold units before they know how many they need, of which some are killed, and what their logs say.

What was counted at the instant of a hold is known: at least what was used of earlier ones, up to what they held. What a
settle counted above that was counted between two looks at the clock, which on one machine is the store's.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, NamedTuple

from ratelimit.model import FOREVER, Charge, Limit, Quota, Rate
from ratelimit.stores.redis import RedisStore

PROCESSES = 8
KILLED = 3  # of them, in the middle
CALLERS = 3
AT_A_TIME = 4  # holds of a process
WINDOW, MOST = 1_000, 60
LEASE = 1_000


class Held(NamedTuple):
    """`used` is None where it was never settled, as its holder died, `sure` whether it is known that it was; `late`
    where it may have gone back before; what was used above `units` was counted between `first` and `last`."""

    caller: int
    units: int
    at_ms: int
    used: int | None = None
    first: int = 0
    last: int = 0
    late: bool = False
    sure: bool = True


@dataclass(frozen=True)
class Report:
    held: int
    denied: int
    above: int  # settled for more than was held
    dead: int  # never settled
    over: tuple[str, ...]  # what is wrong; none is well


def charges_of(caller: int) -> tuple[Charge, ...]:
    """A narrow rate, and a quota that counts everything."""
    rate = Limit("second", Rate(WINDOW, 10), lambda _: MOST, hold=True)
    year = Limit("year", Quota("year"), lambda _: 10**9, hold=True)
    maxes = ((rate, MOST), (year, 10**9))
    return tuple(Charge(one, f"{{user={caller}}}:{one.name}", 1, ((FOREVER, most),)) for one, most in maxes)


def run(url: str, seconds: float, seed: int = 1) -> Report:
    prefix = f"holders-{seed}-{time.time_ns()}"
    with tempfile.TemporaryDirectory(prefix="ratelimit-holders-") as folder:
        context = multiprocessing.get_context("spawn")
        logs = [Path(folder) / str(number) for number in range(PROCESSES)]
        jobs = [
            context.Process(target=_drive, args=(url, prefix, seconds, seed + n, log)) for n, log in enumerate(logs)
        ]
        for job in jobs:
            job.start()
        while not all(log.exists() for log in logs):
            time.sleep(0.01)
        time.sleep(seconds / 2)
        for job in jobs[:KILLED]:
            job.kill()
        for job in jobs:
            job.join()
        if any(job.exitcode for job in jobs[KILLED:]):
            raise RuntimeError("a process has failed")
        time.sleep(LEASE / 1000)
        lines = [
            json.loads(line) for log in logs for line in log.read_text().splitlines(keepends=True) if line[-1:] == "\n"
        ]
    held = held_of(lines)
    over = [*admitted_above(held), *asyncio.run(_miscounted(url, prefix, held))]
    denied = sum(line[0] == "denied" for line in lines)
    above = sum((one.used or 0) > one.units for one in held)
    return Report(len(held), denied, above, sum(one.used is None for one in held), tuple(over))


def held_of(lines: Sequence[list[object]]) -> list[Held]:
    held: dict[object, Held] = {}
    for what, *told in lines:
        if what == "held":
            hold_id, *rest = told
            held[hold_id] = Held(*rest)  # type: ignore[arg-type]
        elif what == "settling":
            hold_id, used, first = told
            held[hold_id] = held[hold_id]._replace(used=used, first=first, last=FOREVER, sure=False)
        elif what == "settled":
            hold_id, last, late = told
            held[hold_id] = held[hold_id]._replace(last=last, late=late, sure=True)
    return list(held.values())


def admitted_above(held: Sequence[Held]) -> list[str]:
    """Holds that were given though what was surely counted by then left no room for them."""
    found = []
    by_caller: defaultdict[int, list[Held]] = defaultdict(list)
    for one in held:
        by_caller[one.caller].append(one)
    for caller, all_of in by_caller.items():
        in_order = sorted(all_of, key=lambda one: one.at_ms)
        times = [one.at_ms for one in in_order]
        used = [0, *accumulate(0 if one.late or not one.sure else min(one.used or 0, one.units) for one in in_order)]
        above = [one for one in in_order if one.sure and not one.late and (one.used or 0) > one.units]
        for one in in_order:
            begin = one.at_ms - WINDOW
            before = used[bisect_left(times, one.at_ms)] - used[bisect_right(times, begin)]
            before += sum((o.used or 0) - o.units for o in above if begin < o.first and o.last < one.at_ms)
            if before + one.units > MOST:
                found.append(f"caller {caller}: {one.units} held at {one.at_ms}, where {before} of {MOST} were counted")
    return found


async def _miscounted(url: str, prefix: str, held: Sequence[Held]) -> list[str]:
    """Quotas whose count is not what was settled: what the dead held is back, once, and nothing else is."""
    store, found = RedisStore(url, prefix=prefix, timeout=10), []
    for caller in range(CALLERS):
        mine = [one for one in held if one.caller == caller]
        least = sum(one.used or 0 for one in mine if one.sure)
        most = least + sum(one.used or 0 for one in mine if not one.sure)
        _, year = (await store.peek(charges_of(caller), 0)).states
        if not least <= year.used <= most:
            found.append(f"caller {caller}: {year.used} used, and from {least} to {most} by the logs")
    await store.close()
    return found


def _drive(url: str, prefix: str, seconds: float, seed: int, path: Path) -> None:
    with path.open("w", buffering=1) as log:
        asyncio.run(_holders(url, prefix, seconds, random.Random(seed), log))


async def _holders(url: str, prefix: str, seconds: float, dice: random.Random, log: IO[str]) -> None:
    store = RedisStore(url, prefix=prefix, timeout=5)
    callers = [charges_of(caller) for caller in range(CALLERS)]
    ends = time.monotonic() + seconds

    def say(*told: object) -> None:
        log.write(json.dumps(told) + "\n")

    async def holder() -> None:
        while time.monotonic() < ends:
            caller, units = dice.randrange(CALLERS), dice.randint(1, 12)
            sent = time.monotonic()
            decision = await store.hold(callers[caller], units, LEASE)
            if not decision.hold:
                say("denied")
                await asyncio.sleep(dice.choice([0.01, 0.1]))
                continue
            hold, charged = decision.hold, decision.hold.charged
            say("held", hold.lease.id, caller, units, (charged.counted_ms or (charged.now_ms,))[0])
            late = False
            for _ in range(dice.choice([0, 0, 0, 1, 4])):
                await asyncio.sleep(0.3)
                late = late or time.monotonic() > sent + LEASE / 2000
                sent = time.monotonic()
                late = bool(await store.renew([hold.lease])) or late
            used = dice.choice([0, units // 2, units, units, units + 3])
            say("settling", hold.lease.id, used, time.time_ns() // 1_000_000)
            for _ in range(dice.choice([1, 1, 2])):
                await store.settle(hold, used)
            late = late or time.monotonic() > sent + LEASE / 2000
            say("settled", hold.lease.id, time.time_ns() // 1_000_000, late)

    await asyncio.gather(*[holder() for _ in range(AT_A_TIME)])
    await store.close()
