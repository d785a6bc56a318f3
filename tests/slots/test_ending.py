"""What is given back when a process ends whose server had no word for the app; real ones end in tests/acceptance."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from ratelimit import MemoryStore, StoreUnavailable
from ratelimit.model import Lease
from ratelimit.slots import ending
from ratelimit.slots.leases import Leases
from tests.slots.test_leases import Recorder, lease
from tests.slots.test_leases import run as run_clocked
from tests.stores import concurrency


class Noting(Recorder):
    """Notes what it is asked for on the last loop."""

    def __init__(self, release: Callable[[], Any] | None = None) -> None:
        super().__init__()
        self.closed = 0
        self._release = release

    async def release(self, leases) -> None:
        if self._release:
            await self._release()
        self.released += [lease.id for lease in leases]

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """From what other tests have left behind."""
    monkeypatch.setattr(ending, "_holding", type(ending._holding)())


def held_by(store: Any, *leases: Lease) -> Leases:
    """Held by a loop that stands still."""

    async def hold() -> None:
        kept.hold(leases)

    kept = Leases(store)
    ending.at_exit(kept, store)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(hold())
    loop.close()
    return kept


def test_what_is_held() -> None:
    """All that any loop holds goes back in one call, once, and the store is closed."""
    store = Noting()
    kept = held_by(store, lease("a", 20), lease("b", 20))
    for _ in range(2):
        ending._end()
    assert (store.released, store.closed) == (["a", "b"], 1)
    assert not kept.holds()


def test_a_loop_that_goes_on() -> None:
    """A loop in a thread that is still there renews nothing any more, and what it holds is not counted again."""
    store = MemoryStore(clock=lambda: 0)

    async def test() -> None:
        leases = Leases(store)
        leases.hold((await store.acquire((concurrency(1, 20_000),))).leases)
        await leases.give_all_back()
        await asyncio.sleep(100)
        assert (await store.acquire((concurrency(1),))).allowed

    run_clocked(test())


def test_nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is held no loop is made and no store is asked, and a middleware that is gone is forgotten."""
    monkeypatch.setattr(asyncio, "Runner", None)
    store = Noting()
    kept = held_by(store)
    ending._end()
    assert store.closed == 0
    del kept
    gc.collect()
    assert not ending._holding


def test_a_copied_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was forked gives back nothing of its parent's."""
    store = Noting()
    kept = held_by(store, lease("a", 20))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    ending._end()
    assert store.released == []
    monkeypatch.undo()
    assert kept.holds()


async def _gone() -> None:
    raise StoreUnavailable("gone")


async def _hangs() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(("release", "why"), [(_gone, "gone"), (_hangs, "no answer within 0 s")])
def test_a_store_that_is_away(
    release: Callable[[], Any], why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is away or hangs holds the end of the process up for a bounded time, and for one line; the next
    one has its turn."""
    monkeypatch.setattr(ending, "PATIENCE", 0.01)
    kept = [held_by(Noting(release), lease("a", 20)), held_by(store := Noting(), lease("b", 20))]
    ending._end()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"slots were not given back at the end of the process, each frees with its lease: {why}"
    assert (store.released, len(kept)) == (["b"], 2)


def test_names_are_looked_up_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can be started when a process ends: a name is looked up at once, and a failure is raised where it is
    waited for."""
    seen = []

    async def look() -> None:
        seen.append(await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80))
        await asyncio.get_running_loop().getaddrinfo("no such name.invalid", 80)

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", None)
    with asyncio.Runner(loop_factory=ending._LastLoop) as runner, pytest.raises(socket.gaierror):
        runner.run(look())
    assert seen
