"""What a store on a cluster does with what nodes say: nothing twice, no one for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ratelimit.model import Decision, Lease, StoreUnavailable
from ratelimit.stores.redis import ClusterStore
from ratelimit.stores.routing import nodes as nodes_module
from ratelimit.stores.routing.slotmap import Address, Range
from tests.clocked import Clocked
from tests.stores import concurrency, nodes_of, rate, side_of
from tests.stores.clustered import Node, fake_cluster, whole
from tests.stores.wires import T, turns

CHARGES = (rate(9, 60_000),)
SLOT = 3_291  # of {user=ana}
ASK = [b"ASKING", b"EVALSHA"]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> ClusterStore:
    return fake_cluster(monkeypatch, 7000)


def run(store: ClusterStore, test: Coroutine[Any, Any, None]) -> None:
    """On a clock of its own, which jumps over every wait; nothing is left behind."""

    async def main() -> None:
        try:
            await test
        finally:
            await store.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=Clocked) as runner:
        runner.run(main())


def ask(store: ClusterStore, charges: tuple[Any, ...] = CHARGES) -> asyncio.Task[Decision]:
    return asyncio.create_task(store.acquire(charges))


async def known(store: ClusterStore, port: int = 7000) -> Node:
    """The node that has all slots, connected, with nothing under way; who has which slots may be looked at again."""
    call = ask(store, (rate(9, 60_000, key="warm"),))
    await turns(8)
    Node.made[7000].say(whole(port))
    await turns(12)
    Node.made[port].say([T, 1, 1])
    await call
    await asyncio.sleep(nodes_module.REST)
    Node.slots = whole(port)
    return Node.made[port]


def test_the_first_that_knows_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three nodes are asked together and one answer is enough; where none knows, the others are asked."""
    store = fake_cluster(monkeypatch, 1, 2, 3, 4, 5)
    Node.silent.add(1)

    async def test() -> None:
        call = ask(store)
        await turns(10)
        assert sorted(Node.made) == [2, 3]
        Node.made[2].say([])
        Node.made[3].say("ERR This instance has cluster support disabled")
        await turns(12)
        assert sorted(Node.made) == [2, 3, 4, 5]
        Node.made[5].say(whole(6))
        await turns(12)
        Node.made[6].say([T, 1, 1])
        assert (await call).allowed
        await turns(8)
        assert list(nodes_of(store)._queues) == [("h", 6)]  # connections to the others are closed

    run(store, test())


def test_nobody_knows(store: ClusterStore) -> None:
    """A cluster that does not answer costs the timeout, and one that can't be reached no wait; the reason is told."""

    async def test() -> None:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailable, match="in time"):
            await store.acquire(CHARGES)
        assert asyncio.get_running_loop().time() - begun < 0.15
        await asyncio.sleep(0.01)
        silent = Node.made[7000]
        for _ in range(3):
            for _ in range(2):
                begun = asyncio.get_running_loop().time()
                with pytest.raises(StoreUnavailable, match=r"slot 3291: h:7000: no reply within 100 ms"):
                    await store.acquire(CHARGES)
                assert asyncio.get_running_loop().time() - begun < 0.01
            await asyncio.sleep(0.2)
        assert silent.names == [b"CLUSTER"]  # not asked again while it says nothing
        silent.say(None)
        await turns()
        assert silent.names == [b"EVAL"]  # that was late: it is back when it answers in time
        silent.say([T])
        await asyncio.sleep(nodes_module.LATELY)
        call = ask(store)
        await turns()
        silent.say([[0, 5, [b"h", 7000]]])
        with pytest.raises(StoreUnavailable, match="slot 3291: the cluster has no master for it"):
            await call

    run(store, test())


def test_moved(store: ClusterStore) -> None:
    """MOVED is followed at once, and not asked for again; without a host it is that of the node."""

    async def test() -> None:
        node = await known(store)
        call = ask(store)
        await turns()
        node.say(f"MOVED {SLOT} :7001")
        await turns(8)
        there = Node.made[7001]
        there.say([T, 1, 4])
        assert (await call).states[0].used == 4
        assert Node.looks > 0
        Node.slots = whole(7001)
        await asyncio.sleep(nodes_module.REST)
        nodes_of(store).refresh()
        await turns(8)
        again = ask(store)
        await turns()
        there.say([T, 1, 5])
        assert (await again).states[0].used == 5

    run(store, test())


