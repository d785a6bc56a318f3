"""Requests by several processes while the store goes away and comes back at random moments; then the accounts."""

from __future__ import annotations

import random
import threading
import time
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.counted import Line
from tests.faults.crew import CALLERS, LANES, Crew, Worker
from tests.faults.field import policy
from tests.faults.proxy import Proxy
from tests.faults.server import Server, running

AWAY, BETWEEN = (0.05, 0.6), (0.1, 0.6)  # seconds that the store is away, and back


@dataclass(frozen=True)
class Outage:
    kind: str
    began: float
    ended: float


@dataclass
class Accounts:
    """What was `charged` is the monthly quota in the store at the end."""

    charged: int
    workers: list[Worker]
    outages: list[Outage]
    lines: list[list[Line]] = field(default_factory=list)  # of each worker

    @property
    def admitted(self) -> int:
        return sum(map(len, self.lines))

    @property
    def without_store(self) -> int:
        return sum(not line.by_store for lines in self.lines for line in lines)

    @property
    def met(self) -> int:
        """Outages in which somebody was at work."""
        times = sorted(line.at for lines in self.lines for line in lines)
        return sum(bisect(times, one.began) < bisect(times, one.ended) for one in self.outages)

    @property
    def in_flight(self) -> int:
        """Requests that may have been charged when their process was killed before it admitted them, at most."""
        return LANES * len(self.killed)

    @property
    def killed(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.killed]

    @property
    def owed(self) -> int:
        """What the killed processes had admitted without the store, each since the outage began."""
        return sum(
            owed(worker.killed, lines, self.outages)
            for worker, lines in zip(self.workers, self.lines, strict=True)
            if worker.killed
        )

    def __str__(self) -> str:
        return (
            f"{self.admitted} admitted, {self.without_store} of them without the store, {self.charged} charged; "
            f"{len(self.outages)} outages, {len(self.killed)} workers killed, who may have owed {self.owed}"
        )


def owed(killed: float, lines: Sequence[Line], outages: Sequence[Outage]) -> int:
    """Of one process. An outage after which it did not see the store before the next goes on for it."""
    before = [outage for outage in outages if outage.began <= killed]
    began = float("inf")
    for outage in reversed(before):
        if began < float("inf") and any(line.by_store and outage.ended <= line.at < began for line in lines):
            break
        began = outage.began
    return sum(not line.by_store and line.at >= began for line in lines)


def account(
    on_failure: str, *, requests: int, outages: int, kills: int = 0, processes: int = 4, seed: int, name: str = "valkey"
) -> Accounts:
    """Run it. The seed decides which outages there are, and when; not which request is met by them."""
    dice = random.Random(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="ratelimit-")))
        server = stack.enter_context(running(name))
        proxy = stack.enter_context(Proxy(server.port))
        crew = stack.enter_context(_crew(folder, server.url(proxy.port), on_failure, requests, outages, processes))
        killing = sorted(dice.sample(range(outages), kills))
        _until(lambda: all(worker.log.exists() for worker in crew.workers))
        seen = []
        for number in range(outages):
            time.sleep(dice.uniform(*BETWEEN))
            seen.append(_outage(dice, server, proxy, crew if number in killing else None))
        crew.wait()
        return _accounts(server, crew, seen)


def _outage(dice: random.Random, server: Server, proxy: Proxy, crew: Crew | None) -> Outage:
    """One of those that are known, with the death of a worker in it or just after it."""
    kind, away = dice.choice(list(KINDS)), dice.uniform(*AWAY)
    murder = threading.Timer(dice.uniform(0, 1.5 * away), crew.kill, [dice]) if crew else None
    began = time.monotonic()
    if murder:
        murder.start()
    with KINDS[kind](server, proxy):
        time.sleep(away)
    ended = time.monotonic()
    if murder:
        murder.join()
    return Outage(kind, began, ended)


@contextmanager
def _killed(server: Server, _: Proxy) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


KINDS = {
    "cut": lambda server, proxy: proxy.refusing(),
    "stopped": lambda server, proxy: server.stopped(),
    "killed": _killed,
    "cut in a reply": lambda server, proxy: proxy.cutting(after=3),
    "swallowed": lambda server, proxy: proxy.swallowing(),
}


@contextmanager
def _crew(folder: Path, url: str, on_failure: str, requests: int, outages: int, processes: int) -> Iterator[Crew]:
    """Paced so that they work for longer than the outages can take: what is owed by who ends in one is never paid."""
    lasts = 1 + 1.2 * outages * (AWAY[1] + BETWEEN[1])
    share = requests // processes
    crew = Crew(folder, policy(url, on_failure, [CALLERS]), [share] * processes, LANES * lasts / share)
    try:
        yield crew
    finally:
        crew.stop()


def _accounts(server: Server, crew: Crew, outages: list[Outage]) -> Accounts:
    """When all processes have ended: what they have not paid by then nobody pays."""
    return Accounts(charged(server), crew.workers, outages, [worker.lines() for worker in crew.workers])


def charged(server: Server) -> int:
    """The monthly quota, as it is in the store."""
    with server.client() as client:
        keys = list(client.scan_iter("*monthly*"))
        assert len(keys) == 1, keys
        return int(client.hget(keys[0], "n"))


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "the workers did not begin within 20 s"
        time.sleep(0.01)
