"""What the store on a cluster promises, on real ones: a script call a slot, a write a node, and each node by itself."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from signal import SIGSTOP
from time import monotonic
from typing import Any

import pytest

from ratelimit.model import Decision, StoreUnavailable
from ratelimit.stores.connection.socket import Reply
from ratelimit.stores.redis import ClusterStore
from tests import clusters, servers
from tests.stores import concurrency, in_three_threads, nodes_of, quota, rate
from tests.stores.clock import ahead
from tests.stores.clustered import FIRST, SECOND, THIRD, ClusterSubject, of, slot, told, user_in

SCRIPTS = ("eval", "evalsha")


@pytest.fixture
def subject(cluster: clusters.Cluster) -> ClusterSubject:
    return ClusterSubject(cluster)


def test_a_caller_is_where_its_slot_is(cluster: clusters.Cluster, subject: ClusterSubject) -> None:
    """All keys of a request are in the slot of its root, and go to the master that has it."""
    users = [user_in(slots) for slots in (FIRST, SECOND, THIRD)]

    async def test() -> None:
        for user in users:
            decision = await subject.acquire(*of(user, rate(9, 60_000), quota(9), concurrency(9)))
            assert [state.used for state in decision.states] == [1, 1, 1]
        for node, user in zip(cluster.nodes, users, strict=True):
            with node.client() as client:
                keys = [key.decode() for key in client.scan_iter(f"{subject.prefix}:*")]
            assert sorted(keys) == [
                f"{subject.prefix}:{{user={user}}}:{what}" for what in ("concurrency", "quota", "rate")
            ]

    subject.run(test())


def test_limits_in_several_slots(subject: ClusterSubject) -> None:
    """Charges of two roots in one request are that request's own failure, and no other's in the same call."""
    ana, ben = of(user_in(FIRST, 1), rate(9, 60_000)), of(user_in(SECOND, 2), rate(9, 60_000))

    async def test() -> None:
        seen = await asyncio.gather(*map(subject.store.acquire, (ana, ana + ben, ben)), return_exceptions=True)
        assert isinstance(seen[1], StoreUnavailable)
        assert "several slots" in str(seen[1])
        assert [one.states[0].used for one in (seen[0], seen[2]) if isinstance(one, Decision)] == [1, 1]

    subject.run(test())


def test_a_script_call_a_slot_and_a_write_a_node(cluster: clusters.Cluster, subject: ClusterSubject) -> None:
    """64 callers of 12 organizations at once are 12 script calls, and each node gets its share in one write."""
    users = [user_in(slots, n) for n in range(4) for slots in (FIRST, SECOND, THIRD)]
    requests = [of(users[n % 12], rate(99, 60_000, key=f"r{n}"), quota(999)) for n in range(64)]

    async def test() -> None:
        await asyncio.gather(*map(subject.store.acquire, requests))  # connects, and fills the script caches
        before, writes = cluster.calls(*SCRIPTS), spy(subject.store)
        for used in (2, 3):
            decisions = await asyncio.gather(*map(subject.store.acquire, requests))
            assert [d.states[0].used for d in decisions] == [used] * 64
        assert [b - a for a, b in zip(before, cluster.calls(*SCRIPTS), strict=True)] == [8, 8, 8]
        assert sorted(writes) == [4] * 6

    subject.run(test())


def spy(store: ClusterStore) -> list[int]:
    """Of each write that decisions take from now on how many script calls are in it."""
    router = nodes_of(store)
    writes: list[int] = []

    def spied(send: Callable[..., None]) -> Callable[..., None]:
        def sent(commands: bytes, *done: Callable[[Reply], None]) -> None:
            writes.append(len(done))
            send(commands, *done)

        return sent

    for queue in router._queues.values():
        queue.link.send = spied(queue.link.send)  # type: ignore[method-assign]
    return writes


def test_many_decisions_share_a_call(cluster: clusters.Cluster, subject: ClusterSubject) -> None:
    """64 workers of one organization take at most a script call for 16 decisions, and every one is charged."""
    user = user_in(SECOND)

    async def worker(number: int) -> list[int]:
        charges = of(user, rate(99, 60_000, key=f"r{number}"), quota(9_999))
        return [(await subject.store.acquire(charges)).states[0].used for _ in range(20)]

    async def test() -> None:
        await subject.acquire(*of(user, rate(9, 60_000, key="warm")))
        before = sum(cluster.calls(*SCRIPTS))
        assert await asyncio.gather(*map(worker, range(64))) == [list(range(1, 21))] * 64
        assert sum(cluster.calls(*SCRIPTS)) - before <= 64 * 20 / 16

    subject.run(test())


def test_the_script_caches_vanish(cluster: clusters.Cluster, subject: ClusterSubject) -> None:
    """SCRIPT FLUSH on one node costs an EVAL a slot there, and each decision is charged once; renewals too."""
    requests = [of(user_in(slots, n), quota(9), concurrency(9)) for n in range(3) for slots in (FIRST, SECOND)]

    async def test() -> None:
        for used in (1, 2, 3):
            with cluster.nodes[0].client() as client:
                client.script_flush()
            decisions = await asyncio.gather(*map(subject.store.acquire, requests))
            assert [d.states[0].used for d in decisions] == [used] * 6
            with cluster.nodes[0].client() as client:
                client.script_flush()
            assert await subject.store.renew([lease for d in decisions for lease in d.leases]) == []

    subject.run(test())


def test_leases_over_all_nodes(cluster: clusters.Cluster, subject: ClusterSubject) -> None:
    """Leases of all nodes are renewed in one write a node, also where the script is not there, and given back in
    another, however many there are; those for which there is no room any more are told."""
    users = [user_in(slots, n) for n in range(9) for slots in (FIRST, SECOND, THIRD)]

    async def test() -> None:
        held = [(await subject.acquire(*of(user, concurrency(2)))).leases[0] for user in users]
        router = nodes_of(subject.store)
        writes = Counter[int]()
        for number, queue in enumerate(router._queues.values()):
            spy_on(queue.link._wire, partial(writes.update, [number]))
        for node in cluster.nodes:
            with node.client() as client:
                client.script_flush()
        assert await subject.store.renew(held) == []
        assert sorted(writes.values()) == [2, 2, 2]  # by its digest, which is not there any more, and as a text
        writes.clear()
        with cluster.nodes[1].client() as client:
            client.delete(f"{subject.prefix}:{held[1].key}")
        theirs = [(await subject.acquire(*of(users[1], concurrency(2)))).leases[0] for _ in range(2)]
        writes.clear()
        assert await subject.store.renew(held) == [held[1]]
        assert sorted(writes.values()) == [1, 1, 1]
        assert (await subject.acquire(*of(users[1], concurrency(9)))).states[0].used == 4
        writes.clear()
        await subject.store.release([*held, *theirs])
        assert sorted(writes.values()) == [1, 1, 1]
        again = [await subject.acquire(*of(user, concurrency(9))) for user in users]
        assert [d.states[0].used for d in again] == [1, 2, *[1] * 25]

    subject.run(test())


def spy_on(wire: Any, told: Callable[[], None]) -> None:
    """Tell of every write to a connection."""
    write = wire.write

    def written(commands: bytes) -> None:
        told()
        write(commands)

    wire.write = written


def test_nothing_to_charge(subject: ClusterSubject) -> None:
    """A request without limits, and leases that are none, need no cluster."""

    async def test() -> None:
        assert (await subject.store.acquire(())).allowed
        assert await subject.store.renew([]) == []
        await subject.store.release([])
        assert not nodes_of(subject.store)._queues

    subject.run(test())


def test_a_slot_moves_under_load(
    cluster: clusters.Cluster, subject: ClusterSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a slot moves key by key nobody sees an error, and what is used at the end is what was admitted."""
    user, seen = user_in(range(100)), told(monkeypatch)
    requests = [of(user, rate(10**6, 600_000, key=f"r{n}"), quota(10**6), concurrency(99)) for n in range(16)]
    ended = threading.Event()

    async def worker(number: int) -> int:
        count = 0
        while not ended.is_set():
            decision = await subject.store.acquire(requests[number])
            assert decision.allowed
            assert await subject.store.renew(decision.leases) == []
            await subject.store.release(decision.leases)
            count += 1
        return count

    def move(source: int, target: int) -> None:
        with clusters.Move(cluster, slot(user), source, target) as moving:
            moving.begin()
            servers.until(lambda: not moving.keys())
            moving.end()

    async def test() -> None:
        firsts = await asyncio.gather(*map(subject.store.acquire, requests))  # each key is there before it moves
        workers = [asyncio.create_task(worker(n)) for n in range(16)]
        await asyncio.to_thread(move, 0, 1)
        await asyncio.to_thread(move, 1, 0)
        ended.set()
        counts = await asyncio.gather(*workers)
        await subject.release(*[lease for d in firsts for lease in d.leases])
        last = [await subject.store.acquire(charges) for charges in requests]
        assert [d.states[0].used - 2 for d in last] == counts
        assert last[-1].states[1].used == sum(counts) + 32
        assert last[0].states[2].used == 1  # and all slots of the cap came back
        assert set(seen) == {"Moved", "AskRedirect", "TryAgain"}

    subject.run(test())


