"""What the one connection of a loop promises to those who send over it by themselves: renewals and releases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from ratelimit.model import Lease, StoreUnavailable
from ratelimit.stores.connection import link as link_module
from ratelimit.stores.connection.breaker import OF_A_MASTER
from ratelimit.stores.connection.dial import connect
from ratelimit.stores.connection.errors import ADVICE, NoScript, NotMaster, Replied, error_of
from ratelimit.stores.connection.socket import Socket, Transport, command
from ratelimit.stores.redis import RedisStore
from ratelimit.stores.routing import lease_writes
from tests import servers
from tests.clocked import Clocked
from tests.stores import concurrency, queue_of
from tests.stores.wires import WARM, FakeTransport, FakeWire, T, ask, connected, fake_store, run, turns

LEASE = Lease("{user=ana}:c", "0/60000", 60_000)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    return fake_store(monkeypatch)


def test_a_release_waits_until_it_is_sent(fake: RedisStore) -> None:
    """A release is over when all has left this process, and not before; it waits for no reply."""

    async def test() -> None:
        wire = await connected(fake)
        await fake.release([LEASE])
        assert wire.written == [[b"ZREM", b"ratelimit:{user=ana}:c", b"0/60000"]]
        wire.drained = drained = asyncio.get_running_loop().create_future()
        release = asyncio.create_task(fake.release([LEASE]))
        await turns()
        assert not release.done()
        wire.drained = None
        drained.set_result(None)
        await release

    run(fake, test())


def test_a_link_that_is_cancelled(fake: RedisStore) -> None:
    """Who is cancelled with it, as a loop ends, makes no connection that nobody would end; who comes later does."""

    async def test() -> None:
        await connected(fake)
        link = queue_of(fake).link
        assert link._task
        ended = link._task
        ended.cancel()
        await asyncio.wait([ended])

        async def gives_back() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                await fake.release([LEASE])
                await turns()

        cancelled = asyncio.create_task(gives_back())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert link._task is None
        link.connect()
        assert link._task

    run(fake, test())


def test_what_does_not_fit_stays_in_line(fake: RedisStore) -> None:
    """While a server does not read, what comes is kept here, and goes in its order when it does."""

    async def test() -> None:
        wire = await connected(fake)
        wire.drained = drained = asyncio.get_running_loop().create_future()
        link = queue_of(fake).link
        link.send(command("ECHO", "much"), lambda _: None)
        for number in range(3):
            link.submit(command("ZREM", "key", number))
        decision = ask(fake, *WARM)
        await turns()
        assert wire.written == [[b"ECHO", b"much"]]
        wire.drained = None
        drained.set_result(None)
        await turns()
        assert [call[-1] for call in wire.written[:4]] == [b"much", b"0", b"1", b"2"]
        for reply in (b"much", 1, 1, 1, [T, 1, 4]):
            wire.reply(reply)
        assert (await decision).states[0].used == 4

    run(fake, test())


def test_a_renewal_that_nobody_answers(fake: RedisStore) -> None:
    """A renewal waits its time and no longer; one that was never sent is not sent later."""

    async def test() -> None:
        wire = await connected(fake)
        with pytest.raises(StoreUnavailable, match="no reply within 100 ms"):
            await fake.renew([LEASE])
        wire.reply([1])  # too late: of no use, and no harm
        wire.drained = drained = asyncio.get_running_loop().create_future()
        queue_of(fake).link.send(command("ECHO", "much"), lambda _: None)
        with pytest.raises(StoreUnavailable, match="no reply within 100 ms"):
            await fake.renew([LEASE])
        wire.drained = None
        drained.set_result(None)
        await turns()
        assert [call[0] for call in wire.written] == [b"EVALSHA", b"ECHO"]

    run(fake, test(), Clocked)


def test_a_renewal_without_a_server() -> None:
    """A renewal where nobody is there fails with the reason, as a decision does."""
    store = RedisStore(f"redis://127.0.0.1:{servers.free_port()}", timeout=10)

    async def test() -> None:
        with pytest.raises(StoreUnavailable, match="connecting to"):
            await store.renew([LEASE])

    run(store, test())


def test_a_connection_that_is_lost(fake: RedisStore) -> None:
    """Who was on the wire when it broke is told why, who was still waiting is asked for on the next connection."""

    async def test() -> None:
        wire = await connected(fake)
        renewal, sent = asyncio.create_task(fake.renew([LEASE])), ask(fake, *WARM)
        await turns()
        waiting = ask(fake, concurrency(1))
        await turns()
        wire.lose("it broke")
        for call in (renewal, sent):
            with pytest.raises(StoreUnavailable, match="it broke"):
                await call
        assert wire.aborted
        await turns()
        (again,) = FakeWire.made[1:]
        assert again.keys == [["concurrency"]]
        again.reply([T, 1, 1])
        assert len((await waiting).leases) == 1

    run(fake, test())


@pytest.mark.parametrize("reply", [7, [], [1, 1]])
def test_a_renewal_with_garbage_for_a_reply(fake: RedisStore, reply: object) -> None:
    """What is no reply to the script is said to be none."""

    async def test() -> None:
        wire = await connected(fake)
        renewal = asyncio.create_task(fake.renew([LEASE]))
        await turns()
        wire.reply(reply)
        with pytest.raises(StoreUnavailable, match="no reply to the script that renews"):
            await renewal

    run(fake, test())


def test_a_release_that_was_lost_on_its_way(fake: RedisStore) -> None:
    """A release that no server has confirmed when its connection breaks goes first over the next one; one that was
    refused for good does not come again."""

    async def test() -> None:
        wire = await connected(fake)
        await fake.release([LEASE])
        await fake.release([LEASE._replace(id="1/60000")])
        wire.reply(error_of("ERR refused"))
        wire.lose("it broke")
        await turns(8)
        again = FakeWire.made[-1]
        assert again is not wire
        assert again.written == [[b"ZREM", b"ratelimit:{user=ana}:c", b"1/60000"]]

    run(fake, test())


def test_a_release_that_is_refused_for_now(fake: RedisStore) -> None:
    """A release that a server was too busy for, or had no disk for, is sent again half a second later, or over the next
    connection."""

    async def test() -> None:
        wire = await connected(fake)
        for number in range(3):
            await fake.release([LEASE._replace(id=f"{number}/60000")])
        for word in ("BUSY", "MISCONF"):
            wire.reply(error_of(f"{word} for now"))
        wire.reply(1)
        wire.written.clear()
        await turns()
        assert wire.written == []
        await asyncio.sleep(lease_writes.RETRY)
        assert [call[-1] for call in wire.written] == [b"0/60000", b"1/60000"]
        wire.reply(1)
        wire.reply(error_of("LOADING for now"))
        wire.lose("gone")
        await turns(8)
        again = FakeWire.made[-1]
        assert again is not wire
        assert [call[-1] for call in again.written] == [b"1/60000"]
        again.reply(1)
        await asyncio.sleep(60)
        assert len(again.written) == 1
        assert len(wire.written) == 2

    run(fake, test(), Clocked)


def test_a_connection_that_is_lost_while_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited because a server did not read is asked for on the next connection, not on the one that has ended."""
    transports: list[FakeTransport] = []

    async def connect(_: object, on_reply: Any, on_lost: Any, __: object) -> Socket:
        transports.append(FakeTransport(full=not transports))
        return Socket(transports[-1], on_reply, on_lost)

    monkeypatch.setattr(link_module, "connect", connect)
    store = RedisStore("redis://nowhere", timeout=10)

    async def test() -> None:
        link = queue_of(store).link
        link.submit(command("ECHO", "much")).add_done_callback(asyncio.Future.exception)
        await turns()
        decision = ask(store, *WARM)
        await turns()
        link.breaker.well()  # it has decided for somebody before
        transports[0].protocol.connection_lost(None)
        await turns(8)
        first, second = transports
        assert [call[0] for call in first.written] == [b"ECHO"]
        assert [call[0] for call in second.written] == [b"EVALSHA"]
        second.protocol.data_received(b"*3\r\n:%d\r\n:1\r\n:4\r\n" % T)
        assert (await decision).states[0].used == 4

    run(store, test())


