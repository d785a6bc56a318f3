"""A simulation in steps of several processes that spend units ahead.

Real: the scripts, on a server whose clock is set for each call, and all that a process does above its connection.
Simulated: the network (slow, lossy, refunds overtake), each process's event loop and its clocks, which run up to half a
thousandth too fast or too slow, and pauses of a process between any two of its steps. A unit that is spent ahead is
decided at the instant of spending, by the store's clock.
"""

from __future__ import annotations

import heapq
import random
import socket
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate, count
from types import SimpleNamespace
from typing import Any

import hiredis
import pytest

from ratelimit.model import FOREVER, Charge, Decision, Rate
from ratelimit.stores.batching import queue as queue_module
from ratelimit.stores.batching import refunds as refunds_module
from ratelimit.stores.batching.allotments import Allotment
from ratelimit.stores.batching.callers import Caller
from ratelimit.stores.batching.refunds import Refunds
from ratelimit.stores.connection.errors import error_of
from ratelimit.stores.connection.socket import command
from ratelimit.stores.lua.scripts import Script, Scripts
from ratelimit.stores.routing import router as router_module
from tests import servers
from tests.stores import CLOCK_LINE, SCRIPTS, quota, rate
from tests.stores.simulated import Line, Process

MIDNIGHT = 1_772_409_600_000  # 2026-03-02T00:00:00Z
REQUESTS = 500  # a run
_prefixes = (f"strict{number}" for number in count())


def moved(script: Script, key: str = "clock") -> Script:
    """With a clock that is a key. Keys live longer than here: in real time a run may be stopped in the middle."""
    text = script.text.replace(CLOCK_LINE, f"local time = {{0, redis.call('GET', '{key}') * 1000}}")
    return Script.of(text.replace("call('PEXPIRE', key, ", "call('PEXPIRE', key, 60000 + "))


class Store:
    """A server that is told what time it is with each command."""

    def __init__(self, server: servers.Server) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(server.socket))
        self._reader = hiredis.Reader(replyError=error_of)

    def call(self, now_ms: float, request: bytes) -> Any:
        self._socket.sendall(command("SET", "clock", int(now_ms)) + request)
        replies: list[Any] = []
        while len(replies) < 2:
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(1 << 16))
            else:
                replies.append(reply)
        return replies[1]

    def close(self) -> None:
        self._socket.close()


@dataclass(frozen=True)
class Setting:
    """What a run is about. Durations in ms; `demand` is how many times the max is asked for in a window."""

    seed: int
    processes: int
    window_ms: int
    precision: int
    demand: float
    cost: int
    delay_ms: float  # of a message, on average
    loss: float  # how often a connection breaks, of all messages
    stop: float  # how often a process stands still, of all steps
    second: tuple[int, int] | None  # window and precision of another rate
    has_quota: bool
    lowered: bool  # an override ends in the middle of the run
    mixed: bool  # the last process takes nothing ahead