def test_a_slot_that_stays_on_its_way(cluster: clusters.Cluster) -> None:
    """What no node can decide while keys are in two places fails within the timeout, alone, and leases follow keys."""
    subject, user = ClusterSubject(cluster, timeout=0.3), user_in(range(200, 300))
    split = of(user, quota(9, key="a"), quota(9, key="b"))
    ready = of(user, concurrency(9, key="c"))
    other = of(user_in(SECOND), quota(9))

    async def test() -> None:
        await subject.store.acquire(split)
        held = (await subject.store.acquire(ready)).leases
        with clusters.Move(cluster, slot(user), 0, 1) as moving:
            moving.begin()
            moving.keys(2)  # of three
            begun = monotonic()
            seen = await asyncio.gather(
                *map(subject.store.acquire, (of(user, quota(1, key="new"), *split), other)), return_exceptions=True
            )
            assert isinstance(seen[0], StoreUnavailable)
            assert "on its way" in str(seen[0])
            assert monotonic() - begun < 3
            assert isinstance(seen[1], Decision)
            while moving.keys():
                """The rest."""
            assert await subject.store.renew(held) == []  # they are where the slot is not yet
            assert (await subject.store.acquire(ready)).states[0].used == 2
            await subject.release(*held)
            await until(lambda: calls_of_cap() == 1)
            moving.end()
        assert (await subject.store.acquire(split)).states[0].used == 2

    def calls_of_cap() -> int:
        with cluster.nodes[1].client() as client:
            client.execute_command("ASKING")
            return int(client.execute_command("ZCARD", f"{subject.prefix}:{{user={user}}}:c"))

    subject.run(test())


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something is so; fails when it is not within 20 s."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("dead", [1, 4])
def test_some_of_the_nodes_given_are_gone(cluster: clusters.Cluster, dead: int) -> None:
    """One node of those in the URL that is there is enough."""
    gone = [f"127.0.0.1:{servers.free_port()}" for _ in range(dead)]
    store = ClusterStore(f"redis+cluster://{','.join(gone)},127.0.0.1:{cluster.nodes[1].port}", timeout=10)

    async def test() -> None:
        user = user_in(FIRST, dead)
        assert (await store.acquire(of(user, rate(9, 60_000)))).allowed
        await store.close()

    asyncio.run(test())