def generic(server: FakeServer) -> ConnectionPool:
    return FakeAsyncRedis(server=server).connection_pool


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (NoScriptError("No matching script."), NoScript("NoScriptError: No matching script.")),
        (ReadOnlyError("You can't write."), NotMaster(f"READONLY You can't write. ({ADVICE['READONLY']})")),
        (ResponseError("no such command"), Replied("ResponseError: no such command")),
    ],
)
def test_an_error_on_the_path_of_redis_py(raised: ResponseError, said: StoreUnavailable) -> None:
    """Where redis-py itself sends and reads, an error that the server replies is a reply like any other."""
    replies: asyncio.Queue[object] = asyncio.Queue()

    async def test() -> None:
        pool = generic(FakeServer())
        wire: Transport = await connect(pool, replies.put_nowait, lambda _: None, OF_A_MASTER)
        connection = wire._connection
        read = connection.read_response

        async def broken(**_: object) -> None:
            connection.read_response = read
            await read(disable_decoding=True)
            raise raised

        connection.read_response = broken
        wire.write(command("PING"))
        wire.write(command("ECHO", "next"))
        first = await replies.get()
        assert (type(first), str(first)) == (type(said), str(said))
        assert await replies.get() == b"next"
        wire.abort()
        await turns()

    asyncio.run(test())


def test_the_end_of_a_connection_on_the_path_of_redis_py() -> None:
    """Where redis-py itself sends and reads, the end of the connection is told once, with its reason."""
    lost: list[str] = []

    async def test() -> None:
        server = FakeServer()
        for what in ("it breaks", "it is dropped"):
            wire = await connect(generic(server), lambda _: None, lost.append, OF_A_MASTER)
            if what == "it breaks":
                wire._connection.send_packed_command = broken
                wire.write(command("PING"))
            else:
                await turns()
                wire.abort()
            await turns()

    async def broken(*_: object, **__: object) -> None:
        raise RedisConnectionError("it broke")

    asyncio.run(test())
    assert lost == ["ConnectionError: it broke", "the connection was closed"]
