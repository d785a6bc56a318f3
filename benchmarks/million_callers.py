"""Ever new callers of the memory store in one process: `python -m benchmarks.million_callers ORDER`, a JSON object.

`callers` make one request each, or with `sub_windows` one in each of so many seconds. With `again` as many others come
once these have expired; without a `store` nobody decides; with `policy` a Policy makes the charges. With `trace`
Python's own allocations are counted, which takes several times as long. Prints a JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import tracemalloc
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ratelimit import Charge
    from ratelimit.policy import Policy

MIB = 1 << 20
FIRST = 1_000  # callers before those that count
MAX = 1_000_000_000  # of both limits: nobody is denied
TOGETHER = 8  # requests between two looks of the loop at its timers: some 0.1 ms
OPERATION = "detail_read"
SOME = 97  # the requests of which one is kept for the median
TICK = 0.001  # seconds
EXPIRED = 33 * 86_400  # seconds: past the end of any month, and of every window
IDLE = 10.0  # seconds of a loop in which nobody asks: what a timer forgets is forgotten now


class Clocks:
    """Both clocks of a store, moved together; what asyncio's timers go by moves with them.

    `time.monotonic` is replaced before anything of ratelimit is imported, so whoever asks for it gets this one.
    """

    def __init__(self) -> None:
        self.ahead_ms = 0
        self._monotonic_ns = time.monotonic_ns
        time.monotonic = lambda: self.monotonic_ns() / 1e9
        time.monotonic_ns = self.monotonic_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns() + self.ahead_ms * 1_000_000

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


class Ticker:
    """The longest gap between two ticks beyond the millisecond, in milliseconds: by the wall clock, and by processor
    time, which another process that has its turn meanwhile does not lengthen."""

    def __init__(self) -> None:
        self.gap = self.gap_cpu = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Ticker:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(10 * TICK)
        self.gap = self.gap_cpu = 0.0  # of what came before
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(2 * TICK)
        if self._task:
            self._task.cancel()

    async def _tick(self) -> None:
        while True:
            began, cpu = time.perf_counter(), time.process_time()
            await asyncio.sleep(TICK)
            self.gap = max(self.gap, (time.perf_counter() - began - TICK) * 1e3)
            self.gap_cpu = max(self.gap_cpu, (time.process_time() - cpu - TICK) * 1e3)


class Taken:
    """How many requests there were, the wall-clock time of some of them in microseconds, and of the slowest in
    milliseconds, by the wall clock and by processor time: as little as can be kept, for it is measured too."""

    def __init__(self) -> None:
        self.requests = 0
        self.some: list[float] = []
        self.slowest = self.slowest_cpu = 0.0

    def add(self, wall_ns: int, cpu_ns: int) -> None:
        self.requests += 1
        if not self.requests % SOME:
            self.some.append(wall_ns / 1e3)
        self.slowest = max(self.slowest, wall_ns / 1e6)
        self.slowest_cpu = max(self.slowest_cpu, cpu_ns / 1e6)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def made_policy() -> Policy:
    """By hand: a file would bring pydantic, whose objects each full collection of garbage looks at, too."""
    from ratelimit.model import Limit, Quota, Rate
    from ratelimit.policy import Policy

    def most(_: object) -> int:
        return MAX

    limits = (Limit("requests", Rate(60_000), most), Limit("monthly", Quota("month"), most))
    never: Any = None  # nobody is identified or answered here
    return Policy({"known": limits}, identify=never, classify=never, style=never, address=never)


class Callers:
    """They ask one store, and what the process holds is told by how much it has grown."""

    def __init__(self, clocks: Clocks, *, store: bool, policy: bool) -> None:
        from ratelimit import Identity, MemoryStore

        self._clocks = clocks
        self._store = MemoryStore(clock=clocks.now_ms) if store else None
        self._policy = made_policy()
        self._of_policy = policy
        self._templates = self._policy.charges(Identity(organization="NOBODY", tier="known"), OPERATION)
        self.before = 0

    def grown(self) -> int:
        return resident() - self.before

    async def ask(self, numbers: range, taken: Taken) -> None:
        """One request each."""
        for number in numbers:
            charges = self._charges(f"customer-{number}")
            began, cpu = time.perf_counter_ns(), time.thread_time_ns()
            if self._store is not None and not (await self._store.acquire(charges)).allowed:
                raise RuntimeError(f"caller {number} was denied")
            taken.add(time.perf_counter_ns() - began, time.thread_time_ns() - cpu)
            if number % TOGETHER == 0:
                await asyncio.sleep(0)

    def _charges(self, name: str) -> tuple[Charge, ...]:
        """By the policy, which remembers thousands of callers, or as it would make them: then nothing is remembered."""
        from ratelimit import Charge, Identity

        if self._of_policy:
            return self._policy.charges(Identity(organization=name, tier="known"), OPERATION)
        return tuple([Charge(t.limit, t.key.replace("NOBODY", name), t.cost, t.maxes) for t in self._templates])

    async def part(self, numbers: range, sub_windows: int = 1) -> dict[str, Any]:
        taken = Taken()
        async with Ticker() as ticker:
            for second in range(sub_windows):
                self._clocks.ahead_ms += 1_000 * bool(second)
                await self.ask(numbers, taken)
        return {
            "requests": taken.requests,
            "callers": len(numbers),
            "resident_mib": self.grown() / MIB,
            "bytes": self.grown() / len(numbers),
            "gap_ms": round(ticker.gap, 2),
            "gap_cpu_ms": round(ticker.gap_cpu, 2),
            "slowest_ms": round(taken.slowest, 2),
            "slowest_cpu_ms": round(taken.slowest_cpu, 2),
            "median_us": median(taken.some),
        }


async def main(order: dict[str, Any], clocks: Clocks) -> dict[str, Any]:
    callers = Callers(clocks, store=order.get("store", True), policy=order.get("policy", False))
    number = order["callers"]
    await callers.ask(range(-FIRST, 0), Taken())  # what is made once
    callers.before = resident()
    if order.get("trace"):
        tracemalloc.start()
        asked = tracemalloc.get_traced_memory()[0]
        await callers.ask(range(number), Taken())
        return {"asked": (tracemalloc.get_traced_memory()[0] - asked) / number}
    found = await callers.part(range(number), order.get("sub_windows", 1))
    if order.get("again"):
        clocks.ahead_ms += EXPIRED * 1_000
        async with Ticker() as ticker:
            await asyncio.sleep(IDLE)
        found |= {"idle_mib": callers.grown() / MIB, "idle_gap_ms": ticker.gap, "idle_gap_cpu_ms": ticker.gap_cpu}
        found["again"] = await callers.part(range(number, 2 * number))
    return found


if __name__ == "__main__":
    clocks = Clocks()
    print(json.dumps(asyncio.run(main(json.loads(sys.argv[1]), clocks))))