class World:
    """One run: what happens when, and what was admitted."""

    def __init__(self, setting: Setting, store: Store) -> None:
        self.setting, self.store = setting, store
        self.dice = random.Random(setting.seed)
        self.sub_window_ms = setting.window_ms / setting.precision
        self.lasts_ms = 4 * setting.window_ms
        self.now = self.begins = MIDNIGHT - self.dice.choice([0.3, 0.9, 2]) * self.lasts_ms + self.dice.random()
        self.prefix = next(_prefixes)
        self.scripts = Scripts(**{name: moved(script) for name, script in SCRIPTS.items()})
        self.seen: Counter[str] = Counter()
        self.admitted: list[tuple[int, int]] = []
        self.spent: object = None  # the decision on the last unit that was spent
        self._events: list[tuple[float, int, Process | None, Callable[[], object]]] = []
        self._numbers = count()
        self.running: Process | None = None
        self.charges = self._charges()
        self.processes = [
            Process(self, self.charges if number or not setting.mixed else self._charges(reserve=False))
            for number in range(setting.processes)
        ]

    def _charges(self, *, reserve: bool = True) -> tuple[Charge, ...]:
        dice = random.Random(self.setting.seed)
        s = self.setting
        per_window = REQUESTS / 4 * s.cost
        window, until = max(20, int(per_window / s.demand)), int(self.begins + self.lasts_ms * dice.random())

        def maxes(maximum: int) -> tuple[tuple[int, int], ...]:
            low = int(maximum * dice.random())
            return ((until, maximum), (FOREVER, low)) if s.lowered else ((FOREVER, maximum),)

        charges = [rate(0, s.window_ms, s.precision, cost=s.cost, maxes=maxes(window))]
        if s.second:
            length, parts = s.second
            largest = max(20, int(window * length / s.window_ms * dice.uniform(0.5, 2)))
            charges.append(rate(0, length, parts, cost=s.cost, key="second", maxes=maxes(largest)))
        if s.has_quota:
            charges.append(quota(0, "day", cost=s.cost, maxes=maxes(max(20, int(window * dice.uniform(0.5, 4))))))
        return tuple(replace(charge, limit=replace(charge.limit, reserve=reserve)) for charge in charges)

    def after(self, ms: float, step: Callable[[], object], process: Process | None = None) -> None:
        heapq.heappush(self._events, (self.now + ms, next(self._numbers), process, step))

    def delay(self) -> float:
        mean = self.setting.delay_ms
        return self.dice.uniform(0, mean) if self.dice.random() < 0.9 else self.dice.uniform(0, 10 * mean)

    def run(self) -> World:
        for process in self.processes:
            self._arrivals(process)
        while self._events:
            at, _, process, step = heapq.heappop(self._events)
            if process and process.stands_until > at:
                self.now = max(self.now, at)
                self.after(process.stands_until - self.now, step, process)
                continue
            self.now = at
            if process is None:
                step()
                continue
            if self.dice.random() < self.setting.stop:
                process.stands_until = at + self.dice.uniform(0, 2 * self.sub_window_ms)
            with process.entered():
                step()
        return self

    def _arrivals(self, process: Process) -> None:
        """Bursts at any time and around the edges of sub-windows; of some requests the caller hangs up."""
        left = REQUESTS // self.setting.processes
        while left > 0:
            at = self.dice.uniform(0, self.lasts_ms)
            if self.dice.random() < 0.5:
                edge = -(-self.begins // self.sub_window_ms) * self.sub_window_ms - self.begins
                at = edge + at // self.sub_window_ms * self.sub_window_ms + self.dice.choice([-20, -2, 0, 1, 5])
            gap = self.dice.choice([0, 0.2, self.sub_window_ms / 20, self.sub_window_ms / 100])
            burst = min(left, self.dice.choice([1, 10, 40, 200]))
            left -= burst
            for number in range(burst):
                self.after(max(0, at + number * gap), process.ask, process)
        for _ in range(self.dice.choice([0, 0, 3, 20])):
            self.after(self.dice.uniform(0, self.lasts_ms), process.node.queue.refunds.give_all_back, process)

    def overdrawn(self) -> int:
        """By how many units the worst interval, or the worst period of a quota, is above the max at its end."""
        admitted = sorted(self.admitted)
        times = [at for at, _ in admitted]
        sums = [0, *accumulate(cost for _, cost in admitted)]
        worst = -FOREVER
        for charge in self.charges:
            kind = charge.limit.kind
            for at in times:
                begin = at - kind.window_ms if isinstance(kind, Rate) else MIDNIGHT - 1 if at >= MIDNIGHT else 0
                units = sums[bisect_right(times, at)] - sums[bisect_right(times, begin)]
                worst = max(worst, units - next(most for until, most in charge.maxes if at < until))
        return worst


def run(setting: Setting, store: Store) -> World:
    world = World.__new__(World)
    with pytest.MonkeyPatch.context() as patch:
        clock = SimpleNamespace(monotonic=lambda: world.running.monotonic(), time_ns=lambda: world.running.time_ns())
        patch.setattr(queue_module, "time", clock)
        patch.setattr(router_module, "time", clock)
        patch.setattr(refunds_module, "time", clock)
        patch.setattr(queue_module, "Link", Line)
        spend, expect, refund = Allotment.spend, Refunds.expect, Refunds._command

        def spending(allotment: Allotment, now: float) -> Decision | None:
            world.spent = decision = spend(allotment, now)
            return decision

        def expecting(refunds: Refunds, callers: list[Caller]) -> None:
            world.seen["blocks"] += len(callers)
            expect(refunds, callers)

        def refunding(refunds: Refunds, held: Any, allotment: Allotment, units: int) -> bytes:
            world.seen["refunded"] += units
            return refund(refunds, held, allotment, units)

        patch.setattr(Allotment, "spend", spending)
        patch.setattr(Refunds, "expect", expecting)
        patch.setattr(Refunds, "_command", refunding)
        world.__init__(setting, store)
        return world.run()
