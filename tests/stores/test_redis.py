"""What only the store on Redis promises: one command a decision, keys that expire, a wait that is bounded."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from signal import SIGCONT, SIGSTOP

import pytest
import uvloop
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from ratelimit.model import Decision, Lease, StoreUnavailable
from ratelimit.stores.batching import queue as queue_module
from ratelimit.stores.connection import breaker as breaker_module
from ratelimit.stores.connection import link as link_module
from ratelimit.stores.connection.socket import command
from ratelimit.stores.counting import allowed
from ratelimit.stores.counting.terms import terms_at
from ratelimit.stores.redis import RedisStore
from ratelimit.stores.routing import lease_writes as lease_writes_module
from tests import servers
from tests.clocked import Clocked
from tests.stores import Subject, concurrency, in_three_threads, queue_of, quota, rate, side_of

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
MIDNIGHT = 1_772_409_600_000  # 2026-03-02T00:00:00Z


@pytest.fixture
def subject(server: servers.Server) -> Subject:
    return Subject(server.name, server.unix_url)


def keys_of(client: Redis, subject: Subject) -> dict[bytes, bytes]:
    """Every key of the subject with its value, byte for byte."""
    return {key: client.dump(key) for key in client.scan_iter(f"{subject.prefix}:*")}


def test_one_command_a_decision(server: servers.Server, subject: Subject) -> None:
    """Allowed or denied, over one limit or five, a decision is one EVALSHA and nothing else."""
    limits = [rate(2, 60_000), rate(9, 1_000, key="b"), quota(100), quota(5, "day", key="d"), concurrency(3)]

    async def test() -> None:
        await subject.store.acquire([rate(1, 60_000, key="warm")])
        with servers.Monitor(server) as monitor:
            decisions = [await subject.store.acquire(limits) for _ in range(4)]
        assert [d.allowed for d in decisions] == [True, True, False, False]
        assert [command.split()[0] for command in monitor.commands] == ["EVALSHA"] * 4

    subject.run(test())


def test_a_denied_request_writes_nothing(server: servers.Server, subject: Subject) -> None:
    """A denial leaves every key as it was, byte for byte, and makes none."""
    full = [rate(2, 60_000), quota(2, key="q"), concurrency(2)]
    free = [rate(9, 1_000, key="b"), quota(9, "day", key="d"), rate(9, 60_000, mode="shadow", key="s")]

    async def test() -> None:
        for _ in range(2):
            assert (await subject.at(T).acquire(*full, *free)).allowed
        subject.at(T + 30_500)
        with server.client() as client:
            before = keys_of(client, subject)
            assert len(before) == 6
            for limits in ([*full, *free], full[:1], full[1:2], full[2:], [*free, rate(0, 60_000, key="new"), full[0]]):
                assert not (await subject.acquire(*limits)).allowed
            assert keys_of(client, subject) == before

    subject.run(test())


def test_every_key_expires(server: servers.Server, subject: Subject) -> None:
    """Each key has an expiry that is not before it stops to matter, and at most some seconds after."""
    limits = [
        rate(9, 60_000, key="r"),
        rate(9, 1_000, key="s"),
        quota(9, "day", key="q"),
        concurrency(9, 7_000, key="c"),
    ]

    async def test() -> None:
        first = await subject.store.acquire(limits)
        await subject.store.acquire(limits)
        await subject.store.renew(first.leases)
        with server.client() as client:
            left = {
                key.decode().rpartition(":")[2]: client.pttl(key) for key in client.scan_iter(f"{subject.prefix}:*")
            }
        day = first.states[2].reset_after_ms
        assert set(left) == {"r", "s", "q", "c"}
        assert 55_000 < left["r"] <= 62_000
        assert 0 < left["s"] <= 2_100
        assert day - 5_000 < left["q"] <= day + 1_000
        assert 2_000 < left["c"] <= 8_000

    subject.run(test())


def test_repaired_keys_expire(server: servers.Server, subject: Subject) -> None:
    """A counter that was repaired after the clock had been far ahead lives as long as it matters, and not for ever."""
    ahead = 400 * 86_400_000
    limits = [rate(2, 60_000, key="r"), quota(2, "day", key="q"), concurrency(1, 60_000, key="c")]

    async def test() -> None:
        await subject.at(T + ahead).acquire(*limits)
        with server.client() as client:
            for key in client.scan_iter(f"{subject.prefix}:*"):
                client.pexpire(key, 5_000)  # as if it had been about to go
            await subject.at(T).acquire(*limits)  # the cap is full: a denial, which only repairs
            left = {
                key.decode().rpartition(":")[2]: client.pttl(key) for key in client.scan_iter(f"{subject.prefix}:*")
            }
        day = 14 * 3_600_000  # from 10:00 on
        assert 55_000 < left["r"] <= 62_000
        assert day - 5_000 < left["q"] <= day + 1_000
        assert 55_000 < left["c"] <= 61_000

    subject.run(test())


def test_a_longer_lease_is_not_cut_by_a_shorter_one(server: servers.Server, subject: Subject) -> None:
    """A key lives as long as the longest lease in it, also after the lease was edited."""

    async def test() -> None:
        await subject.store.acquire([concurrency(9, 60_000)])
        await subject.store.acquire([concurrency(9, 1_000)])
        with server.client() as client:
            assert client.pttl(f"{subject.prefix}:{{user=ana}}:concurrency") > 50_000

    subject.run(test())


def test_the_script_cache_may_vanish(server: servers.Server, subject: Subject) -> None:
    """SCRIPT FLUSH between two decisions costs a command and nothing else."""

    async def test() -> None:
        used = []
        with server.client() as client:
            for _ in range(3):
                client.script_flush()
                decision = await subject.store.acquire([rate(9, 60_000), concurrency(9)])
                used.append(decision.states[0].used)
                client.script_flush()
                assert await subject.store.renew(decision.leases) == []
        assert used == [1, 2, 3]

    subject.run(test())


@pytest.mark.parametrize("wrong_by_ms", [-3_600_000, 3_600_000])
def test_a_wrong_clock_decides_the_same(
    server: servers.Server, subject: Subject, wrong_by_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance whose clock is an hour wrong counts in the period of the store's clock; asked twice at first."""

    def by(instance_ms: int) -> None:
        monkeypatch.setattr(queue_module.time, "time_ns", lambda: instance_ms * 1_000_000)

    async def test() -> None:
        start = MIDNIGHT - 600_000 if wrong_by_ms > 0 else MIDNIGHT + 600_000
        by(start + wrong_by_ms)
        await queue_of(subject.store).link.call(command("PING"))
        with servers.Monitor(server) as monitor:
            seen = [await subject.at(start).acquire(quota(3, "day")) for _ in range(4)]
        assert [d.allowed for d in seen] == [True, True, True, False]
        day_ends = MIDNIGHT if wrong_by_ms > 0 else MIDNIGHT + 86_400_000
        assert {d.states[0].reset_after_ms for d in seen} == {day_ends - start}
        assert {d.now_ms for d in seen} == {start}
        # The replaced script is not in the cache at first: EVALSHA, EVAL, and once more for the right day.
        assert [c.split()[0] for c in monitor.commands] == ["EVALSHA", "EVAL"] + ["EVALSHA"] * 4

    subject.run(test())


