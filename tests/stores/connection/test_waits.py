"""No call of a store waits longer than its timeout, wherever it is when the store says nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from signal import SIGSTOP
from typing import Any

import pytest

from ratelimit.model import Charge, Lease, StoreUnavailable
from ratelimit.stores.connection import link as link_module
from ratelimit.stores.connection.errors import NoScript
from ratelimit.stores.connection.socket import command
from ratelimit.stores.redis import ClusterStore, RedisStore
from ratelimit.stores.routing.nodes import LATELY, REST
from ratelimit.stores.routing.slotmap import slot_of
from tests import servers
from tests.clocked import Clocked
from tests.stores import concurrency, nodes_of, queue_of, rate
from tests.stores.clustered import Node, fake_cluster, of, whole
from tests.stores.test_redis import eventually
from tests.stores.wires import WARM, FakeWire, T, ask, connected, fake_store, run, turns

TIMEOUT = 0.5
BOUND = TIMEOUT + 0.3  # what a busy machine takes by itself: the clock jumps over every wait
LEASES = [Lease(f"{{user={name}}}:c", "0/60000", 60_000) for name in ("ana", "ben", "cleo")]

Store = RedisStore | ClusterStore
CALLS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "acquire": lambda store: store.acquire(WARM),
    "acquire with a lease": lambda store: store.acquire((concurrency(1),)),
    "renew": lambda store: store.renew(LEASES),
    "release": lambda store: store.release(LEASES),
    "close": lambda store: store.close(),
}


async def bounded(store: Store, name: str) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with suppress(StoreUnavailable):
        await CALLS[name](store)
    assert loop.time() - begun < BOUND


async def hang(*_: object) -> None:
    await asyncio.sleep(3_600)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("cluster", [False, True])
def test_while_a_connection_is_made(name: str, cluster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt to connect that hangs, in whatever it does, is waited for no longer."""
    store = fake_cluster(monkeypatch, 1, 2, 3, 4, 5, timeout=TIMEOUT) if cluster else fake_store(monkeypatch, TIMEOUT)
    monkeypatch.setattr(link_module, "connect", hang)
    run(store, bounded(store, name), Clocked)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("full", [False, True])
