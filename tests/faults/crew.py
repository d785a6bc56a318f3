"""The worker processes whose accounts are looked into, and those that take the place of killed ones."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.counted import Line, Orders, environment
from tests.faults.field import Pair

CALLERS = Pair("accounted")
LANES = 4  # requests that a process has under way at a time


@dataclass
class Worker:
    """A process. `killed` is when, None: it came to its end by itself."""

    log: Path
    process: subprocess.Popen[bytes]
    orders: Orders
    killed: float | None = None

    def lines(self) -> list[Line]:
        text = self.log.read_text() if self.log.exists() else ""
        return [Line.read(line) for line in text.splitlines()]


class Crew:
    """`shares` are the requests of each process. A lane of it asks again `every` seconds."""

    def __init__(self, folder: Path, text: str, shares: Sequence[int], every: float) -> None:
        self._folder = folder
        self._text = text
        self._every = every
        self.workers: list[Worker] = []
        for share in shares:
            self._start(share)

    def kill(self, dice: random.Random) -> None:
        """One that still works; another goes on with what it leaves undone."""
        alive = [worker for worker in self.workers if worker.process.poll() is None]
        if alive:
            worker = dice.choice(alive)
            worker.process.kill()
            worker.process.wait()
            worker.killed = time.monotonic()
            self._start(max(0, worker.orders.requests - len(worker.lines())))

    def wait(self) -> None:
        for worker in self.workers:
            status = worker.process.wait(120)
            assert worker.killed or status == 0, f"a worker ended with status {status}"

    def stop(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()

    def _start(self, share: int) -> None:
        log = self._folder / f"worker-{len(self.workers)}"
        orders = Orders(self._text, str(log), CALLERS.roomy, share, LANES, self._every)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.counted"],
            env={**os.environ, **environment(orders)},
            cwd=Path(__file__).parents[2],
            stderr=subprocess.DEVNULL,  # a line in the log for each decision without the store
        )
        self.workers.append(Worker(log, process, orders))
