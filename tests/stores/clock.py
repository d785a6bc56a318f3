"""All clocks under one hand: of the store, of the process, and of the timers of units that go back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

from ratelimit.model import Charge
from ratelimit.stores.batching import queue as queue_module
from ratelimit.stores.batching import refunds as refunds_module
from ratelimit.stores.batching.callers import Caller
from ratelimit.stores.connection.socket import command
from ratelimit.stores.routing import router as router_module
from tests import servers
from tests.stores import SCRIPTS, Subject, queue_of, router_of
from tests.stores.simulation import moved

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z


def ahead(charge: Charge) -> Charge:
    limit = replace(charge.limit)
    object.__setattr__(
        limit, "reserve", True
    )  # also of concurrency, where nobody else can have it: a store sees to it too
    return replace(charge, limit=limit)


class Clock:
    """In ms. `process_ms` by itself may be moved while the clock of the store stands."""

    def __init__(self, server: servers.Server, patch: pytest.MonkeyPatch) -> None:
        self._client = server.client()
        self._timers: dict[object, tuple[float, Callable[[], object]]] = {}
        time = SimpleNamespace(monotonic=lambda: self.process_ms / 1_000, time_ns=lambda: int(self.process_ms * 1e6))
        patch.setattr(queue_module, "time", time)
        patch.setattr(router_module, "time", time)
        patch.setattr(refunds_module, "time", time)
        patch.setattr(refunds_module, "asyncio", SimpleNamespace(get_running_loop=lambda: self))
        self.to(T)

    def to(self, ms: float) -> None:
        self._client.set("clock", int(ms))
        self.process_ms = ms
        for number, (due, step) in list(self._timers.items()):
            if due <= ms:
                del self._timers[number]
                step()

    def call_later(self, seconds: float, step: Callable[..., object], *arguments: object) -> SimpleNamespace:
        number = object()
        self._timers[number] = (self.process_ms + seconds * 1_000, partial(step, *arguments))
        return SimpleNamespace(cancel=lambda: self._timers.pop(number, None))

    def close(self) -> None:
        self._client.close()


def clocked(server: servers.Server) -> Subject:
    """A subject whose scripts go by a Clock."""
    subject = Subject(server.name, server.unix_url)
    for name, script in SCRIPTS.items():
        setattr(subject.store.scripts, name, moved(script))
    return subject


def caller_of(subject: Subject, charges: tuple[Charge, ...]) -> Caller:
    caller = router_of(subject.store).callers.recent.get(id(charges))
    assert caller
    return caller


def left(subject: Subject, charges: tuple[Charge, ...]) -> int:
    allotment = caller_of(subject, charges).allotment
    return allotment.left if allotment else 0


async def settled(subject: Subject) -> None:
    """What was sent has been applied: replies come in order."""
    await queue_of(subject.store).link.call(command("PING"))


def script_calls(server: servers.Server) -> int:
    with server.client() as client:
        stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


def fields(server: servers.Server, subject: Subject, name: str = "rate") -> dict[str, int]:
    """The counter of a limit."""
    with server.client() as client:
        found = client.hgetall(f"{subject.prefix}:{{user=ana}}:{name}")
    return {field.decode(): int(value) for field, value in found.items()}
