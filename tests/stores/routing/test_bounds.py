"""What a request, a renewal and a release cost at most, whatever a node says."""

from __future__ import annotations

import asyncio

import pytest

from ratelimit.model import FOREVER, Lease, StoreUnavailable
from ratelimit.stores.connection.errors import error_of
from ratelimit.stores.redis import ClusterStore, RedisStore
from ratelimit.stores.routing.router import SLICE
from ratelimit.stores.routing.slotmap import Address
from tests.clocked import Clocked
from tests.stores import concurrency, nodes_of, queue_of, rate, side_of
from tests.stores.clustered import Node, fake_cluster, of, slot
from tests.stores.routing.test_nodes import ASK, CHARGES, SLOT, ask, known, run
from tests.stores.wires import FakeWire, T, connected, fake_store, turns
from tests.stores.wires import run as run_single

NOSCRIPT = "NOSCRIPT No matching script"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> ClusterStore:
    return fake_cluster(monkeypatch, 7000)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    return fake_store(monkeypatch)


def leases(count: int, counters: int = 1) -> list[Lease]:
    return [Lease(f"{{user=ana}}:c{n % counters}", f"{n}/60000", 60_000) for n in range(count)]


@pytest.mark.parametrize("word", ["ASK", "MOVED"])
def test_two_nodes_that_send_a_call_to_each_other(store: ClusterStore, word: str) -> None:
    """Of one request ASK and MOVED are followed five times, however much time is left; then it fails, and says why."""

    async def test() -> None:
        await known(store)
        nodes_of(store)._looked_at = float("inf")
        call, trips = ask(store), 0
        for _ in range(400):
            await asyncio.sleep(0.0001)
            for port, node in list(Node.made.items()):
                if node.names[:1] == [b"ASKING"]:
                    node.say(b"OK")
                if node.names[:1] == [b"EVALSHA"]:
                    trips += 1
                    node.say(f"{word} {SLOT} h:{15_000 - 1 - port}" if port != 7000 else f"{word} {SLOT} h:7999")
        assert trips == 6
        with pytest.raises(StoreUnavailable, match="slot 3291 is on its way from node to node: 5 were asked"):
            await call

    run(store, test())


def test_a_renewal_is_followed_as_often(store: ClusterStore) -> None:
    """A renewal that two nodes send to each other fails after five times too."""

    async def test() -> None:
        await known(store)
        nodes_of(store)._looked_at = float("inf")
        renewal, trips = asyncio.create_task(store.renew(leases(1))), 0
        for _ in range(400):
            await asyncio.sleep(0.0001)
            for port, node in list(Node.made.items()):
                if node.names[:1] == [b"ASKING"]:
                    node.say(b"OK")
                if node.names[:1] == [b"EVALSHA"]:
                    trips += 1
                    node.say(f"ASK {SLOT} h:{7999 if port == 7000 else 7000}")
        assert trips == 6
        with pytest.raises(StoreUnavailable, match="5 were asked"):
            await renewal

    run(store, test())


def test_a_server_without_scripts(fake: RedisStore) -> None:
    """NOSCRIPT is answered by EVAL once; where that is not known either, the call has failed, and so has a renewal."""

    async def test() -> None:
        wire = await connected(fake)
        call = asyncio.create_task(fake.acquire(CHARGES))
        await turns()
        for _ in range(2):
            wire.reply(error_of(NOSCRIPT))
        with pytest.raises(StoreUnavailable, match="NOSCRIPT"):
            await call
        assert [sent[0] for sent in wire.written] == [b"EVALSHA", b"EVAL"]
        wire.written.clear()
        renewal = asyncio.create_task(fake.renew(leases(1)))
        for _ in range(2):
            await turns()
            wire.reply(error_of(NOSCRIPT))
        with pytest.raises(StoreUnavailable, match="NOSCRIPT"):
            await renewal
        assert [sent[0] for sent in wire.written] == [b"EVALSHA", b"EVAL"]

    run_single(fake, test())


def test_two_nodes_without_the_script(store: ClusterStore) -> None:
    """Where a call is sent on, EVAL is tried there as well, and once a node."""

    async def test() -> None:
        node = await known(store)
        nodes_of(store)._looked_at = float("inf")
        call = ask(store)
        await turns()
        node.say(f"ASK {SLOT} h:7001")
        await turns(8)
        there = Node.made[7001]
        assert there.names == ASK
        for _ in range(2):
            there.say(b"OK")
            there.say(NOSCRIPT)
        with pytest.raises(StoreUnavailable, match="NOSCRIPT"):
            await call
        await turns()
        assert (node.names, there.names) == ([], [])

    run(store, test())


def test_renewals_in_slices(fake: RedisStore) -> None:
    """A call renews 256 leases at most, the next one when that is answered; decisions go in between. One that fails is
    told when the others were renewed."""

    async def test() -> None:
        wire = await connected(fake)
        renewal, sizes = asyncio.create_task(fake.renew(leases(600))), []
        for reply in ([1] * 256, error_of("OOM command not allowed"), [1] * 88):
            await turns()
            (call,) = wire.written
            sizes.append(int(call[2]))
            wire.written.clear()
            decision = asyncio.create_task(fake.acquire(CHARGES))
            await turns()
            assert wire.keys == [["rate"]]  # it did not wait for the renewal
            wire.written.clear()
            wire.reply(reply)
            wire.reply([T, 1, 1])
            assert (await decision).allowed
        assert sizes == [256, 256, 88]
        with pytest.raises(StoreUnavailable, match="OOM"):
            await renewal

    run_single(fake, test())