def test_a_clock_that_never_agrees(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store whose clock is elsewhere at each call is given up, not asked for ever."""
    monkeypatch.setattr(allowed, "terms_at", lambda charge, _: terms_at(charge, T))

    async def test() -> None:
        with pytest.raises(StoreUnavailable, match="clock of the store"):
            await subject.at(MIDNIGHT).acquire(quota(3, "day"))

    subject.run(test())


def test_all_keys_of_a_request_are_in_one_slot(server: servers.Server, subject: Subject) -> None:
    """The hash tag is around the root: on a cluster one script can decide over all limits of a caller."""

    async def test() -> None:
        await subject.store.acquire([rate(1, 60_000, key="a"), quota(1, key="b"), concurrency(1, key="c")])
        with server.client() as client:
            slots = {key.partition(b"{")[2].partition(b"}")[0] for key in client.scan_iter(f"{subject.prefix}:*")}
        assert slots == {b"user=ana"}

    subject.run(test())


def test_nobody_there() -> None:
    """A server that is not there is StoreUnavailable with the reason, never another error."""

    async def test() -> None:
        store = RedisStore(f"redis://127.0.0.1:{servers.free_port()}")
        with pytest.raises(StoreUnavailable, match="connecting to"):
            await store.acquire([rate(1, 60_000)])
        await store.close()

    asyncio.run(test())


def test_a_server_that_stops_answering(own_server: servers.Server) -> None:
    """A server that hangs is given up after the timeout, and found again when it goes on."""

    async def test() -> None:
        store = RedisStore(own_server.url, timeout=0.1)
        decision = await store.acquire([concurrency(9)])
        own_server.process.send_signal(SIGSTOP)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="no reply within 100 ms"):
                await store.acquire([rate(9, 60_000)])
        with pytest.raises(StoreUnavailable):
            await store.acquire([concurrency(9, key="late")])
        own_server.process.send_signal(SIGCONT)
        patient = RedisStore(own_server.url, timeout=10)
        await patient.acquire([rate(9, 60_000)])
        recovered = await eventually(store)
        assert recovered.allowed
        with own_server.client() as client:  # what timed out was applied later, and its slot given back behind it
            assert client.zcard("ratelimit:{user=ana}:late") == 0
        await store.release(decision.leases)
        await store.close()
        await patient.close()

    asyncio.run(test())


async def eventually(store: RedisStore) -> Decision:
    """The first decision of a store that comes back."""
    async with asyncio.timeout(20):
        while True:
            with suppress(StoreUnavailable):
                return await store.acquire([rate(999, 60_000)])
            await asyncio.sleep(0.001)


def test_a_server_that_was_restarted_empty(own_server: servers.Server) -> None:
    """A server that comes back with nothing in it, not even the scripts, is used at once."""

    async def test() -> None:
        store = RedisStore(own_server.url)
        assert (await store.acquire([rate(1, 60_000)])).allowed
        own_server.process.kill()
        own_server.process.wait()
        with pytest.raises(StoreUnavailable):
            await store.acquire([rate(1, 60_000)])
        with servers.run(own_server.name, port=own_server.port):
            assert (await eventually(store)).allowed
        await store.close()

    asyncio.run(test())


def test_connections_that_the_server_closed(server: servers.Server, subject: Subject) -> None:
    """A connection that was closed while idle costs no request."""

    async def test() -> None:
        await subject.store.acquire([rate(9, 60_000)])
        with server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.01)  # until the closed socket is seen
        assert (await subject.store.acquire([rate(9, 60_000)])).states[0].used == 2

    subject.run(test())


def test_a_master_that_was_demoted(own_server: servers.Server) -> None:
    """READONLY is StoreUnavailable, and the connection is dropped: the next one may lead to the new master."""

    async def test() -> None:
        store = RedisStore(own_server.url, timeout=5)
        await store.acquire([rate(9, 60_000)])
        with own_server.client() as client:
            client.replicaof("127.0.0.1", servers.free_port())
            before = client.info("stats")["total_connections_received"]
            with pytest.raises(StoreUnavailable, match="READONLY"):
                await store.acquire([rate(9, 60_000)])
            client.replicaof("NO", "ONE")
            assert (await eventually(store)).allowed
            assert client.info("stats")["total_connections_received"] > before
        await store.close()

    asyncio.run(test())


def test_a_key_of_another_type(server: servers.Server, subject: Subject) -> None:
    """What somebody else wrote under our key is StoreUnavailable for that caller, and no other is disturbed."""

    async def test() -> None:
        with server.client() as client:
            client.set(f"{subject.prefix}:{{user=ana}}:wrong", "x", ex=60)
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            await subject.store.acquire([rate(9, 60_000), quota(9, key="wrong")])
        assert (await subject.store.acquire([rate(9, 60_000)])).states[0].used == 1

    subject.run(test())


def test_a_reply_beats_the_timer(own_server: servers.Server) -> None:
    """A process that was too busy to look finds the reply that has arrived, however late it looks."""

    async def test() -> None:
        store = RedisStore(own_server.unix_url, timeout=0.05)
        await eventually(store)
        own_server.process.send_signal(SIGSTOP)
        call = asyncio.create_task(store.acquire([rate(9, 60_000, key="late")]))
        for _ in range(4):
            await asyncio.sleep(0)  # until the command is on the wire
        own_server.process.send_signal(SIGCONT)
        time.sleep(0.3)  # noqa: ASYNC251 - the app blocks its event loop, and the reply arrives
        assert (await call).states[0].used == 1
        await store.close()

    asyncio.run(test())


@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("loop_factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_a_loop_that_was_blocked_is_no_failure_of_the_store(server: servers.Server, turns: int, loop_factory) -> None:
    """Also where the app blocked the loop before the command was even sent, the decision is waited for."""

    async def test() -> None:
        store = RedisStore(server.unix_url, prefix=f"blocked-{turns}-{loop_factory.__name__}", timeout=0.2)
        await eventually(store)
        for used in (1, 2):
            call = asyncio.create_task(store.acquire([rate(9, 60_000, key="late")]))
            for _ in range(turns):
                await asyncio.sleep(0)
            time.sleep(0.45)  # noqa: ASYNC251 - the app blocks its event loop
            assert (await call).states[0].used == used
        await store.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(test())


def test_the_grace_for_a_blocked_loop_is_bounded() -> None:
    """However long the loop was blocked, a server that says nothing is waited for at most a timeout more, once."""

    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)
            call = asyncio.create_task(store.acquire([rate(9, 60_000)]))
            await asyncio.sleep(0)
            loop.jumped += 5  # the app blocks its event loop
            blocked_until = loop.time()
            with pytest.raises(StoreUnavailable):
                await call
            assert 0.09 < loop.time() - blocked_until < 1.1  # 0.1, and what a slow machine takes by itself
            await store.close()

    loop = Clocked()
    loop.run_until_complete(test())
    loop.close()


def test_a_hiccup_of_the_server_fails_only_who_waited_too_long(own_server: servers.Server) -> None:
    """One reply that is late is one caller's: the connection stays, and who came later gets an answer."""

    async def test() -> None:
        store = RedisStore(own_server.unix_url, timeout=1.0)
        await eventually(store)
        own_server.process.send_signal(SIGSTOP)
        early = asyncio.create_task(store.acquire([rate(9, 60_000, key="x")]))
        await asyncio.wait([early], timeout=0.8)
        later = asyncio.create_task(store.acquire([rate(9, 60_000, key="x")]))
        with pytest.raises(StoreUnavailable, match="no reply within 1000 ms"):
            await early
        own_server.process.send_signal(SIGCONT)
        assert (await later).states[0].used == 2  # the first was applied as well
        with own_server.client() as client:
            assert client.info("clients")["connected_clients"] == 2
        await store.close()

    asyncio.run(test())


def test_a_connection_that_stays_silent_is_given_up(
    own_server: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After long silence the connection is dropped; what was not sent yet goes over a new one."""
    monkeypatch.setattr(breaker_module, "STALL", 0.1)

    async def test() -> None:
        store = RedisStore(own_server.unix_url, timeout=0.02)
        await eventually(store)
        link = queue_of(store).link
        with own_server.client() as client:
            own_server.process.send_signal(SIGSTOP)
            filler = link.submit(command("ECHO", b"x" * 50_000_000))  # the socket is full: what follows stays in line
            filler.add_done_callback(asyncio.Future.exception)
            await asyncio.sleep(0)
            waiting = link.submit(command("SET", "not sent yet", "1", "PX", 60_000))
            while link._wire:
                with pytest.raises(StoreUnavailable):
                    await store.acquire([rate(9, 60_000, key="x")])
                await asyncio.sleep(0.001)
            own_server.process.send_signal(SIGCONT)
            assert (await eventually(store)).allowed
            await waiting
            assert client.get("not sent yet") == b"1"
        await store.close()

    asyncio.run(test())


def test_slots_are_given_back_when_the_server_is_back(own_server: servers.Server) -> None:
    """What is released while nobody is there is released with the next connection."""

    async def test() -> None:
        store = RedisStore(own_server.url, timeout=5)
        held = (await store.acquire([concurrency(1)])).leases
        with own_server.client() as client:
            client.config_set("appendonly", "no")
            saved = client.dump("ratelimit:{user=ana}:concurrency")
        own_server.process.kill()
        own_server.process.wait()
        with pytest.raises(StoreUnavailable):
            await store.acquire([rate(9, 60_000)])
        await store.release(held)
        with servers.run(own_server.name, port=own_server.port) as again, again.client() as client:
            client.restore("ratelimit:{user=ana}:concurrency", 60_000, saved)
            assert (await store.acquire([concurrency(1)])).allowed
            await store.close()

    asyncio.run(test())


def test_a_renewal_of_what_is_no_counter(server: servers.Server, subject: Subject) -> None:
    """A key of another type under our name is one lease's trouble: the others are renewed, and that one is told."""

    async def test() -> None:
        held = [(await subject.store.acquire([concurrency(2, 5_000, key=key)])).leases[0] for key in "abc"]
        with server.client() as client:
            keys = [f"{subject.prefix}:{lease.key}" for lease in held]
            client.set(keys[1], "somebody else's", px=60_000)
            for key in (keys[0], keys[2]):
                client.zadd(key, dict.fromkeys(client.zrange(key, 0, -1), 1))
            assert await subject.store.renew(held) == [held[1]]
            for key in (keys[0], keys[2]):
                ((_, expiry),) = client.zrange(key, 0, -1, withscores=True)
                assert expiry > 1_000_000

    subject.run(test())


def test_what_waits_for_a_connection_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody is there, no more than the newest releases are kept, and none longer than a lease."""
    monkeypatch.setattr(lease_writes_module, "POSTS", 3)
    monkeypatch.setattr(lease_writes_module, "RETRY", 0.01)

    async def test() -> None:
        store = RedisStore(f"redis://127.0.0.1:{servers.free_port()}")
        leases = side_of(store).leases
        for number in range(10):
            await store.release([Lease("key", f"id{number}", 60_000)])
        with pytest.raises(StoreUnavailable):
            await store.acquire([rate(9, 60_000)])
        told = [command("ZREM", "ratelimit:key", f"id{number}") for number in (7, 8, 9)]
        assert [what.command for what in leases._waiting] == told
        leases._waiting = deque([what._replace(until=0.0) for what in leases._waiting])
        await until(lambda: not leases.waits())
        await store.close()

    asyncio.run(test())


def test_who_gave_up_before_it_was_sent_is_not_charged(own_server: servers.Server) -> None:
    """What nobody waits for any more when there is a connection at last is not sent."""

    async def test() -> None:
        await eventually(loaded := RedisStore(own_server.unix_url))  # the script is in the cache
        await loaded.close()
        store = RedisStore(own_server.unix_url, timeout=0.05)
        own_server.process.send_signal(SIGSTOP)  # it takes connections, and greets nobody
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"no (reply|connection) within 50 ms"):
                await store.acquire([rate(9, 60_000, key="x")])
        own_server.process.send_signal(SIGCONT)
        await eventually(store)
        assert (await store.acquire([rate(9, 60_000, key="x")])).states[0].used == 1
        await store.close()

    asyncio.run(test())


def test_close_gives_back_what_is_in_line(server: servers.Server, subject: Subject) -> None:
    """A release just before the end goes out, on a connection that is there or on one that is still being made."""
    key = f"{subject.prefix}:{{user=ana}}:concurrency"

    async def test() -> None:
        with server.client() as client:
            for connected in (True, False):
                held = (await subject.store.acquire([concurrency(9)])).leases
                if not connected:
                    client.client_kill_filter(_type="normal", skipme=True)
                    await until(lambda: not queue_of(subject.store).link._wire)
                side_of(subject.store).leases.post_release(held)
                await subject.store.close()
                await until(lambda: client.zcard(key) == 0)  # nobody waits for the reply: it was sent

    subject.run(test())


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something is so; fails when it is not within 10 s."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.001)


def test_a_connection_is_tried_once() -> None:
    """A server that hangs up at once costs one connection a call: redis-py's own ten retries are off."""

    async def test() -> None:
        seen = 0

        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            seen += 1
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        client = AsyncRedis(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        store = RedisStore(client, timeout=20)
        with pytest.raises(StoreUnavailable):
            await store.acquire([rate(9, 60_000)])
        assert seen == 1
        await store.close()
        await client.aclose()
        server.close()

    asyncio.run(test())


def test_a_connection_is_no_part_of_a_request(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task of a connection has none of the context variables (a trace, a request id) of the first request."""
    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen = []
    connect = link_module.connect
    monkeypatch.setattr(link_module, "connect", lambda *rest: seen.append(variable.get()) or connect(*rest))

    async def test() -> None:
        variable.set("the first request")
        await subject.store.acquire([rate(9, 60_000)])

    subject.run(test())
    assert seen == ["none"]


def test_a_release_without_a_connection_waits_for_nothing() -> None:
    """Giving a slot back while the server does not even greet returns at once."""

    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=600)
            async with asyncio.timeout(60):
                await store.release((await Subject("memory").at(T).acquire(concurrency(1))).leases)
                await store.close()

    asyncio.run(test())


def test_a_release_that_cannot_be_sent(own_server: servers.Server) -> None:
    """A release that a server does not take from the wire ends after the timeout."""

    async def test() -> None:
        store = RedisStore(own_server.unix_url, timeout=0.2)
        held = (await store.acquire([concurrency(1)])).leases
        own_server.process.send_signal(SIGSTOP)
        much = queue_of(store).link.submit(command("ECHO", b"x" * 5_000_000))  # more than the socket's buffers take
        much.add_done_callback(asyncio.Future.exception)
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="no reply within 200 ms"):
            await store.release(held)
        own_server.process.send_signal(SIGCONT)
        await eventually(store)
        await store.close()

    asyncio.run(test())


def test_a_cancelled_request_gives_its_slot_back(subject: Subject) -> None:
    """Who is cancelled before, while or after the decision is made leaves no slot behind."""

    async def test() -> None:
        await subject.store.acquire([rate(9, 60_000)])
        for turns in range(8):
            call = asyncio.create_task(subject.store.acquire([concurrency(1)]))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            with suppress(asyncio.CancelledError):  # it may have been quicker
                await subject.store.release((await call).leases)
            after = await subject.store.acquire([concurrency(1)])
            assert after.allowed, turns
            await subject.store.release(after.leases)

    subject.run(test())


def test_many_at_once(subject: Subject) -> None:
    """Of a thousand concurrent requests exactly as many as the limit says are admitted."""

    async def test() -> None:
        seen = await asyncio.gather(*(subject.store.acquire([rate(300, 60_000), quota(500)]) for _ in range(1_000)))
        assert sum(d.allowed for d in seen) == 300

    subject.run(test())


def test_several_event_loops(subject: Subject) -> None:
    """One store serves several loops in several threads, each with a connection of its own."""

    async def test() -> list[bool]:
        seen = [(await subject.store.acquire([rate(150, 60_000)])).allowed for _ in range(100)]
        await subject.store.close()
        return seen

    allowed = in_three_threads(test)
    assert (len(allowed), sum(allowed)) == (300, 150)


def test_a_closed_store_opens_again(subject: Subject) -> None:
    """close() drops the connection, twice is fine, and the next request connects."""

    async def test() -> None:
        await subject.store.close()
        assert (await subject.store.acquire([rate(9, 60_000)])).allowed
        await subject.store.close()
        await subject.store.close()
        assert (await subject.store.acquire([rate(9, 60_000)])).states[0].used == 2

    subject.run(test())


def test_a_loop_that_ends_without_close(server: servers.Server) -> None:
    """A loop that just ends, as under a test client, leaves no pending task and no connection."""

    async def test() -> None:
        await store.acquire([rate(9, 60_000)])

    store = RedisStore(server.unix_url, prefix="ends", timeout=10)
    for _ in range(3):
        asyncio.run(test())
    assert len(store._sides) == 1  # of a loop that has ended no more is kept than the last
    assert queue_of(store).link._task is None