def test_two_nodes_that_disagree(store: ClusterStore) -> None:
    """Two nodes that send a call to each other are asked again after pauses, and no longer than the timeout."""

    async def test() -> None:
        await known(store)
        call, trips = ask(store), 0
        while not call.done():
            await asyncio.sleep(0.0005)
            for port, node in list(Node.made.items()):
                if b"EVALSHA" in node.names:
                    trips += 1
                    node.say(f"MOVED {SLOT} h:{15_000 - 1 - port}")
                    await turns()
        assert isinstance(call.exception(), StoreUnavailable)
        assert "on its way" in str(call.exception())
        assert 4 < trips < 20

    run(store, test())


@pytest.mark.parametrize("reply", ["MOVED", f"MOVED {SLOT} h", "ASK 1 h:port", "TRYAGAIN Multiple keys"])
def test_sent_nowhere(store: ClusterStore, reply: str) -> None:
    """A node that does not say where is asked again, within the timeout."""

    async def test() -> None:
        node = await known(store)
        call = ask(store)
        await turns()
        node.say(reply)
        await turns(9)
        assert node.names == [b"EVALSHA", b"CLUSTER"]
        node.say([T, 1, 4])
        assert (await call).states[0].used == 4
        await turns()
        assert Node.looks == 1
        assert Node.looks == 1

    run(store, test())


def test_ask(store: ClusterStore) -> None:
    """ASK is followed for that call alone, with ASKING before it; also where the script is not there yet."""

    async def test() -> None:
        node = await known(store)
        nodes_of(store)._looked_at = float("inf")
        call = ask(store)
        await turns()
        node.say(f"ASK {SLOT} h:7001")
        await turns(8)
        there = Node.made[7001]
        assert there.names == ASK
        there.say(b"OK")
        there.say("NOSCRIPT No matching script")
        assert there.names == [b"ASKING", b"EVAL"]
        there.say(b"OK")
        late = ask(store)  # while the first is under way there
        await turns()
        node.say(f"ASK {SLOT} h:7001")
        there.say([T, 1, 4])
        assert (await call).states[0].used == 4
        await turns()
        there.say(b"OK")
        there.say([T, 1, 5])
        assert (await late).states[0].used == 5
        last = ask(store)
        await turns()
        node.say([T, 1, 6])
        assert (await last).states[0].used == 6

    run(store, test())


def test_sent_to_a_node_that_is_down(store: ClusterStore) -> None:
    """A call that is sent to a node which is known to be down fails at once, with why that is down."""

    async def test() -> None:
        node = await known(store)
        nodes_of(store)._looked_at = float("inf")
        Node.silent.add(7001)
        there = nodes_of(store)._at(Address("h", 7001))
        there.link.connect()
        await turns(8)
        assert there.link.breaker.down
        call = ask(store)
        await turns()
        node.say(f"ASK {SLOT} h:7001")
        with pytest.raises(StoreUnavailable, match="nobody at 7001"):
            await call

    run(store, test())


def test_callers_of_a_moving_slot_are_apart(store: ClusterStore) -> None:
    """While a slot is on its way its callers have a script call each, until it is heard that it has arrived."""
    two = (rate(9, 60_000, key="a"),), (rate(9, 60_000, key="b"),)

    async def test() -> None:
        node = await known(store)
        nodes_of(store)._looked_at = float("inf")
        calls = [ask(store, charges) for charges in two]
        await turns()
        assert node.names == [b"EVALSHA"]
        node.say("TRYAGAIN Multiple keys request during rehashing of slot")
        await turns()
        assert node.names == [b"EVALSHA", b"EVALSHA"]
        for _ in two:
            node.say([T, 1, 1])
        await asyncio.gather(*calls)
        nodes_of(store)._looked_at = 0.0
        nodes_of(store).refresh()
        await turns(8)
        calls = [ask(store, charges) for charges in two]
        await turns()
        assert node.names == [b"EVALSHA"]
        node.say([T, 1, 2, 1, 2])
        await asyncio.gather(*calls)

    run(store, test())