def test_releases_in_slices(fake: RedisStore) -> None:
    """A command gives back 256 leases of a counter at most, and so many go in a write, of however many counters."""

    async def test() -> None:
        wire = await connected(fake)
        writes: list[bytes] = []
        write = wire.write
        wire.write = lambda commands: (writes.append(commands), write(commands))[1]  # type: ignore[method-assign]
        await fake.release(leases(600))
        assert [(call[0], len(call) - 2) for call in wire.written] == [(b"ZREM", 256), (b"ZREM", 256), (b"ZREM", 88)]
        assert len(writes) == 3
        wire.written.clear()
        await fake.release(leases(600, counters=300))
        assert {call[0] for call in wire.written} == {b"ZREM"}
        assert sum(len(call) - 2 for call in wire.written) == 600
        assert len(writes) == 6

    run_single(fake, test())


def test_a_lease_has_the_max_that_was_sent(fake: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that is granted just after a max has changed carries the new one: it is taken when the call is put
    together, with the max that the script compares."""
    charges = (concurrency(0, maxes=((T, 5), (FOREVER, 2))), rate(99, 60_000))
    now_ms = T - 1

    async def test() -> None:
        nonlocal now_ms
        wire = await connected(fake)
        queue = nodes_of(fake).queue
        monkeypatch.setattr(queue, "store_ms", lambda: now_ms)
        for now_ms, most in ((T - 1, 5), (T, 2)):
            call = asyncio.create_task(fake.acquire(charges))
            await turns()
            wire.reply([now_ms, 1, 1, 1])
            assert [lease.max for lease in (await call).leases] == [most]

    run_single(fake, test())


def test_a_request_that_was_sent_on(store: ClusterStore) -> None:
    """It waits no longer than its own timeout where others, who came later, wait with it."""

    async def test() -> None:
        node, nodes, now = await known(store), nodes_of(store), asyncio.get_running_loop().time
        nodes._looked_at = float("inf")
        nodes.masters[slot("ben")] = nodes._at(Address("h", 7001))
        call, begun = ask(store), now()
        await asyncio.sleep(0.08)
        later = ask(store, of("ben", *CHARGES))
        await turns(8)
        node.say(f"ASK {SLOT} h:7001")
        with pytest.raises(StoreUnavailable):
            await call
        assert now() - begun < 0.15
        with pytest.raises(StoreUnavailable):
            await later

    run(store, test())


def test_a_single_server_that_was_a_node(fake: RedisStore) -> None:
    """No slot of a single server stays on its way, whatever it has said once: others share a call again."""

    async def test() -> None:
        wire = await connected(fake)
        call = asyncio.create_task(fake.acquire(CHARGES))
        await turns()
        wire.reply(error_of(f"MOVED {SLOT} h:7001"))
        with pytest.raises(StoreUnavailable, match="MOVED"):
            await call
        wire.written.clear()
        calls = [asyncio.create_task(fake.acquire((rate(9, 60_000, key=key),))) for key in "ab"]
        await turns()
        assert wire.keys == [["a", "b"]]
        wire.reply([T, 1, 1, 1, 1])
        assert all([(await one).allowed for one in calls])

    run_single(fake, test())


def test_a_master_that_writes_no_more(fake: RedisStore) -> None:
    """A server that passes every trial and refuses what a decision writes is tried as seldom as one that is away."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + 5
        while loop.time() < until:
            call = asyncio.create_task(fake.acquire(CHARGES))
            await turns(8)
            if (wire := FakeWire.made[-1]).written:
                wire.written.clear()
                wire.reply([T, -2, b"READONLY You can't write against a read only replica."])
            with pytest.raises(StoreUnavailable, match="READONLY"):
                await call
            await asyncio.sleep(0.01)
        assert 5 < len(FakeWire.made) <= 16

    run_single(fake, test(), Clocked)


def test_who_has_gone_before_the_script_was_there(fake: RedisStore) -> None:
    """EVAL decides only for who still waits: a slot that was given back behind EVALSHA would be taken again."""

    async def test() -> None:
        wire = await connected(fake)
        gone = asyncio.create_task(fake.acquire((concurrency(9),)))
        stays = asyncio.create_task(fake.acquire(CHARGES))
        await turns()
        gone.cancel()
        await turns()
        wire.reply(error_of(NOSCRIPT))
        await turns()
        assert [sent[0] for sent in wire.written] == [b"EVALSHA", b"ZREM", b"EVAL"]
        assert wire.keys[1] == wire.keys[0][1:]
        wire.reply(0)
        wire.reply([T, 1, 1])
        assert (await stays).allowed

    run_single(fake, test())


def test_a_release_behind_a_renewal(fake: RedisStore) -> None:
    """In one turn of the loop the renewal goes first: behind the release it would take the slot again."""

    async def test() -> None:
        wire = await connected(fake)
        renewal = asyncio.create_task(fake.renew(leases(1)))
        while not queue_of(fake).link._corked:  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)
        side_of(fake).leases.post_release(leases(1))
        await turns()
        assert [sent[0] for sent in wire.written] == [b"EVALSHA", b"ZREM"]
        wire.reply([1])
        wire.reply(1)
        await renewal

    run_single(fake, test())


@pytest.mark.parametrize("left", [1, 0])
def test_a_release_between_slices(fake: RedisStore, left: int) -> None:
    """What is given back while the slices before it are renewed is not renewed, which would take it again."""

    async def test() -> None:
        wire, held = await connected(fake), leases(SLICE + 1 + left)
        renewal = asyncio.create_task(fake.renew(held))
        await turns()
        side_of(fake).leases.post_release(held[-1:])
        wire.reply([1] * SLICE)
        wire.reply(1)
        await turns()
        assert [len(keys) for keys in wire.keys] == [SLICE, 1][: 1 + left]
        if left:
            wire.reply([1])
        assert await renewal == []

    run_single(fake, test())
