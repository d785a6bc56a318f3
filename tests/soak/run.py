"""The soak: load on an app for each policy of failure, a fault every few seconds, a look inside every second."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from ratelimit import hash_api_key
from tests.acceptance import workers
from tests.faults.catalog import FAULTS, Fault, wrong_type
from tests.faults.field import Field, Pair, address
from tests.faults.load import EVERY, Client
from tests.faults.matrix import PROMISED
from tests.faults.proxy import Proxy
from tests.faults.server import Server, running

CALLERS = [f"soaked-{n}" for n in range(50)]
APART = "apart"  # the caller that looks whether the store is found
LANES = 3  # connections to each app
LEASE = 2.0  # seconds
CALM = 2.0  # seconds at most from one fault to the next
EACH = 1.0  # seconds from one look inside to the next
WARM = 1 / 3  # of the time: caches fill, and the allocator finds its size


@dataclass(frozen=True)
class Look:
    """Inside one app."""

    at: float
    memory_kib: int
    tasks: int
    files: int


@dataclass
class Soaked:
    """One app, named by its policy of failure. The first and the last look are without any load."""

    on_failure: str
    looks: list[Look] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def minutes(self) -> float:
        """That were measured, after the app was warm."""
        warm = self.warm
        return (warm[-1].at - warm[0].at) / 60

    @property
    def warm(self) -> list[Look]:
        first, last = self.looks[0].at, self.looks[-1].at
        return [look for look in self.looks if look.at >= first + WARM * (last - first)]

    @property
    def slope(self) -> float:
        """Of the memory, in KiB a minute, by least squares."""
        warm = self.warm
        middle = sum(look.at for look in warm) / len(warm)
        mean = sum(look.memory_kib for look in warm) / len(warm)
        spread = sum((look.at - middle) ** 2 for look in warm)
        return 60 * sum((look.at - middle) * (look.memory_kib - mean) for look in warm) / spread if spread else 0.0


@dataclass
class Report:
    seed: int
    faults: Counter[str]
    apps: list[Soaked]
    leases: int  # that nobody holds and that have not ended, one lease after the last request


def soak(minutes: float, seed: int, policies: tuple[str, ...], name: str = "valkey") -> Report:
    with _laid_out(name, policies) as there:
        return asyncio.run(_soak(there, 60 * minutes, seed))


async def _soak(there: Field, seconds: float, seed: int) -> Report:
    dice, faults = random.Random(seed), Counter[str]()
    apps = {on_failure: Soaked(on_failure) for on_failure in there.apps}
    await _used(there)
    for on_failure, app in apps.items():
        app.looks.append(await _look(there.apps[on_failure]))
    ended = asyncio.Event()
    tasks = [asyncio.create_task(_watch(there.apps[app.on_failure], app, ended)) for app in apps.values()]
    tasks += [
        asyncio.create_task(_ask_on(there.apps[app.on_failure], app, random.Random(f"{seed} {lane}"), ended))
        for app in apps.values()
        for lane in range(LANES)
    ]
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            fault = dice.choice(MIXED)
            faults[fault.name] += 1
            await asyncio.to_thread(_do, fault, there, Pair(dice.choice(CALLERS)))
            await asyncio.sleep(dice.uniform(0, CALM))
    finally:
        ended.set()
        await asyncio.gather(*tasks)
    await _used(there)
    await asyncio.sleep(LEASE + 0.5)
    for on_failure, app in apps.items():
        app.looks.append(await _look(there.apps[on_failure]))
    assert there.server
    return Report(seed, faults, list(apps.values()), leases(there.server))


MIXED = [fault for fault in FAULTS if fault.route != "cluster" and fault.over is not wrong_type]  # of one caller alone


def _do(fault: Fault, there: Field, callers: Pair) -> None:
    with fault.over(there, callers):
        time.sleep(fault.held)


async def _used(there: Field) -> None:
    """Each app has found its store, and the connections that callers had are gone."""
    await there.settle(Pair(APART))
    await asyncio.sleep(0.5)


async def _ask_on(url: str, app: Soaked, dice: random.Random, ended: asyncio.Event) -> None:
    client = Client(*address(url))
    while not ended.is_set():
        app.statuses[(await client.ask(Pair(dice.choice(CALLERS)).roomy)).status] += 1
        await asyncio.sleep(EVERY)
    client.close()


async def _watch(url: str, app: Soaked, ended: asyncio.Event) -> None:
    while not ended.is_set():
        app.looks.append(await _look(url))
        await asyncio.sleep(EACH)


async def _look(url: str) -> Look:
    """Over a connection of its own, that has ended when it returns."""
    reader, writer = await asyncio.open_connection(*address(url))
    writer.write(b"GET /inside HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    _, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return Look(time.monotonic(), **json.loads(body))


def leases(server: Server) -> int:
    """Those that count at this moment."""
    with server.client() as client:
        seconds, micros = client.time()
        now = seconds * 1_000 + micros // 1_000
        return sum(client.zcount(key, f"({now}", "+inf") for key in client.scan_iter(_type="zset", count=1_000))


def policy(url: str, on_failure: str) -> str:
    keys = "".join(
        f'[[keys]]\nsha256 = "{hash_api_key(Pair(one).roomy)}"\ntier = "basic"\norganization = "{one}"\n'
        for one in [*CALLERS, APART]
    )
    return f"""
[store]
url = "{url}"
prefix = "{on_failure}"
on_failure = "{on_failure}"

[operations]
exempt = ["GET /health", "GET /inside"]

[tiers.anonymous]
limits = [ {{ name = "ip", rate = "60/minute" }} ]

[tiers.basic]
limits = [
  {{ name = "requests", rate = "15/10 seconds" }},
  {{ name = "monthly", quota = "1000000/month" }},
  {{ name = "in flight", concurrency = 2, lease = "{LEASE:.0f}s" }},
]

{keys}"""


@contextmanager
def _laid_out(name: str, policies: tuple[str, ...]) -> Iterator[Field]:
    with ExitStack() as stack:
        server = stack.enter_context(running(name))
        proxy = stack.enter_context(Proxy(server.port))
        there = Field(server=server, proxy=proxy)
        for on_failure in policies:
            environment = {"RATELIMIT_TEST_POLICY": policy(server.url(proxy.port), on_failure)}
            (there.apps[on_failure],) = stack.enter_context(workers(1, "tests.soak.worker:app", environment))
        yield there


def broken(report: Report, most_kib: float = 2_048) -> list[str]:
    """What grew or was left behind, or what callers should not have seen, a sentence each. `most_kib` is how much
    memory a process may have grown by in the whole run, by its slope."""
    told = [f"{report.leases} leases are held by nobody"] if report.leases else []
    for app in report.apps:
        first, last = app.looks[0], app.looks[-1]
        if last.tasks > first.tasks:
            told.append(f"{app.on_failure}: {last.tasks} tasks at the end, {first.tasks} at the beginning")
        if last.files > first.files:
            told.append(f"{app.on_failure}: {last.files} open files at the end, {first.files} at the beginning")
        if app.slope * app.minutes > most_kib:
            told.append(f"{app.on_failure}: memory grows by {app.slope:.0f} KiB a minute")
        if unpromised := {str(status) for status in app.statuses} - PROMISED[app.on_failure]:
            told.append(f"{app.on_failure}: callers saw {sorted(unpromised)}")
    return told
