"""A process in a simulation: its event loop, its clocks and its connection are simulated, what it does is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ratelimit.model import Charge, StoreUnavailable
from ratelimit.stores.connection.breaker import Breaker
from ratelimit.stores.routing.nodes import SingleNode
from ratelimit.stores.routing.router import Router

if TYPE_CHECKING:
    from tests.stores.simulation import World


class Process:
    """A process of the app, and its event loop."""

    def __init__(self, world: World, charges: tuple[Charge, ...]) -> None:
        self.world, self.charges = world, charges
        self.stands_until = 0.0
        self._offset = world.dice.uniform(0, 1e6)
        self._speed = 1 + world.dice.choice([-0.0005, 0, 0.0005, world.dice.uniform(-0.0005, 0.0005)])
        self._skew_ms = world.dice.choice([0, world.dice.randint(-3_000, 3_000), 86_400_000])
        self._soon = 0.0
        with self.entered():
            timeout = world.dice.choice([0.02, 0.1, 0.5])
            self.node = SingleNode(self, world.scripts, timeout)
            self.router = Router(self.node, f"{world.prefix}:", timeout)

    @contextmanager
    def entered(self) -> Iterator[None]:
        self.world.running = self
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    def ask(self) -> None:
        task = asyncio.Task(self._ask(), loop=self)
        if self.world.dice.random() < 0.02:
            self.world.after(self.world.dice.uniform(0, 20), task.cancel, self)

    async def _ask(self) -> None:
        world = self.world
        with suppress(StoreUnavailable):
            decision = await self.router.acquire(self.charges)
            ahead = decision is world.spent
            world.seen["asked"] += 1
            world.seen["spent"] += ahead
            if decision.allowed:
                world.admitted.append((int(world.now) if ahead else decision.now_ms, world.setting.cost))

    def monotonic(self) -> float:
        return self._offset + (self.world.now - self.world.begins) / 1_000 * self._speed

    def time_ns(self) -> int:
        return int(self.world.now + self._skew_ms) * 1_000_000

    # What asyncio and the store ask of a loop.
    time = monotonic

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def call_soon(self, step: Callable[..., object], *arguments: object, context: object = None) -> Timer:
        self._soon = max(self._soon, self.world.now + self.world.dice.choice([0, 0.01, 0.1]))
        return Timer(self, self._soon - self.world.now, partial(step, *arguments))

    def call_later(self, seconds: float, step: Callable[..., object], *arguments: object) -> Timer:
        return Timer(self, seconds * 1_000 / self._speed, partial(step, *arguments))

    def call_at(self, when: float, step: Callable[..., object], *arguments: object) -> Timer:
        return self.call_later(max(0, when - self.time()), step, *arguments)

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise AssertionError(context)


class Timer:
    def __init__(self, process: Process, ms: float, step: Callable[[], object]) -> None:
        self._step: Callable[[], object] | None = step
        process.world.after(ms, self._ring, process)

    def _ring(self) -> None:
        if self._step:
            self._step()

    def cancel(self) -> None:
        self._step = None


class Line:
    """A connection that takes its time, and breaks. What was sent may be applied all the same, but never twice."""

    def __init__(
        self, process: Process, timeout: float, *, on_ready: Any, on_failure: Any, wanted: Any, proof: Any
    ) -> None:
        self._process, self._world = process, process.world
        self._on_ready, self._on_failure = on_ready, on_failure
        self._in_flight: list[Callable[[Any], None]] = []
        self.ready, self.number = True, 1
        self.breaker = Breaker(timeout)

    def send(self, request: bytes, *waiting: Callable[[Any], None]) -> None:
        (done,) = waiting  # one call at a time
        self._in_flight.append(done)
        self._world.after(self._world.delay(), partial(self._applied, request, done, self.number))
        if self._world.dice.random() < self._world.setting.loss:
            self._world.after(self._world.delay(), partial(self.drop, "lost"), self._process)

    def _applied(self, request: bytes, done: Callable[[Any], None], number: int) -> None:
        reply = self._world.store.call(self._world.now, request)
        self._world.after(self._world.delay(), partial(self._answered, done, number, reply), self._process)

    def _answered(self, done: Callable[[Any], None], number: int, reply: Any) -> None:
        if self.ready and number == self.number:
            self._in_flight.remove(done)
            done(reply)

    def drop(self, why: str) -> None:
        if self.ready:
            self.ready = False
            in_flight, self._in_flight = self._in_flight, []
            for done in in_flight:
                done(StoreUnavailable(why))
            self._on_failure(StoreUnavailable(why))
            self._world.after(self._world.delay(), self._again, self._process)

    def _again(self) -> None:
        self.ready = True
        self.number += 1
        self._on_ready()

    def refusal(self) -> str | None:
        return self.breaker.refusal

    def awake(self) -> bool:
        return self.ready

    def connect(self) -> None:
        """It is being made."""

    def too_late(self) -> str:
        return "too late"

    def notice_silence(self) -> None:
        """It breaks by itself."""
