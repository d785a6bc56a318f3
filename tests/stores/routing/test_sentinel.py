"""What a store with sentinels promises, on real ones: its connections go to whoever is the master then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from signal import SIGCONT, SIGSTOP
from time import monotonic

import pytest

from ratelimit.model import Decision, StoreUnavailable
from ratelimit.stores.redis import RedisStore
from tests import clusters, sentinels, servers
from tests.stores import Subject, in_three_threads, quota, rate, wires
from tests.stores.wires import WARM

CHARGES = (quota(10**6), rate(10**6, 600_000))
TIMEOUT = 0.25  # seconds
run = partial(wires.run, loop=asyncio.SelectorEventLoop)  # as servers take time
SLOW = 3.0  # seconds more than its timeout that a request may take on a machine that is busy with eleven servers


def store_on(watched: sentinels.Sentinels, timeout: float = 10.0) -> RedisStore:
    return RedisStore(watched.url, prefix=Subject("redis", watched.url).prefix, timeout=timeout)


@contextmanager
def stopped(*processes: servers.Server) -> Iterator[None]:
    for server in processes:
        server.process.send_signal(SIGSTOP)
    try:
        yield
    finally:
        for server in processes:
            server.process.send_signal(SIGCONT)


def by_command(watched: sentinels.Sentinels) -> None:
    watched.fail_over()


def killed(watched: sentinels.Sentinels) -> None:
    master = watched.master
    master.process.kill()
    watched.until_not(master)


def hanging(watched: sentinels.Sentinels) -> None:
    master = watched.master
    master.process.send_signal(SIGSTOP)
    watched.until_not(master)


async def found_back(store: RedisStore) -> Decision:
    """The first decision after the store was out of reach."""
    async with asyncio.timeout(10):
        while True:
            with suppress(StoreUnavailable):
                return await store.acquire(CHARGES)
            await asyncio.sleep(0.01)


@pytest.mark.proof
@pytest.mark.parametrize("fault", [by_command, killed, hanging])
@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_a_failover_under_load(name: str, fault: Callable[[sentinels.Sentinels], None]) -> None:
    """Requests under way see StoreUnavailable within the timeout or a decision, and nothing else; those after the
    failover are decided by the new master, also where the old one hangs."""
    with sentinels.run_sentinel(name) as watched:
        store = store_on(watched, TIMEOUT)
        run(store, loaded(store, watched, fault))


async def loaded(store: RedisStore, watched: sentinels.Sentinels, fault: Callable[[sentinels.Sentinels], None]) -> None:
    decided, longest, ended = 0, 0.0, asyncio.Event()

    async def worker() -> None:
        nonlocal decided, longest
        while not ended.is_set():
            began = monotonic()
            try:
                assert (await store.acquire(CHARGES)).allowed
                decided += 1
            except StoreUnavailable:
                await asyncio.sleep(0.01)  # as a client that comes again
            longest = max(longest, monotonic() - began)

    async def more() -> None:
        enough = decided + 100
        async with asyncio.timeout(sentinels.RECOVERED):
            while decided < enough:  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.01)

    workers = asyncio.gather(*[worker() for _ in range(8)])
    await more()
    began = monotonic()
    await asyncio.to_thread(fault, watched)
    await more()
    assert monotonic() - began < sentinels.RECOVERED
    assert longest < TIMEOUT + SLOW
    ended.set()
    await workers
    assert clusters.calls(watched.master, "eval", "evalsha") > 0  # a replica runs no script


def test_after_a_failover(watched: sentinels.Sentinels) -> None:
    """The sentinels end the connections to the master that they demote: the first request after it is decided by the
    new one."""
    store = store_on(watched)

    async def test() -> None:
        assert (await store.acquire(CHARGES)).allowed
        master = await asyncio.to_thread(watched.fail_over)
        before = clusters.calls(master, "eval", "evalsha")
        assert (await store.acquire(CHARGES)).allowed
        assert clusters.calls(master, "eval", "evalsha") > before

    run(store, test())


def test_a_demoted_master(watched: sentinels.Sentinels) -> None:
    """A master that was made a replica by hand keeps its connections and answers READONLY, which is told at once: no
    connection is made to it again, though the sentinels still name it, until there is a master."""
    store = store_on(watched)

    async def test() -> None:
        assert (await store.acquire(CHARGES)).allowed
        before = watched.master
        watched.set("down-after-milliseconds", 3_600_000)  # they do not act on what follows
        with before.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", servers.free_port())
        for why in ("READONLY", rf"127.0.0.1:{before.port}: is no master yet, or no more"):
            with pytest.raises(StoreUnavailable, match=why):
                await store.acquire(CHARGES)
        watched.set("down-after-milliseconds", int(sentinels.DOWN_AFTER * 1000))
        await asyncio.to_thread(watched.until_not, before)
        assert (await found_back(store)).allowed
        assert clusters.calls(watched.master, "eval", "evalsha") > 0

    run(store, test())


@pytest.mark.parametrize("hangs", [1, 2])
def test_sentinels_that_hang(watched: sentinels.Sentinels, hangs: int) -> None:
    """One that hangs costs no time, for the others are more than half; of three one that answers is enough."""
    store = store_on(watched)

    async def test() -> None:
        with stopped(*watched.sentinels[:hangs]):
            assert (await store.acquire(CHARGES)).allowed

    run(store, test())


def test_sentinels_that_are_gone(watched: sentinels.Sentinels) -> None:
    """Sentinels that are not there cost no time; where none is there the error says what was tried."""
    gone = [f"127.0.0.1:{servers.free_port()}" for _ in range(3)]
    some = RedisStore(f"redis+sentinel://{','.join(gone)},{watched.hosts}/mymaster", timeout=10)
    none = RedisStore(f"redis+sentinel://{','.join(gone)}/mymaster", timeout=10)

    async def test() -> None:
        assert (await some.acquire(WARM)).allowed
        with pytest.raises(StoreUnavailable, match="no master 'mymaster' was found: sentinel ") as raised:
            await none.acquire(WARM)
        assert all(f"sentinel {address}: ConnectionError: " in str(raised.value) for address in gone)
        await none.close()

    run(some, test())


def test_all_sentinels_hang(watched: sentinels.Sentinels) -> None:
    """A connection that is up goes on without them; a new one is not made, and the reason is told within the bound."""
    store, late = store_on(watched), store_on(watched)

    async def test() -> None:
        assert (await store.acquire(CHARGES)).allowed
        with stopped(*watched.sentinels):
            assert (await store.acquire(CHARGES)).allowed
            with pytest.raises(StoreUnavailable, match=r"no reply within 0\.25 s"):
                await late.acquire(CHARGES)
        assert (await found_back(late)).allowed
        await late.close()

    run(store, test())


def test_nobody_waits_for_sentinels(watched: sentinels.Sentinels) -> None:
    """A request waits its timeout and no longer, whatever the sentinels do."""
    store = store_on(watched, 0.05)

    async def test() -> None:
        with stopped(*watched.sentinels):
            began = monotonic()
            with pytest.raises(StoreUnavailable, match="no reply within 50 ms"):
                await store.acquire(CHARGES)
            assert monotonic() - began < 0.9  # the sentinels are waited for longer

    run(store, test())


def test_a_name_that_no_sentinel_knows(watched: sentinels.Sentinels) -> None:
    """A mistake in the name of the master is told as that, with the name."""
    store = RedisStore(watched.url.replace("mymaster", "my%20masters"), timeout=10)

    async def test() -> None:
        with pytest.raises(StoreUnavailable, match=r"no master 'my masters' was found: .*knows no master of this name"):
            await store.acquire(WARM)

    run(store, test())


def test_a_database_and_options(watched: sentinels.Sentinels) -> None:
    """The database of the URL is the master's, and options hold for all."""
    prefix = Subject("redis", watched.url).prefix
    store = RedisStore(f"{watched.url}/7?protocol=2&client_name=limits", prefix=prefix, timeout=10)

    async def test() -> None:
        await store.acquire(WARM)
        with watched.master.client(db=7) as client:
            assert client.keys(f"{prefix}:*")
            assert "limits" in [one["name"] for one in client.client_list()]

    run(store, test())


