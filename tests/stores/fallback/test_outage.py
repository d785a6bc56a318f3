"""Whatever happens to the store, the quota in it comes to the requests that were admitted, by it or without it."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from redis import Redis

from ratelimit.model import StoreUnavailable
from ratelimit.stores.batching.allotments import Demand
from ratelimit.stores.batching.queue import DecisionQueue
from ratelimit.stores.redis import ClusterStore, RedisStore
from tests import clusters, servers
from tests.stores import concurrency, nodes_of, queue_of, quota, rate
from tests.stores.clustered import ClusterSubject, of, slot, user_in

pytestmark = pytest.mark.proof  # accounts to the unit, with a tenth of a second to say goodbye: alone on the machine

USERS = ("ana", "ben", "carla")
KEPT = ("--appendonly", "yes", "--appendfsync", "always")


class App:
    """Requests as the middleware decides them, and what became of them."""

    def __init__(
        self,
        store: RedisStore | ClusterStore,
        users: tuple[str, ...] = USERS,
        *,
        reserve: bool = False,
        caps: bool = True,
        window_ms: int = 2_000,
    ):
        store.keep_account()
        self.store = store
        limits = (rate(5_000, window_ms), quota(1_000_000), concurrency(1_000))[: 3 if caps and not reserve else 2]
        ahead = tuple([replace(charge, limit=replace(charge.limit, reserve=reserve)) for charge in limits])
        self.callers = {user: of(user, *ahead) for user in users}
        self.admitted: Counter[str] = Counter()
        self.without = 0

    async def ask(self, user: str) -> None:
        charges = self.callers[user]
        try:
            decision = await self.store.acquire(charges)
        except StoreUnavailable as error:
            decision = self.store.local().decide(charges, error)
            self.without += 1
        self.admitted[user] += decision.allowed
        if decision.unavailable:
            await self.store.local().release(decision.leases)
        else:
            try:
                await self.store.release(decision.leases)
            except StoreUnavailable:
                """It ends by itself."""

    async def ask_all(self, number: int, dice: random.Random) -> None:
        await asyncio.gather(*[self.ask(dice.choice(list(self.callers))) for _ in range(number)])

    async def cut(self, queues: Iterable[DecisionQueue], dice: random.Random) -> None:
        """End connections while calls are under way, or a moment later."""
        for queue in queues:
            for _ in range(20):
                if queue._batches:
                    break
                await asyncio.sleep(0)
            for _ in range(dice.choice([0, 0, 1, 3])):
                await asyncio.sleep(0)
            if queue.link.ready:
                queue.link.drop("it breaks")

    async def settled(self) -> None:
        """Wait until all is charged; a test that waits here for 20 s has failed."""
        async with asyncio.timeout(20):
            while self.store.local().journal.open_units or self.store.local().journal:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.02)

    def quotas(self, client: Redis, prefix: str) -> dict[str, int]:
        return {user: int(client.hget(f"{prefix}:{{user={user}}}:quota", "n") or 0) for user in self.callers}


@pytest.fixture
def own(request: pytest.FixtureRequest, kind: str) -> Iterator[servers.Server]:
    """A server that the test may stop."""
    with servers.run(kind, *KEPT) as server:
        yield server
        server.process.send_signal(signal.SIGCONT)


def restarted(server: servers.Server) -> subprocess.Popen[bytes]:
    return subprocess.Popen(server.process.args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


both = pytest.mark.parametrize("kind", ["valkey", "redis"])


@both
@pytest.mark.parametrize("reserve", [False, True], ids=["", "units ahead"])
def test_connections_that_break(own: servers.Server, reserve: bool) -> None:
    """A connection breaks at any moment, most often between a call and its reply: each request is charged once."""
    dice = random.Random(11)

    async def test() -> None:
        app = App(RedisStore(own.unix_url, prefix="p"), reserve=reserve)
        for _ in range(60):
            asking = asyncio.create_task(app.ask_all(dice.randint(1, 40), dice))
            await app.cut([queue_of(app.store)], dice)
            await asking
        await app.settled()
        await app.store.close()
        with own.client() as client:
            assert app.quotas(client, "p") == dict(app.admitted)
            assert all(client.ttl(key) > 0 for key in client.keys("p:calls:*") + client.keys("p:settled:*"))
        assert app.without > 30

    asyncio.run(test())


@both
def test_a_server_that_stands_still(own: servers.Server) -> None:
    """Calls under way when it stopped are applied late, or never where they were given up; never twice."""
    dice = random.Random(5)

    async def test() -> None:
        app = App(RedisStore(own.unix_url, prefix="p"))
        await app.ask_all(10, dice)
        for still in (0.15, 1.3, 0.25):  # for less than it takes to give the connection up, and for more
            own.process.send_signal(signal.SIGSTOP)
            until = asyncio.get_running_loop().time() + still
            while asyncio.get_running_loop().time() < until:
                await app.ask_all(7, dice)
                await asyncio.sleep(0.01)
            own.process.send_signal(signal.SIGCONT)
            await app.ask_all(20, dice)
            await app.settled()
        await app.store.close()
        with own.client() as client:
            assert app.quotas(client, "p") == dict(app.admitted)
        assert app.without > 20

    asyncio.run(test())


@both
@pytest.mark.parametrize("kept", [True, False], ids=["with its data", "empty"])
def test_a_server_that_is_killed(kind: str, kept: bool) -> None:
    """Restarted with its data it has all that was admitted; restarted empty, what was admitted since it went, and what
    of the last call was lost with it."""
    dice = random.Random(3)
    port = servers.free_port()

    async def test() -> None:
        with servers.run(kind, *KEPT * kept, port=port) as server:
            app = App(RedisStore(server.url, prefix="p"))
            await app.ask_all(50, dice)
            before = dict(app.admitted)
            asking = asyncio.create_task(app.ask_all(20, dice))
            await asyncio.sleep(0)
            server.process.kill()
            server.process.wait()
            await asking
            await app.ask_all(30, dice)
            again = restarted(server)
            try:
                servers._wait_until_up(replace(server, process=again))
                await app.settled()
                await app.ask_all(20, dice)
                await app.store.close()
                with server.client() as client:
                    expected = {user: app.admitted[user] - (0 if kept else before[user]) for user in USERS}
                    assert app.quotas(client, "p") == expected
            finally:
                again.kill()
                again.wait()

    asyncio.run(test())


@both
@pytest.mark.parametrize("flushed", [True, False])
def test_units_ahead_go_back_where_they_are(
    own: servers.Server, monkeypatch: pytest.MonkeyPatch, *, flushed: bool
) -> None:
    """Behind a reconnect units ahead go back, unless what was charged with them is gone: what is there then is not
    theirs."""
    monkeypatch.setattr(Demand, "wanted", lambda *_: 10)

    async def test() -> None:
        app = App(RedisStore(own.unix_url, prefix="p"), ("ana",), reserve=True, window_ms=60_000)
        other = App(RedisStore(own.unix_url, prefix="p"), ("ana",), caps=False, window_ms=60_000)
        with own.client() as client:
            while time.time() % 1 > 0.9:  # noqa: ASYNC110 - at the end of a second nothing is taken ahead
                await asyncio.sleep(0.01)
            await app.ask("ana")
            assert app.quotas(client, "p") == {"ana": 11}
            if flushed:
                client.flushall()
            await other.ask_all(20, random.Random(1))
            queue_of(app.store).link.drop("it breaks")
            async with asyncio.timeout(10):
                while not app.store.local().journal.refunds:  # noqa: ASYNC110 - by a timer
                    await asyncio.sleep(0.01)
                while app.store.local().journal:  # noqa: ASYNC110 - by a timer
                    await asyncio.sleep(0.01)
            await app.store.close()
            assert app.quotas(client, "p") == {"ana": 20 + (not flushed)}
        await other.store.close()

    asyncio.run(test())


@both
def test_closed_while_it_is_away(own: servers.Server, caplog: pytest.LogCaptureFixture) -> None:
    """At shutdown what is owed is charged where the store is there; else it is lost, and said with its number."""

    async def test() -> None:
        app = App(RedisStore(own.unix_url, prefix="p"), ("ana",))
        await app.ask("ana")
        queue_of(app.store).link.drop("it breaks")
        app.store.local().decide(app.callers["ana"], StoreUnavailable("away"))
        await app.store.close()
        with own.client() as client:
            assert app.quotas(client, "p") == {"ana": 2}
            assert client.keys("p:calls:*") + client.keys("p:settled:*") == []
        assert caplog.messages == []
        own.process.kill()
        own.process.wait()
        await app.ask("ana")
        await app.store.close()

    asyncio.run(test())
    (line,) = [message for message in caplog.messages if "closed" in message]
    assert line == "closed before the store was back: 2 units admitted without it are never charged"


def test_a_counter_that_somebody_damaged(valkey: servers.Server, caplog: pytest.LogCaptureFixture) -> None:
    """A counter of another type is dropped and said, and keeps nobody else from being charged."""

    async def test() -> None:
        app = App(RedisStore(valkey.unix_url, prefix="damaged"), ("ana", "ben"))
        with valkey.client() as client:
            client.set("damaged:{user=ana}:quota", "text")
            for user in ("ana", "ben"):
                app.store.local().decide(app.callers[user], StoreUnavailable("away"))
            await app.settled()
            assert client.hget("damaged:{user=ben}:quota", "n") == b"1"
            assert client.hget("damaged:{user=ana}:rate", "s") == b"1"
        await app.store.close()

    asyncio.run(test())
    assert len(caplog.messages) == 1
    assert "1 units are not charged, the counter {user=ana}:quota is damaged: WRONGTYPE" in caplog.messages[0]


@both
def test_no_memory_for_a_while(kind: str) -> None:
    """A server that takes no writes is asked again until it does."""

    async def test() -> None:
        with servers.run(kind) as server, server.client() as client:
            app = App(RedisStore(server.unix_url, prefix="p"), ("ana",))
            client.config_set("maxmemory", "1")
            await app.ask("ana")
            assert (app.without, app.admitted["ana"]) == (1, 1)
            await asyncio.sleep(0.4)
            assert app.store.local().journal.open_units
            client.config_set("maxmemory", "0")
            await app.settled()
            await app.store.close()
            assert app.quotas(client, "p") == {"ana": 1}

    asyncio.run(test())


def test_nodes_of_a_cluster(cluster: clusters.Cluster) -> None:
    """On a cluster each node is charged what is in its slots, also where calls of many slots are lost together; a
    marker is dropped with the next write to its node."""
    dice = random.Random(2)
    users = tuple([user_in(slots, number) for slots in clusters.shares() for number in range(3)])

    async def test() -> None:
        subject = ClusterSubject(cluster, timeout=0.1)
        app = App(subject.store, users)
        await app.ask_all(20, dice)
        router = nodes_of(app.store)
        for _ in range(30):
            asking = asyncio.create_task(app.ask_all(dice.randint(1, 40), dice))
            await app.cut([queue for queue in router.queues() if dice.random() < 0.5], dice)
            await asking
        await app.settled()
        async with asyncio.timeout(10):
            while any(queue.link.breaker.down for queue in router.queues()):  # noqa: ASYNC110 - the last cut was just now
                await asyncio.sleep(0.01)
        await app.ask_all(40, dice)
        await app.ask_all(40, dice)
        found: dict[str, int] = {}
        left = 0
        for node in cluster.nodes:
            with node.client() as client:
                held = [key.decode() for key in client.keys(f"{subject.prefix}:*quota")]
                for key in held:
                    found[key.split("=")[1].split("}")[0]] = int(client.hget(key, "n"))
        assert found == dict(app.admitted)
        await app.store.close()
        for node in cluster.nodes:
            with node.client() as client:
                keys = client.keys(f"{subject.prefix}:*:calls:*") + client.keys(f"{subject.prefix}:*:settled:*")
                left += sum(b" " in client.get(key) for key in keys)  # without one it was given up: kept on purpose
        assert left == 0
        assert app.without > 5

    asyncio.run(test())


def test_a_slot_that_moves_without_its_markers(cluster: clusters.Cluster) -> None:
    """While a slot is on its way calls carry no number, for a marker would never be where the counters are: they are
    decided, and one that is lost is never charged twice."""
    user = user_in(clusters.shares()[0], 77)

    async def test() -> None:
        subject = ClusterSubject(cluster, timeout=0.5)
        app = App(subject.store, (user,), caps=False)
        await app.ask(user)
        with clusters.Move(cluster, slot(user), 0, 1) as move:
            move.begin()
            for _ in range(5):
                await app.ask(user)
            assert app.without == 0
            while move.keys():
                await app.ask(user)
            router = list(nodes_of(app.store).queues())
            asking = asyncio.create_task(app.ask(user))
            async with asyncio.timeout(5):
                while not any(batch.apart for queue in router for batch in queue._batches):  # noqa: ASYNC110
                    await asyncio.sleep(0)
            for queue in router:
                queue.link.drop("it breaks")
            await asking
            move.end()
        await app.settled()
        await app.ask(user)
        await app.store.close()
        with cluster.nodes[1].client() as client:
            charged = app.quotas(client, subject.prefix)[user]
        assert app.admitted[user] - 1 <= charged <= app.admitted[user]

    asyncio.run(test())


def test_what_is_owed_in_a_slot_that_moves(cluster: clusters.Cluster) -> None:
    """It is charged where its counters are by now, before the cluster decides: nobody comes in above the max."""
    user = user_in(clusters.shares()[0], 78)
    charges = of(user, quota(10), rate(10, 600_000))

    async def test() -> None:
        store = ClusterSubject(cluster, timeout=0.5).store
        store.keep_account()
        for _ in range(2):
            assert (await store.acquire(charges)).allowed
        with clusters.Move(cluster, slot(user), 0, 1) as move:
            move.begin()
            for taken in (1, 9):
                move.keys(taken)
                for _ in range(4):
                    assert store.local().decide(charges, StoreUnavailable("away")).allowed
                async with asyncio.timeout(5):
                    while store.local().journal.open_units:  # noqa: ASYNC110 - by a timer
                        await asyncio.sleep(0.01)
            assert not (await store.acquire(charges)).allowed
            move.end()
        assert [state.used for state in (await store.peek(charges, 0)).states] == [10, 10]
        await store.close()

    asyncio.run(test())


def test_the_client_can_be_used_again(valkey: servers.Server) -> None:
    """A store that was closed keeps account again when it is used again."""

    async def test() -> None:
        app = App(RedisStore(valkey.unix_url, prefix="again"), ("ana",))
        for _ in range(2):
            app.store.local().decide(app.callers["ana"], StoreUnavailable("away"))
            await app.store.close()
        with valkey.client() as client:
            assert app.quotas(client, "again") == {"ana": 2}

    asyncio.run(test())


@both
def test_units_ahead_of_a_server_that_was_emptied(own: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units ahead do not go back to a server that lost them, also where this process has charged others there since."""
    monkeypatch.setattr(Demand, "wanted", lambda *_: 10)

    async def test() -> None:
        app = App(RedisStore(own.unix_url, prefix="p"), ("ana", "ben"), reserve=True, window_ms=60_000)
        other = App(RedisStore(own.unix_url, prefix="p"), ("ana",), caps=False, window_ms=60_000)
        with own.client() as client:
            # A sub-window of a second has begun: there is time until it ends. A timer may be a little early.
            await asyncio.sleep(1.01 - client.time()[1] / 1e6)
            await app.ask("ana")
            assert app.quotas(client, "p")["ana"] == 11
            queue_of(app.store).link.drop("it was restarted")
            client.flushall()
            await other.ask_all(20, random.Random(1))
            await app.ask("ben")
            async with asyncio.timeout(10):
                while queue_of(app.store).refunds._held:  # noqa: ASYNC110 - by a timer
                    await asyncio.sleep(0.01)
            await app.store.close()
            assert app.quotas(client, "p") == {"ana": 20, "ben": 1}
        await other.store.close()

    asyncio.run(test())


