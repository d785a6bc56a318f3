"""Several processes on one cluster, random callers, and what comes of a log of every admitted request.

Of a request that the store decided, the instant is the store's own, which its decision carries. Of one that may have
been admitted on a unit taken ahead it is between two looks at the clock, before and after, which on one machine is the
store's clock: a window counts it only where both are in it. So nothing is found that was not there.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import tempfile
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ratelimit.model import FOREVER, Charge, Concurrency, Decision, Limit, Quota, Rate, StoreUnavailable
from ratelimit.stores.redis import ClusterStore

PROCESSES = 4
CALLERS = 24
AT_A_TIME = 8  # requests of a process
QUOTA = 2_000  # a year, of each caller


class Admitted(NamedTuple):
    """One request that was let through: what it took of which limit, between which instants (ms)."""

    key: str
    cost: int
    first: int
    last: int


@dataclass(frozen=True)
class Report:
    """What came of it."""

    admitted: int
    denied: int
    without_store: int
    ahead: int  # of those admitted, on units taken ahead and without a trip
    over: tuple[str, ...]  # windows with more than max, and counters that say another number than the log; none is well

    def __str__(self) -> str:
        told = f"{self.admitted} admitted, {self.ahead} of them on units taken ahead, {self.denied} denied, "
        return "\n".join([f"{told}{self.without_store} without the store; {len(self.over)} over", *self.over])


def charges_of(caller: int, reserve: bool) -> tuple[Charge, ...]:
    """A third of the callers have a cap, and a third a limit in shadow that is far exceeded; some take 3 units each."""
    kinds: list[tuple[str, Rate | Quota | Concurrency, int, str]] = [
        ("second", Rate(1_000, 10), 20, "enforce"),
        ("seconds", Rate(3_000, 7), 45, "enforce"),
        ("year", Quota("year"), QUOTA, "enforce"),
    ]
    if not reserve and caller % 3 == 0:
        kinds.append(("cap", Concurrency(5_000), 4, "enforce"))
    if not reserve and caller % 3 == 1:
        kinds.append(("shadow", Rate(1_000, 10), 5, "shadow"))
    return tuple(_charge(caller, name, kind, most, mode, reserve) for name, kind, most, mode in kinds)


def _charge(caller: int, name: str, kind: Rate | Quota | Concurrency, most: int, mode: str, reserve: bool) -> Charge:
    cost = 3 if caller % 4 == 3 and not isinstance(kind, Concurrency) else 1
    limit = Limit(name, kind, lambda _: most, mode=mode, reserve=reserve)  # type: ignore[arg-type]
    return Charge(limit, f"{{user={caller}}}:{name}", cost, ((FOREVER, most),))


def run(url: str, seconds: float, *, seed: int = 1, reserve: bool = False, mixed: bool = False) -> Report:
    """Drive `PROCESSES` processes at the cluster for so long. `mixed`: half of them take units ahead."""
    prefix = f"strict-{seed}-{time.time_ns()}"
    with tempfile.TemporaryDirectory(prefix="ratelimit-strict-") as folder:
        context = multiprocessing.get_context("spawn")
        jobs = [
            context.Process(
                target=_drive,
                args=(url, prefix, seconds, seed + n, reserve or (mixed and n % 2 == 0), Path(folder) / str(n)),
            )
            for n in range(PROCESSES)
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
            if job.exitcode:
                raise RuntimeError(f"a process ended with status {job.exitcode}")
        logs = [json.loads(path.read_text()) for path in sorted(Path(folder).iterdir())]
    admitted = [Admitted(*line) for log in logs for line in log["admitted"]]
    counts = Counter[str]()
    for log in logs:
        counts.update(log["counts"])
    limits = {c.key: c for caller in range(CALLERS) for ahead in (True, False) for c in charges_of(caller, ahead)}
    over = [*windows_over(limits, admitted), *asyncio.run(_miscounted(url, prefix, limits, admitted))]
    return Report(counts["admitted"], counts["denied"], counts["without store"], counts["ahead"], tuple(over))


def windows_over(limits: dict[str, Charge], admitted: Iterable[Admitted]) -> list[str]:
    """Of each rate, and of each quota as a window of a year, the fullest window that is surely over its max."""
    by_key: defaultdict[str, list[Admitted]] = defaultdict(list)
    for one in admitted:
        by_key[one.key].append(one)
    found = []
    for key, lines in by_key.items():
        charge = limits[key]
        kind, most = charge.limit.kind, charge.maxes[0][1]
        if charge.limit.mode == "shadow" or isinstance(kind, Concurrency):
            continue
        window = kind.window_ms if isinstance(kind, Rate) else 366 * 86_400_000
        used, first = fullest(lines, window)
        if used > most:
            found.append(f"{key}: {used} of {most} in the {window} ms from {first}")
    return found


def fullest(lines: Sequence[Admitted], window_ms: int) -> tuple[int, int]:
    """The most that was surely taken in any interval [first, first + window), and where that begins."""
    by_end = sorted(lines, key=lambda one: one.last)
    ends = [one.last for one in by_end]
    best = 0, 0
    for first in sorted({one.first for one in lines}):
        till = bisect_left(ends, first + window_ms)
        begin = bisect_left(ends, first)
        used = sum(one.cost for one in by_end[begin:till] if one.first >= first)
        best = max(best, (used, -first))
    return best[0], -best[1]


async def _miscounted(url: str, prefix: str, limits: dict[str, Charge], admitted: Iterable[Admitted]) -> list[str]:
    """Quotas whose count in the store is not what the log says: nothing is forgotten, and no slot is kept."""
    taken = Counter[str]()
    for one in admitted:
        taken[one.key] += one.cost
    store, found = ClusterStore(url, prefix=prefix, timeout=10), []
    for key, charge in limits.items():
        if isinstance(charge.limit.kind, Rate):
            continue
        (state,) = (await store.acquire((replace(charge, cost=0),))).states
        expected = 0 if isinstance(charge.limit.kind, Concurrency) else taken[key]
        if state.used != expected:
            found.append(f"{key}: {state.used} used, and {expected} by the log")
    await store.close()
    return found


def _drive(url: str, prefix: str, seconds: float, seed: int, reserve: bool, log: Path) -> None:
    log.write_text(json.dumps(asyncio.run(_requests(url, prefix, seconds, random.Random(seed), reserve))))


async def _requests(url: str, prefix: str, seconds: float, dice: random.Random, reserve: bool) -> dict[str, object]:
    store = ClusterStore(url, prefix=prefix, timeout=2)
    callers = [charges_of(caller, reserve) for caller in range(CALLERS)]
    loop = asyncio.get_running_loop()
    ends, admitted, counts = time.monotonic() + seconds, list[Admitted](), Counter[str]()

    async def one_after_the_other() -> None:
        while time.monotonic() < ends:
            charges = callers[min(dice.randrange(CALLERS), dice.randrange(CALLERS))]  # some call far more than others
            for _ in range(dice.choice([1, 1, 1, 5])):
                await one(charges)
            await asyncio.sleep(dice.choice([0, 0, 0.001, 0.02]))

    async def one(charges: tuple[Charge, ...]) -> None:
        before, turned = time.time_ns() // 1_000_000, list[int]()
        turn = loop.call_soon(turned.append, 1)
        try:
            decision = await store.acquire(charges)
        except StoreUnavailable:
            counts["without store"] += 1
            return
        after = time.time_ns() // 1_000_000
        turn.cancel()
        counts["admitted" if decision.allowed else "denied"] += 1
        if decision.allowed:
            counts["ahead"] += not turned  # decided without an `await`
            note(charges, decision, before, after)
        if decision.leases:
            await asyncio.sleep(dice.choice([0, 0.01]))
            await store.release(decision.leases)

    def note(charges: tuple[Charge, ...], decision: Decision, before: int, after: int) -> None:
        first = last = decision.now_ms
        if reserve:  # perhaps on a unit taken ahead, which is spent here and now
            first, last = min(before, decision.now_ms), max(after, decision.now_ms)
        admitted.extend(Admitted(charge.key, charge.cost, first, last) for charge in charges)

    await asyncio.gather(*[one_after_the_other() for _ in range(AT_A_TIME)])
    await store.close()
    return {"admitted": admitted, "counts": counts}