def test_a_user_who_may_not_ask(watched: sentinels.Sentinels) -> None:
    """Where the user has no permission for ROLE, the word of the sentinels is enough."""
    with watched.master.client() as client:
        client.acl_setuser(
            "eve", enabled=True, passwords=["+apple"], keys=["*"], categories=["+@all"], commands=["-role"]
        )
    store = RedisStore(watched.url.replace("://", "://eve:apple@"), timeout=10)

    async def test() -> None:
        assert (await store.acquire(WARM)).allowed

    run(store, test())


def test_several_event_loops(watched: sentinels.Sentinels) -> None:
    """One store serves several loops in several threads, each with a connection of its own."""
    store = store_on(watched)

    async def test() -> list[bool]:
        seen = [(await store.acquire((rate(50, 60_000),))).allowed for _ in range(30)]
        await store.close()
        return seen

    allowed = in_three_threads(test)
    assert (len(allowed), sum(allowed)) == (90, 50)


def test_connections_that_are_left(watched: sentinels.Sentinels) -> None:
    """Of asking nothing stays: a store has one connection to the master, and none to a sentinel."""
    store = store_on(watched)

    def names(server: servers.Server) -> list[str]:
        with watched.client(server) as client:
            return [one["name"] for one in client.client_list() if one["name"] == "counted"]

    async def test() -> None:
        store = RedisStore(f"{watched.url}?client_name=counted", timeout=10)
        decision = await store.acquire(WARM)
        assert isinstance(decision, Decision)
        servers.until(lambda: not any(names(one) for one in (*watched.sentinels, *watched.replicas)))
        servers.until(lambda: names(watched.master) == ["counted"])
        await store.close()
        servers.until(lambda: not names(watched.master))

    run(store, test())