@both
def test_a_call_that_comes_after_the_end(own: servers.Server) -> None:
    """A call that was given up, and comes out of the network when its process has long ended, is refused."""

    async def test() -> None:
        app = App(RedisStore(own.unix_url, prefix="p"), ("ana",))
        await app.ask("ana")
        link, held = queue_of(app.store).link, []
        send = link.send

        def swallowed(commands: bytes, *done: object) -> None:
            held.append(commands)
            send(b"", *done)  # it is on its way

        link.send = swallowed
        asking = asyncio.create_task(app.ask("ana"))
        async with asyncio.timeout(5):
            while not held:  # noqa: ASYNC110 - in some turns
                await asyncio.sleep(0)
        link.send = send
        link.drop("it was given up")
        await asking
        await app.settled()
        await app.store.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", own.port)
        writer.write(held[0])
        assert (await reader.readline()).startswith(b"-FENCED")
        writer.close()
        with own.client() as client:
            assert app.quotas(client, "p") == {"ana": 2}
            assert all(client.ttl(key) > 0 for key in client.keys("p:calls:*"))

    asyncio.run(test())


@both
def test_a_user_that_may_not_mark(own: servers.Server) -> None:
    """A user of the server who may charge and not SET: what was charged is not charged again for want of a marker."""

    async def test() -> None:
        with own.client() as client:
            client.execute_command("ACL", "SETUSER", "default", "-set")
            app = App(RedisStore(own.unix_url, prefix="p"), ("ana",))
            await app.ask("ana")
            app.store.local().decide(app.callers["ana"], StoreUnavailable("away"))
            await app.settled()
            await app.store.close()
            assert (app.without, app.quotas(client, "p")) == (0, {"ana": 2})

    asyncio.run(test())
