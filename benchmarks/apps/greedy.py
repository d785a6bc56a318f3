"""A process with one caller, run in the environment of a library: `python greedy.py ORDER`, a JSON object.

`{"algorithm": …, "url": …, "limit": …, "seconds": …}` is what limits it. With `"count"` it asks so many times, one
after the other, and fails if one is denied. With `"stretches"`, a list of [from, until] in nanoseconds, it asks as
often as it can in each of them: it prints `ready`, reads the instant of CLOCK_MONOTONIC (ns) that they begin at, and at
the end prints a JSON list of the instants at which it was admitted. All processes of a machine share that clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop
from algorithms import ALGORITHMS, Allow

AT_ONCE = 2  # requests that a process has under way
PAUSE = 0.002  # seconds after a denial: 8 requests then come back 4,000 times a second, for a limit of 100


async def main() -> None:
    order = json.loads(sys.argv[1])
    allow = await ALGORITHMS[order["algorithm"]](order["url"], order["limit"], order["seconds"])
    for number in range(order.get("count", 0)):
        if not await allow():
            raise SystemExit(f"request {number + 1} was denied at a limit of {order['limit']}")
    if "stretches" in order:
        print("ready", flush=True)
        begin = int(sys.stdin.readline())
        stretches = [(begin + since, begin + until) for since, until in order["stretches"]]
        admitted: list[int] = []
        await asyncio.gather(*(ask(allow, stretches, admitted) for _ in range(AT_ONCE)))
        print(json.dumps(admitted))


async def ask(allow: Allow, stretches: list[tuple[int, int]], admitted: list[int]) -> None:
    for since, until in stretches:
        await asyncio.sleep(max(0, since - time.monotonic_ns()) / 1e9)
        while time.monotonic_ns() < until:
            if await allow():
                admitted.append(time.monotonic_ns())
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(PAUSE)


uvloop.run(main())
