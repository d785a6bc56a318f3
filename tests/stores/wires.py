"""A wire without a server: what is written is kept, and the test says what comes back and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import hiredis
import pytest

from ratelimit.model import Charge, Decision
from ratelimit.stores.connection import breaker as breaker_module
from ratelimit.stores.connection import link as link_module
from ratelimit.stores.connection.socket import Reply
from ratelimit.stores.redis import RedisStore
from tests.clocked import Clocked
from tests.stores import queue_of, rate

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
WARM = (rate(9, 60_000, key="warm"),)  # what makes a store connect, and its script known


class FakeWire:
    """A Wire. `made` is every one that was asked for in this test, the newest last."""

    made: list[FakeWire]

    def __init__(self, on_reply: Callable[[Reply], None], on_lost: Callable[[str], None]) -> None:
        self.reply, self.lose = on_reply, on_lost
        self.written: list[list[bytes]] = []
        self.drained: asyncio.Future[None] | None = None
        self.aborted = False

    def write(self, commands: bytes) -> None:
        self.written += read(commands)

    def abort(self) -> None:
        self.aborted = True

    @property
    def keys(self) -> list[list[str]]:
        """The last part of each key of each script call that was written."""
        calls = [call for call in self.written if call[0].startswith(b"EVAL")]
        return [[key.decode().rpartition(":")[2] for key in call[3 : 3 + int(call[2])]] for call in calls]


class FakeTransport:
    """As much of a transport as a Socket asks for; it is its own stream. A full one takes no more for now."""

    def __init__(self, full: bool = False) -> None:
        self.transport = self
        self.protocol: Any = None
        self.full = full
        self.written: list[list[bytes]] = []
        self.aborted = 0

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_extra_info(self, _: str) -> None:
        return None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def write(self, commands: bytes) -> None:
        self.written += read(commands)
        if self.full:
            self.protocol.pause_writing()

    def abort(self) -> None:
        self.aborted += 1


async def connect(
    _: object, on_reply: Callable[[Reply], None], on_lost: Callable[[str], None], _proof: object
) -> FakeWire:
    """In the place of ratelimit.stores.connection.connect."""
    FakeWire.made.append(wire := FakeWire(on_reply, on_lost))
    return wire


def fake_store(monkeypatch: pytest.MonkeyPatch, timeout: float = 0.1) -> RedisStore:
    """A store that finds FakeWires wherever it connects."""
    monkeypatch.setattr(FakeWire, "made", [], raising=False)
    monkeypatch.setattr(link_module, "connect", connect)
    never_paused(monkeypatch)
    return RedisStore("redis://nowhere", timeout=timeout)


def never_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a test takes from one step to the next: nothing is looked at before it is sent (Rest)."""
    monkeypatch.setattr(breaker_module, "PAUSE", breaker_module.LONG)


def read(commands: bytes) -> list[list[bytes]]:
    """Commands with their parts, as a server reads them."""
    reader = hiredis.Reader()
    reader.feed(commands)
    return list(iter(reader.gets, False))


async def connected(store: RedisStore) -> FakeWire:
    """The wire of a store that is connected, with nothing written to it yet."""
    call = ask(store, *WARM)
    await turns()
    wire = FakeWire.made[-1]
    wire.reply([T, 1, 1])
    await call
    wire.written.clear()
    return wire


def run(store: RedisStore, test: Coroutine[Any, Any, None], loop: type[asyncio.AbstractEventLoop] = Clocked) -> None:
    """Run a test on a loop of its own, and close the store with it. A server needs a loop that waits for it."""

    async def main() -> None:
        try:
            await test
        finally:
            await store.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def ask(store: RedisStore, *charges: Charge) -> asyncio.Task[Decision]:
    return asyncio.create_task(store.acquire(charges))


async def turns(number: int = 4) -> None:
    """Let the loop turn: 4 are enough for a task to start, and for its command to be written, or for its answer."""
    for _ in range(number):
        await asyncio.sleep(0)


def spy(store: RedisStore, before: Callable[[int], Any] = lambda number: None) -> list[list[bytes]]:
    """What this loop's connection sends from now on, but for a script that is sent again as a text; fails where a
    decision is sent while two are under way. `before` is called with the number of each before it goes."""
    link, calls, under_way = queue_of(store).link, [], []
    send = link.send

    def sent(commands: bytes, *done: Callable[[Reply], None]) -> None:
        (call,) = read(commands)
        if not call[0].startswith(b"EVAL"):
            send(commands, *done)
            return

        def answered(reply: Reply) -> None:
            under_way.pop()
            done[0](reply)

        assert len(under_way) < 2
        under_way.append(call)
        before(len(calls))
        calls.append(call)
        send(commands, answered)

    link.send = sent
    return calls
