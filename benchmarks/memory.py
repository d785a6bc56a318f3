"""What a caller costs: the memory of Redis, ours and by algorithm of the peers, and that of a process."""

from __future__ import annotations

import subprocess
import sys
import time

import uvloop
from redis import Redis

from benchmarks import environments, growth, load
from benchmarks.apps.algorithms import ALGORITHMS
from benchmarks.charges import charges_of, policy, use_up
from benchmarks.section import Figure, Plot, Point, Section, Table
from benchmarks.strictness import command
from ratelimit.policy import Policy
from tests.servers import Server
from tests.stores import Subject

GOAL = 800  # bytes a caller
CALLERS = 1_000
MAXES = (100, 1_000_000)
SPENT = (100, 1_000)  # what one caller has used of a peer's limit in its minute
MINUTE = 60  # seconds
UNWATCHED = ("--latency-tracking", "no")  # a histogram for each command, of tens of kilobytes


def measure(*, short: bool) -> Section:
    held = [(name, maximum, *full(name, maximum)) for name in ("valkey", "redis") for maximum in MAXES]
    goals = [
        Figure(
            f"bytes of {name} a caller, a full minute and a monthly quota at a limit of {maximum:,}",
            f"<= {GOAL}",
            by_keys,
            by_keys <= GOAL,
            f"{in_all} with the server's own tables of keys and expiries",
        )
        for name, maximum, by_keys, in_all in held
    ]
    peers = {name: [of_one(name, spent) for spent in SPENT] for name in ALGORITHMS if "reserve" not in name}
    bars: dict[str, list[Point]] = {
        f"{spent:,} requests": [(name, used[number]) for name, used in peers.items()]
        for number, spent in enumerate(SPENT)
    }
    table, plot, figures = growth.measure(short=short)
    return Section(
        "memory",
        "Memory",
        f"Redis: {CALLERS:,} callers used all of a limit a minute, something in each of its seconds, and as much of a"
        " quota a month. By keys is the sum of MEMORY USAGE; in all is `used_memory` against that after FLUSHALL,"
        " without clients and scripts. The peers: one caller has made so many requests within a minute, with one limit"
        " of as many; ours is the rate alone, used in each second. The process: the whole middleware with two rates,"
        f" called from another address each time; the slope is that of the second half of {growth.SAMPLES} samples.",
        [
            Table("Redis memory a caller, ours", ("server", "max", "bytes by keys", "bytes in all"), held),
            Table(
                "Redis memory of one caller by algorithm, one limit a minute",
                ("algorithm", *(f"bytes after {spent:,} requests" for spent in SPENT)),
                [(name, *used) for name, used in peers.items()],
            ),
            table,
        ],
        [Plot("memory", "Redis memory of one caller, one limit a minute", "", "bytes", "bars", bars), plot],
        [*goals, *figures],
    )


def full(name: str, maximum: int) -> tuple[int, int]:
    """Bytes a caller with a full minute and a monthly quota: by the keys, and in all."""
    limits = policy(f'rate = "{maximum}/minute"', f'quota = "{maximum}/month"')
    with load.store(name, *UNWATCHED) as server, server.client() as client:
        uvloop.run(used_up(server, limits, maximum, CALLERS))
        by_keys = of_keys(client)
        client.execute_command("SCRIPT", "FLUSH", "SYNC")
        filled = in_use(client)
        client.execute_command("FLUSHALL", "SYNC")  # the same server emptied: it keeps some tables that a new one lacks
        return round(by_keys / CALLERS), round((filled - in_use(client)) / CALLERS)


async def used_up(server: Server, limits: Policy, maximum: int, callers: int) -> None:
    subject = Subject(server.name, server.unix_url)
    await use_up(subject, charges_of(limits, callers), maximum, time.time_ns() // 1_000_000)
    await subject.store.close()


def of_one(algorithm: str, spent: int) -> int:
    """Bytes of all keys of one caller that has used all of a limit of `spent` a minute."""
    print(f"memory: {algorithm}, {spent} requests", file=sys.stderr)
    with load.store() as server, server.client() as client:
        if algorithm == environments.OURS:  # a burst would leave most of the window empty
            uvloop.run(used_up(server, policy(f'rate = "{spent}/minute"'), spent, callers=1))
        else:
            order = {"algorithm": algorithm, "url": server.url, "limit": spent, "seconds": MINUTE, "count": spent}
            program, environment = command(order)
            subprocess.run(program, env=environment, check=True)
        return of_keys(client)


def of_keys(client: Redis) -> int:
    """MEMORY USAGE of all that is there, to the last element."""
    return sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter(count=1_000))


def in_use(client: Redis) -> int:
    """`used_memory`, less what is held for connections."""
    memory = client.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_clients_normal"])