def test_a_slot_without_a_master_is_asked_for_again(store: ClusterStore) -> None:
    """CLUSTERDOWN may end in a moment: it is asked again within the timeout; who comes after one that was refused for
    all of its time is told after one trip, until a decision is made."""
    reply = "CLUSTERDOWN Hash slot not served"

    async def test() -> None:
        node = await known(store)
        call, trips = ask(store), 0
        while not call.done():
            await asyncio.sleep(0)
            if node.names == [b"EVALSHA"]:
                trips += 1
                node.say(reply)
        assert reply in str(call.exception())
        assert 4 < trips < 20
        assert Node.looks > 0
        call = ask(store)
        await turns()
        node.say(reply)
        await turns()
        assert reply in str(call.exception())
        for used in (1, 2):
            call = ask(store)
            await turns()
            if used == 2:
                node.say(reply)
                await asyncio.sleep(0.002)
            node.say([T, 1, used])
            assert (await call).states[0].used == used

    run(store, test())


@pytest.mark.parametrize(
    "reply",
    [
        "OOM command not allowed",
        "MISCONF Redis is configured",
        "NOREPLICAS Not enough",
        "LOADING Redis is loading",
        "BUSY Redis is busy",
    ],
)
def test_what_failed_is_not_repeated(store: ClusterStore, reply: str) -> None:
    """What does not end within a timeout is the callers' failure at once, and who has which slots is looked at."""

    async def test() -> None:
        node = await known(store)
        call = ask(store)
        await turns()
        node.say(reply)
        with pytest.raises(StoreUnavailable, match=reply):
            await call
        await turns(8)
        assert Node.looks == 1
        assert node.names == []

    run(store, test())


@pytest.mark.parametrize("word", ["READONLY", "MASTERDOWN"])
def test_a_demoted_master(store: ClusterStore, word: str) -> None:
    """READONLY drops the connection, also said to one caller of a call, who is told at once; the next one is decided
    where its slot is then."""

    async def test() -> None:
        node = await known(store)
        Node.slots = whole(7001)
        call = ask(store)
        await turns()
        node.say([T, -2, f"{word} You can't write against a read only replica".encode()])
        with pytest.raises(StoreUnavailable, match=word):
            await call
        await asyncio.sleep(0.02)
        assert node.aborted
        assert Node.looks == 1
        call = ask(store)
        await turns(8)
        Node.made[7001].say([T, 1, 2])
        assert (await call).states[0].used == 2

    run(store, test())


def test_leaving(store: ClusterStore) -> None:
    """A group that is left sends nothing any more: its callers go to the node that has their slot."""

    async def test() -> None:
        node = await known(store)
        under_way = ask(store, (rate(9, 60_000, key="a"),))
        await turns()
        waiting = ask(store, (rate(9, 60_000, key="b"),))
        late = store.acquire((rate(9, 60_000, key="c"),))
        await turns()
        Node.slots, router = whole(7001), nodes_of(store)
        router._believe({Range(0, 16_383, there := Address("h", 7001)): router._at(there)})
        task = asyncio.create_task(late)
        await turns(12)
        node.say([T, 1, 1])
        while not (waiting.done() and task.done()):
            await turns()
            if Node.made[7001].written:
                callers = int(Node.made[7001].written[0][2])
                Node.made[7001].say([T, *[1, 2] * callers])
        seen = await asyncio.gather(under_way, waiting, task)
        assert [d.states[0].used for d in seen] == [1, 2, 2]
        assert node.names == []
        await turns(8)
        assert node.aborted

    run(store, test())


async def lease_of(store: ClusterStore, node: Node) -> tuple[Lease, ...]:
    call = ask(store, (concurrency(9),))
    await turns()
    node.say([T, 1, 1])
    return (await call).leases


def test_a_lease_follows_its_slot(store: ClusterStore) -> None:
    """A lease is given back where its slot is: by MOVED, by ASK, and after a connection that broke."""

    async def test() -> None:
        node = await known(store)
        nodes_of(store)._looked_at = float("inf")
        held = await lease_of(store, node)
        await store.release(held)
        node.say(f"ASK {SLOT} h:7001")
        await turns(8)
        there = Node.made[7001]
        assert there.names == [b"ASKING", b"ZREM"]
        there.say(b"OK")
        there.say(f"MOVED {SLOT} h:7002")
        await turns(8)
        assert Node.made[7002].names == [b"ZREM"]
        lost = Node.made[7002]
        lost.lose("gone")
        await asyncio.sleep(0.1)  # it has decided for nobody: the next attempt is 50 ms later
        assert Node.made[7002] is not lost
        assert Node.made[7002].names == [b"ZREM"]
        Node.made[7002].say(1)
        await asyncio.sleep(5)
        assert Node.made[7002].names == []

    run(store, test())


