"""What only the memory store promises: it does not grow, and may be shared by threads."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from ratelimit.model import Hold
from ratelimit.stores import open_store
from ratelimit.stores.counting.holds import known_ms
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.records import kept
from tests.stores import concurrency, counters_of, forget, quota, rate

T = 1_772_359_200_000
LEASE, DAY = 10_000, 86_400_000
TOKENS = rate(10**6, 60_000, key="tokens", hold=True)


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock for the garbage collection; its one item is now, in milliseconds."""
    now = [0]
    monkeypatch.setattr(kept.time, "monotonic_ns", lambda: now[0] * 1_000_000)
    return now


@pytest.mark.repeated
def test_callers_that_are_gone_are_forgotten(moved: list[int]) -> None:
    """Thousands of callers, each once with five limits, leave no more behind than those of the last minutes."""
    store = MemoryStore(clock=lambda: T + moved[0])

    async def test() -> None:
        most = 0
        for caller in range(1_500):
            moved[0] += 10
            limits = [rate(5, 10_000, key=f"{n}{caller}") for n in range(4)]
            await store.acquire([*limits, concurrency(5, 10_000, key=f"c{caller}")])
            if caller % 20 == 0:
                forget(store)
                most = max(most, len(counters_of(store)))
        assert 5_000 < most < 5_700  # 11 s at 100 a second, five counters each

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
        forget(store)
        assert len(counters_of(store)) == 3
        moved[0] += 86_400_000 + 1_000
        forget(store)
        assert counters_of(store) == []

    asyncio.run(test())


def test_holds_cost_the_same_however_many_there_are() -> None:
    """What has ended is found without a look at what has not, and what is settled leaves a tombstone, which goes
    when its time is over."""
    now = T
    store = MemoryStore(clock=lambda: now)

    async def test() -> None:
        nonlocal now
        for number in range(300):
            held = (await store.hold([TOKENS], 1, LEASE + number)).hold
            await store.renew([held.lease])
        holds = store._kept.holds.get(TOKENS.key)
        now += LEASE - 1
        assert holds.ended(now) == []
        assert len(holds._queue) == 600  # nothing was looked at
        now += 1
        assert len(holds.ended(now)) == 1
        assert len(holds._queue) == 598
        now += 300
        for number in range(200):
            lease = held.lease._replace(id=f"{number}@{store._name}", lease_ms=LEASE)
            await store.settle(Hold(lease, held.charged, 1), 0)
        assert (len(holds._held), len(holds._settled)) == (299, 200)
        await store.acquire([TOKENS])
        assert (len(holds._held), len(holds._settled)) == (0, 200)
        now += known_ms(LEASE) - 1
        await store.acquire([TOKENS])
        assert len(holds._settled) == 200
        now += 1
        await store.acquire([TOKENS])
        assert (holds._settled, holds._queue) == ({}, [])

    asyncio.run(test())


def test_holds_are_forgotten_with_their_counter(moved: list[int]) -> None:
    """Nothing is left of a caller when no settle of it can be repeated any more."""
    store = MemoryStore(clock=lambda: T + moved[0])

    async def test() -> None:
        lease = (await store.hold([TOKENS], 1, LEASE)).hold.lease
        moved[0] += 5_000
        assert await store.renew([lease]) == []
        moved[0] += known_ms(LEASE)
        forget(store)
        assert store._kept.holds.get(TOKENS.key)
        moved[0] += 1_000
        forget(store)
        assert (len(store._kept.holds), counters_of(store)) == (0, [])

    asyncio.run(test())


def test_its_own_clock() -> None:
    """Without a clock of the caller's it goes by the machine's, in milliseconds since 1970."""

    async def test() -> None:
        before = time.time_ns() // 1_000_000
        decision = await MemoryStore().acquire([rate(1, 60_000)])
        assert before <= decision.now_ms <= time.time_ns() // 1_000_000

    asyncio.run(test())


@pytest.mark.repeated
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


@pytest.mark.parametrize("url", ["user:s3cret@db:6379/0", "redis", "", "s3cret"])
def test_urls_without_a_scheme(url: str) -> None:
    """A URL whose scheme was forgotten is refused without showing it: a password may be in it."""
    with pytest.raises(ValueError, match=r"has no scheme; it begins with one of memory://, redis://") as error:
        open_store(url)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:s3cret@127.0.0.1:1/0?socket_timout=1",
        "redis://127.0.0.1:1/0?socket_timeout=s3cret",
        "redis://:s3cret",
        "redis://127.0.0.1/0?db=s3cret",
        "unix:///s3cret?a=b",
    ],
)
def test_urls_with_a_mistake(url: str) -> None:
    """A mistake in a URL is found when the store is made, and nothing of a password is shown."""
    with pytest.raises(
        ValueError, match=r"the URL of the store (has an address|has an option|says its db twice)"
    ) as error:
        open_store(url)
    assert "s3" not in str(error.value)


def test_what_is_wrong_with_an_option() -> None:
    """An option that this kind of URL does not know is named, for it was meant to do something; so is a wrong value."""
    with pytest.raises(ValueError, match="an option ssl_ca_certs, which is of TLS; that begins with rediss"):
        open_store("redis://127.0.0.1:1/0?ssl_ca_certs=/run/ca.pem")
    with pytest.raises(
        ValueError, match="an option ssl_cert_reqs that can't be read; write none, optional or required"
    ):
        open_store("rediss://127.0.0.1:1/0?ssl_cert_reqs=sometimes")


def test_a_scheme_in_any_case() -> None:
    """Schemes are read as in any URL, in either case."""
    assert isinstance(open_store("MEMORY://"), MemoryStore)
    assert open_store("Redis://127.0.0.1:1").__class__.__name__ == "RedisStore"


@pytest.mark.parametrize("url", ["redis+sentinal://h:1/main", "memcached://h"])
def test_urls_that_are_not_supported(url: str) -> None:
    """Another scheme is refused by name, with those that are allowed."""
    with pytest.raises(ValueError, match=r"is not supported; allowed are memory://, redis://, rediss://, unix://"):
        open_store(url)


def test_redis_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py the error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "ratelimit.stores.redis", None)
    with pytest.raises(ImportError, match=r"pip install 'ratelimit-asgi\[redis\]'"):
        open_store("redis://127.0.0.1")
