"""What only the memory store promises: it does not grow, and may be shared by threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ratelimit.stores import memory, open_store
from ratelimit.stores.memory import MemoryStore
from tests.stores import concurrency, quota, rate

T = 1_772_359_200_000


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock for the garbage collection; its one item is now, in milliseconds."""
    now = [0]
    monkeypatch.setattr(memory.time, "monotonic_ns", lambda: now[0] * 1_000_000)
    return now


def test_callers_that_are_gone_are_forgotten(moved: list[int]) -> None:
    """A hundred thousand callers, each once, leave no more behind than those of the last minutes."""
    store = MemoryStore(clock=lambda: T + moved[0])

    async def test() -> None:
        most = 0
        for caller in range(100_000):
            moved[0] += 10
            await store.acquire([rate(5, 10_000, key=f"r{caller}"), concurrency(5, 10_000, key=f"c{caller}")])
            most = max(most, len(store._counters))
        assert 2_000 < most < 2_400  # 11 s at 100 a second, two counters each
        assert len(store._expiry._queue) < 2_400

    asyncio.run(test())


def test_a_counter_that_matters_is_kept(moved: list[int]) -> None:
    """A caller who goes on is never forgotten, and a quota not before its period ends."""
    store = MemoryStore(clock=lambda: T + moved[0])
    limits = [rate(10**6, 1_000, key="r"), quota(10**6, "day", key="q"), concurrency(10**6, 1_000, key="c")]

    async def test() -> None:
        for request in range(400):
            decision = await store.acquire(limits)
            assert decision.states[1].used == request + 1
            await store.renew(decision.leases)
            moved[0] += 100
        assert len(store._counters) == 3
        moved[0] += 86_400_000
        for _ in range(2):
            await store.acquire([])
        assert len(store._counters) <= 1

    asyncio.run(test())


def test_threads_share_it() -> None:
    """Several threads with an event loop each admit exactly max together."""
    store = open_store("memory://")
    allowed: list[bool] = []

    async def test() -> None:
        allowed.extend([(await store.acquire([rate(2_500, 60_000)])).allowed for _ in range(1_000)])
        await store.close()

    threads = [threading.Thread(target=lambda: asyncio.run(test())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(allowed), sum(allowed)) == (4_000, 2_500)


def test_unknown_leases_are_no_error() -> None:
    """Releasing or renewing what the store has never seen, or has as another kind, changes nothing."""
    store, other = MemoryStore(clock=lambda: T), MemoryStore(clock=lambda: T)

    async def test() -> None:
        leases = (await other.acquire([concurrency(1, key="x")])).leases
        await store.acquire([rate(1, 60_000, key="x")])
        await store.release(leases)
        assert await store.renew(leases) == list(leases)

    asyncio.run(test())


@pytest.mark.parametrize("url", ["redis+cluster://h:1", "memcached://h", "redis", ""])
def test_urls_that_are_not_supported(url: str) -> None:
    """Another scheme is refused by name, with those that are allowed."""
    with pytest.raises(ValueError, match=r"is not supported; allowed are memory://, redis://, rediss://, unix://"):
        open_store(url)


def test_redis_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py the error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "ratelimit.stores.redis", None)
    with pytest.raises(ImportError, match=r"pip install 'ratelimit-asgi\[redis\]'"):
        open_store("redis://127.0.0.1")