def test_a_lease_that_nobody_takes(store: ClusterStore) -> None:
    """A lease that is sent from node to node pauses, and is tried no longer than a lease may last."""

    async def test() -> None:
        node = await known(store)
        await store.release(await lease_of(store, node))
        trips = 0
        for _ in range(6_500):
            await asyncio.sleep(0.01)
            while node.names[:1] == [b"ZREM"]:
                trips += 1
                node.say(f"MOVED {SLOT} h:7000")
        assert 600 < trips <= 726  # 6 each half second
        assert not side_of(store).leases._waiting

    run(store, test())


def test_a_lease_without_a_cluster(store: ClusterStore) -> None:
    """A lease is kept while nobody knows where its slot is, and forgotten when the store is closed."""
    lease = Lease(CHARGES[0].key, "id", 60_000)

    async def test() -> None:
        await store.release([lease])
        await store.release([lease])
        Node.slots = whole(7000)
        await asyncio.sleep(1)
        assert Node.made[7000].names == [b"ZREM"] * 2
        Node.made[7000].lose("gone")
        await turns(8)
        nodes, leases = nodes_of(store), side_of(store).leases
        assert leases._timer
        await store.close()
        leases.post_release([lease])
        assert not leases._waiting
        nodes.refresh()
        assert nodes._look is None

    run(store, test())


def test_renewals_follow_their_slot(store: ClusterStore) -> None:
    """A renewal goes where MOVED, ASK and TRYAGAIN send it, with the script where it is not there yet."""

    async def test() -> None:
        node = await known(store)
        nodes_of(store)._looked_at = float("inf")
        held = await lease_of(store, node)
        renewal = asyncio.create_task(store.renew(held))
        await turns()
        node.say(f"ASK {SLOT} h:7001")
        await turns(8)
        there = Node.made[7001]
        assert there.names == ASK
        there.say(b"OK")
        there.say("NOSCRIPT No matching script")
        await turns()
        assert there.names == [b"ASKING", b"EVAL"]
        there.say(b"OK")
        there.say("TRYAGAIN Multiple keys")
        await turns()
        assert node.names == [b"EVAL"]
        node.say(f"MOVED {SLOT} h:7001")
        await asyncio.sleep(0.01)
        assert there.names == [b"EVAL"]
        there.say([0])
        assert await renewal == list(held)

    run(store, test())


def test_renewals_that_fail(store: ClusterStore) -> None:
    """A node that does not answer fails the renewal within the timeout, and what others hold is renewed."""
    two = [Lease(f"{{user={name}}}:c", "id", 60_000) for name in ("ana", "ben")]

    async def test() -> None:
        node = await known(store)
        renewal = asyncio.create_task(store.renew(two))
        await turns()
        assert node.names == [b"EVALSHA"] * 2
        node.say([1])
        with pytest.raises(StoreUnavailable, match="no reply within 100 ms"):
            await renewal

    run(store, test())


def test_close_while_it_is_looked_for(store: ClusterStore) -> None:
    """A store that is closed in the middle of it all leaves nothing behind, and opens again."""

    async def test() -> None:
        call = ask(store)
        await turns(8)
        router = nodes_of(store)
        await store.close()
        with pytest.raises(StoreUnavailable):
            await call
        assert router._look is None
        await store.close()
        await known(store)
        call = ask(store)
        await turns()
        router = nodes_of(store)
        closing = asyncio.create_task(store.close())
        await turns()
        Node.made[7000].say(f"MOVED {SLOT} h:7001")
        with pytest.raises(StoreUnavailable):
            await call
        await closing
        assert 7001 not in Node.made

    run(store, test())


def test_a_connection_that_has_not_begun(store: ClusterStore) -> None:
    """A link that is closed before its connection is even tried is closed for good: nobody would end another one."""

    async def test() -> None:
        await known(store)
        link = nodes_of(store)._at(Address("h", 7001)).link
        link.connect()
        await link.close()
        link.connect()
        await turns(8)
        assert link._task is None
        assert 7001 not in Node.made

    run(store, test())