def test_units_taken_ahead(cluster: clusters.Cluster, subject: ClusterSubject) -> None:
    """Units are taken ahead from the master that has the caller, and what is not spent goes back there."""
    hot = [of(user_in(slots), ahead(rate(10**6, 600_000, 10))) for slots in (FIRST, THIRD)]

    async def test() -> None:
        before = sum(cluster.calls(*SCRIPTS))
        for _ in range(300):
            await asyncio.gather(*map(subject.store.acquire, hot))
        assert sum(cluster.calls(*SCRIPTS)) - before < 100
        await subject.store.close()
        seen = [await subject.store.acquire(charges) for charges in hot]
        assert [d.states[0].used for d in seen] == [301, 301]

    subject.run(test())


@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_a_password(name: str) -> None:
    """A password in the URL is presented to every node, and a wrong one is in no message."""
    with clusters.run_cluster(name, password="open sesame") as cluster:
        hosts = cluster.url.partition("://")[2]
        right = ClusterStore(f"redis+cluster://default:open%20sesame@{hosts}", timeout=10)
        wrong = ClusterStore(f"redis+cluster://:closed%20sesame@{hosts}", timeout=10)

        async def test() -> None:
            for slots in (FIRST, SECOND, THIRD):
                assert (await right.acquire(of(user_in(slots), rate(9, 60_000)))).allowed
            with pytest.raises(StoreUnavailable, match="invalid") as raised:
                await wrong.acquire(of(user_in(FIRST), rate(9, 60_000)))
            assert "sesame" not in str(raised.value)
            await right.close()
            await wrong.close()

        asyncio.run(test())


