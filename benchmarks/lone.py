"""What one decision takes that waits for nobody, by turns with a PING and with its own script through redis-py."""

from __future__ import annotations

import ast
import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import uvloop
from redis.asyncio import Redis

from benchmarks import load, policy
from benchmarks.section import Cell, Table
from ratelimit import Identity, RedisStore, parse_policy
from ratelimit.model import Charge
from tests.servers import Server

CALLER = Identity(organization="acme", tier="basic")
WARM = 200  # turns that are not counted
BLOCK = 200  # turns whose medians are compared; the ratios of a row are those of its blocks
QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')  # an argument, as MONITOR shows it

DECISION, PING, EVALSHA = "RedisStore.acquire", "PING through redis-py", "the same EVALSHA through redis-py"
Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds by the name of what was called, one a turn."""

    seconds: Mapping[str, Sequence[float]]

    def blocks(self, name: str) -> list[float]:
        """Medians in microseconds."""
        seconds = self.seconds[name]
        return [median(seconds[at : at + BLOCK]) * 1e6 for at in range(0, len(seconds), BLOCK)]

    def ratios(self, name: str) -> list[float]:
        """How many PINGs each block of this one took."""
        return [own / ping for own, ping in zip(self.blocks(name), self.blocks(PING), strict=True)]

    def table(self) -> Table:
        rows: list[list[Cell]] = []
        for name, seconds in self.seconds.items():
            ratios = self.ratios(name)
            spread = [round(value, 2) for value in (median(ratios), min(ratios), max(ratios))]
            rows.append([name, round(median(seconds) * 1e6, 1), *spread])
        note = f"{len(self.seconds[PING])} turns of one call each; ratios of the medians of {BLOCK} turns."
        return Table("A lone decision, a rate and a quota", ("", "µs", "PINGs", "least", "most"), rows, note)


def measure(turns: int) -> Timed:
    """The calls by turns in one process, on uvloop, each alone. `turns` is a multiple of BLOCK."""
    charges = parse_policy(policy.text()).charges(CALLER, "detail_read")
    with load.store() as server:
        return Timed(uvloop.run(_timed(server, charges, turns)))


async def _timed(server: Server, charges: Sequence[Charge], turns: int) -> dict[str, list[float]]:
    store, redis = RedisStore(server.url, timeout=1), Redis.from_url(server.url)
    sent = await _sent(server, store, charges)
    calls: list[tuple[str, Call]] = [
        (PING, redis.ping),
        (EVALSHA, lambda: redis.execute_command(*sent)),  # type: ignore[no-untyped-call]
        (DECISION, lambda: store.acquire(charges)),
    ]
    seconds: dict[str, list[float]] = {name: [] for name, _ in calls}
    for turn in range(-WARM, turns):
        for name, call in calls[turn % 3 :] + calls[: turn % 3]:
            started = time.perf_counter()
            await call()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - started)
            await asyncio.sleep(0)  # what a call left for the loop to do is not the next one's
    await store.close()
    await redis.aclose()
    return seconds


async def _sent(server: Server, store: RedisStore, charges: Sequence[Charge]) -> list[bytes]:
    """The command that the store sends for these charges, once its script is loaded; an argument each."""
    await store.acquire(charges)
    with server.client().monitor() as monitor:  # type: ignore[no-untyped-call]
        await store.acquire(charges)
        line: bytes = monitor.connection.read_response(disable_decoding=True)
    return [ast.literal_eval(f"b{quoted.decode('ascii')}") for quoted in QUOTED.findall(line)]