def test_while_a_server_says_nothing(name: str, full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer, or does not even read, is waited for no longer."""
    store = fake_store(monkeypatch, TIMEOUT)

    async def test() -> None:
        wire = await connected(store)
        queue_of(store).link.submit(command("PING")).add_done_callback(asyncio.Future.exception)
        if full:
            wire.drained = asyncio.get_running_loop().create_future()
        await bounded(store, name)

    run(store, test(), Clocked)


def test_a_script_that_is_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal whose script was not there has no second timeout."""
    store = fake_store(monkeypatch, TIMEOUT)

    async def test() -> None:
        wire = await connected(store)
        asyncio.get_running_loop().call_later(TIMEOUT - 0.05, wire.reply, NoScript("NOSCRIPT"))
        await bounded(store, "renew")
        assert [call[0] for call in wire.written] == [b"EVALSHA", b"EVAL"]

    run(store, test(), Clocked)


async def known(store: ClusterStore) -> Node:
    """One node that has all slots, and is connected."""
    call = ask(store, *WARM)  # type: ignore[arg-type]
    await turns(8)
    Node.made[1].say(whole(1))
    await turns(12)
    Node.made[1].say([T, 1, 1])
    await call
    return Node.made[1]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("full", [False, True])
def test_while_nodes_say_nothing(name: str, full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither are the nodes of a cluster, however many of them a call has to do with."""
    store = fake_cluster(monkeypatch, 1, timeout=TIMEOUT)

    async def test() -> None:
        node = await known(store)
        router = nodes_of(store)
        queue, *_ = router._queues.values()
        queue.link.submit(command("PING")).add_done_callback(asyncio.Future.exception)
        if full:
            node.drained = asyncio.get_running_loop().create_future()
        await bounded(store, name)

    run(store, test(), Clocked)


def test_several_nodes_that_do_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that are given back to several nodes have one timeout together."""
    store = fake_cluster(monkeypatch, 1, timeout=TIMEOUT)
    slots = sorted(slot_of(lease.key) for lease in LEASES)
    edges = [0, *[slot + 1 for slot in slots[:-1]], 16_384]

    async def test() -> None:
        Node.slots = [[first, end - 1, [b"h", port]] for port, (first, end) in enumerate(pairwise(edges), 1)]
        with suppress(StoreUnavailable):
            await store.renew(LEASES)  # finds them, and gets no answer
        router = nodes_of(store)
        assert len(router._queues) == 3
        for port in (1, 2, 3):
            node = Node.made[port]
            while node.written:
                node.say([1])  # and now all are up
            node.drained = asyncio.get_running_loop().create_future()
        waits = [queue.link.wait_until_sent for queue in router._queues.values()]
        for queue, wait in zip(router._queues.values(), waits, strict=True):
            monkeypatch.setattr(queue.link, "wait_until_sent", partial(nearly, wait))
        await bounded(store, "release")

    async def nearly(wait: Callable[[float], Awaitable[None]], *deadline: float) -> None:
        """Each takes it just before its timeout."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(0.9 * TIMEOUT):
                await wait(*deadline)

    run(store, test(), Clocked)


def test_a_look_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it was looked in vain for a master, requests do not wait for the next look."""
    store = fake_cluster(monkeypatch, 1, timeout=TIMEOUT)
    monkeypatch.setattr(link_module, "connect", hang)

    async def test() -> None:
        await bounded(store, "acquire")
        await asyncio.sleep(REST + 0.1)
        with pytest.raises(StoreUnavailable, match="no reply within 500 ms"):
            store.acquire(WARM).send(None)
        assert nodes_of(store)._look  # it is under way
        await asyncio.sleep(2 * LATELY)
        await bounded(store, "acquire")

    run(store, test(), Clocked)


@pytest.mark.parametrize("name", ["acquire", "renew"])
@pytest.mark.parametrize("reply", ["TRYAGAIN Multiple keys", "MOVED 3291 h:1", "CLUSTERDOWN The cluster is down"])
def test_while_nodes_send_it_away(name: str, reply: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that nobody takes goes round for no longer."""
    store = fake_cluster(monkeypatch, 1, timeout=TIMEOUT)

    async def test() -> None:
        node = await known(store)
        Node.slots = whole(1)

        async def answer() -> None:
            while True:
                await asyncio.sleep(0.0005)
                while node.names[:1] and node.names[0] != b"CLUSTER":
                    node.say(reply)

        answering = asyncio.create_task(answer())
        await bounded(store, name)
        answering.cancel()

    run(store, test(), Clocked)


def test_grace_is_for_a_process_that_did_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose loop stood still looks for a reply once more when it goes on, for a timeout at most."""
    store = fake_store(monkeypatch, TIMEOUT)

    async def test() -> None:
        await connected(store)
        loop: Any = asyncio.get_running_loop()
        call = ask(store, *WARM)
        await turns()
        loop.jumped += 10  # the app blocks its event loop
        looked = loop.time()
        with pytest.raises(StoreUnavailable):
            await call
        assert loop.time() - looked < BOUND
        assert FakeWire.made[-1].keys == [["warm"]]

    run(store, test(), Clocked)


# Many who wait at once: the grace of one is not added to that of the next.

TENTH = 0.1
SLOW = 0.25  # seconds that a busy machine may take by itself
WORK = 30e-6  # seconds of the machine that each request takes before it waits, and as much after it


CALLERS = [of(f"u{n}", rate(9, 60_000)) for n in range(2_000)]


class Real(asyncio.SelectorEventLoop):
    jumped = 0.0  # its clock goes by itself


async def longest(store: Store, number: int, spread: float) -> float:
    """The longest that one of so many waited, who come at once or within some seconds, from its own start."""
    loop: Any = asyncio.get_running_loop()
    waits: list[float] = []

    async def request(charges: tuple[Charge, ...]) -> None:
        begun = loop.time()
        loop.jumped += WORK
        with suppress(StoreUnavailable):
            await store.acquire(charges)
        loop.jumped += WORK
        waits.append(loop.time() - begun)

    requests = []
    for caller in CALLERS[:number]:
        requests.append(asyncio.create_task(request(caller)))
        if spread:
            await asyncio.sleep(spread / number)
    await asyncio.gather(*requests)
    return max(waits)


MANY = pytest.mark.parametrize(("number", "spread"), [(1, 0.0), (64, TENTH), (200, 0.0), (200, TENTH), (2_000, 0.0)])
LOCAL = pytest.mark.parametrize("local", [False, True], ids=["allow or deny", "local"])


@pytest.mark.repeated
@MANY
@LOCAL
def test_many_wait_for_a_reply(number: int, spread: float, local: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait for a server that says nothing, none waits longer than two timeouts and its work."""
    store = fake_store(monkeypatch, TENTH)
    if local:
        store.keep_account()

    async def test() -> None:
        await connected(store)
        assert await longest(store, number, spread) < 2 * TENTH + 0.1

    run(store, test(), Clocked)


@pytest.mark.repeated
@MANY
@pytest.mark.parametrize("cluster", [False, True], ids=["single", "cluster"])
def test_many_wait_for_a_connection(number: int, spread: float, cluster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor for a connection that hangs; on a cluster that is for the node that knows who has which slots."""
    store = fake_cluster(monkeypatch, 1, 2, 3, timeout=TENTH) if cluster else fake_store(monkeypatch, TENTH)
    monkeypatch.setattr(link_module, "connect", hang)

    async def test() -> None:
        assert await longest(store, number, spread) < 2 * TENTH + 0.1

    run(store, test(), Clocked)


@pytest.mark.repeated
@MANY
def test_many_wait_for_a_node(number: int, spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor for a node of a cluster that says nothing."""
    store = fake_cluster(monkeypatch, 1, timeout=TENTH)

    async def test() -> None:
        await known(store)
        assert await longest(store, number, spread) < 2 * TENTH + 0.1

    run(store, test(), Clocked)


def test_grace_is_given_once_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who had grace while it waited for a slot's node has none while it waits for that node's decision."""
    store = fake_cluster(monkeypatch, 1, timeout=TIMEOUT)

    async def test() -> None:
        loop: Any = asyncio.get_running_loop()
        begun = loop.time()
        call = ask(store, *WARM)  # type: ignore[arg-type]
        await turns(8)
        loop.jumped += 1.4 * TIMEOUT  # the app blocks its event loop
        await asyncio.sleep(0.3 * TIMEOUT)
        assert not call.done()
        Node.made[1].say(whole(1))
        with pytest.raises(StoreUnavailable):
            await call
        assert Node.made[1].keys
        assert round(loop.time() - begun, 2) == round(1.8 * TIMEOUT, 2)

    run(store, test(), Clocked)


def test_a_server_that_is_stopped(server: servers.Server) -> None:
    """The same of a real server, which stands still while 200 ask within a tenth of a second."""
    with servers.run(server.name) as stopped:
        store = RedisStore(stopped.url, timeout=0.25)

        async def test() -> None:
            await eventually(store)
            stopped.process.send_signal(SIGSTOP)
            assert await longest(store, 200, 0.1) < 2 * 0.25 + SLOW  # seven times as long as the timeout was usual

        run(store, test(), Real)