def test_several_event_loops(subject: ClusterSubject) -> None:
    """One store serves several loops in several threads, each with connections of its own."""
    charges = [of(user_in(slots, 7), rate(50, 60_000)) for slots in (FIRST, SECOND, THIRD)]

    async def test() -> list[bool]:
        seen = [(await subject.store.acquire(charges[n % 3])).allowed for n in range(90)]
        await subject.store.close()
        return seen

    allowed = in_three_threads(test)
    assert (len(allowed), sum(allowed)) == (270, 150)


@pytest.mark.proof
@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_a_master_fails(name: str) -> None:
    """A master that hangs fails its own callers alone, each after its timeout; its replica is found once it is
    promoted, and what was given back meanwhile is given back there."""
    with clusters.run_cluster(name, replicas=1) as cluster:
        subject = ClusterSubject(cluster, timeout=0.25)
        mine, others = user_in(FIRST), [user_in(SECOND), user_in(THIRD)]
        subject.run(failing(cluster, subject, mine, others))


async def failing(cluster: clusters.Cluster, subject: ClusterSubject, mine: str, others: list[str]) -> None:
    ended = asyncio.Event()

    async def undisturbed(user: str) -> list[int]:
        charges, used = of(user, quota(10**6)), []
        while not ended.is_set():
            used.append((await subject.store.acquire(charges)).states[0].used)
            await asyncio.sleep(0.001)
        return used

    async def in_flight() -> int | None:
        """How many slots of a cap are held; None without the store, after a bounded wait."""
        begun = monotonic()
        try:
            decision = await subject.acquire(*of(mine, concurrency(9)))
        except StoreUnavailable:
            assert monotonic() - begun < 2  # 0.25 s, and what a busy machine takes by itself
            return None
        await subject.release(*decision.leases)
        return decision.states[0].used - 1

    for user in (mine, *others):
        await subject.acquire(*of(user, rate(9, 60_000)))
    held = (await subject.acquire(*of(mine, concurrency(9)))).leases
    with cluster.nodes[0].client() as client:
        client.execute_command("WAIT", 1, 5_000)  # what the replica has not heard would be lost
    workers = [asyncio.create_task(undisturbed(user)) for user in others]
    cluster.nodes[0].process.send_signal(SIGSTOP)
    assert await in_flight() is None
    with pytest.raises(StoreUnavailable):
        await subject.store.renew(held)
    await subject.release(*held)
    seen: list[int | None] = []
    async with asyncio.timeout(30):
        while not seen or seen[-1] != 0:
            seen.append(await in_flight())
            await asyncio.sleep(0.01)
    ended.set()
    for used in await asyncio.gather(*workers):
        assert used == list(range(1, len(used) + 1))
