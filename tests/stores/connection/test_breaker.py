"""What an outage costs a request: the timeout until the store is found down, then nothing until it is found back."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from itertools import pairwise
from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest

from ratelimit.model import Lease, StoreUnavailable
from ratelimit.stores.connection import breaker as breaker_module
from ratelimit.stores.connection import link as link_module
from ratelimit.stores.connection.breaker import (
    FIRST_WAIT,
    JITTER,
    LONGEST_WAIT,
    PATIENCE,
    STALL,
    Breaker,
    Proof,
    Proving,
    Trial,
)
from ratelimit.stores.connection.socket import command
from ratelimit.stores.redis import RedisStore
from tests import servers
from tests.clocked import Clocked
from tests.stores import concurrency, queue_of, rate
from tests.stores.test_redis import eventually, until
from tests.stores.wires import WARM, FakeTransport, FakeWire, T, ask, connected, fake_store, read, turns

LEASE = Lease("{user=ana}:c", "0/60000", 60_000)
TIMEOUT = 0.1
SLOW = 1.0  # what a busy machine may take by itself


def run(store: RedisStore, test: Coroutine[Any, Any, None], loop: Any = None) -> None:
    """Run a test and close the store; no task is left behind."""

    async def main() -> None:
        try:
            await test
        finally:
            await store.close()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    return fake_store(monkeypatch, TIMEOUT)


async def refused(store: RedisStore, why: str) -> None:
    """A request is refused before anything else has happened."""
    call = store.acquire(WARM)
    with pytest.raises(StoreUnavailable, match=why):
        call.send(None)  # a coroutine that would wait returns here


async def failing(store: RedisStore) -> str:
    with pytest.raises(StoreUnavailable) as raised:
        await store.acquire(WARM)
    return str(raised.value)


@contextmanager
def blackhole() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


class Away:
    """In the place of connect(): nobody is there, until somebody is. `at` is when it was tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connect, self.at, self.back = link_module.connect, list[float](), False
        monkeypatch.setattr(link_module, "connect", self)

    async def __call__(self, *arguments: Any) -> Any:
        self.at.append(asyncio.get_running_loop().time())
        if self.back:
            return await self.connect(*arguments)
        raise OSError("nobody is there")


def test_silence_is_told_once() -> None:
    """However many wait in vain, a store that says nothing is news once, until it has said something; one that is known
    to be out of reach keeps the reason that was told first."""
    now = [0.0]
    breaker = Breaker(TIMEOUT, lambda: now[0])
    assert not breaker.stalled(0.5 * TIMEOUT)
    assert breaker.stalled(TIMEOUT)
    told = breaker.down
    assert told == "no reply within 100 ms, and none since"
    for _ in range(3):
        now[0] += TIMEOUT
        assert not breaker.stalled(2 * TIMEOUT)
        assert breaker.down == told
    breaker.connected()
    assert breaker.down is None
    assert breaker.stalled(TIMEOUT)
    breaker.connected()
    breaker.unreachable("nobody is there")
    assert not breaker.stalled(TIMEOUT)
    assert breaker.down == "nobody is there"


@pytest.mark.parametrize(("replies", "lost", "why"), [(2, None, "nobody asked for"), (0, "reset", "^reset$")])
def test_a_server_that_is_tried(replies: int, lost: str | None, why: str) -> None:
    """One that says more than it was asked for, or that hangs up, is of no use."""

    async def test() -> None:
        proving = Proving(Proof((Trial(lambda: command("PING"), lambda _: None),)))
        for _ in range(replies):
            proving.heard(b"PONG")
        if lost:
            proving.lost(lost)
        with pytest.raises(StoreUnavailable, match=why):
            await proving.proved(FakeTransport())  # type: ignore[arg-type]

    asyncio.run(test())


def test_after_a_failed_attempt_nobody_waits(fake: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first attempt that failed on, requests and renewals are refused at once, with its reason."""
    Away(monkeypatch)

    async def test() -> None:
        assert await failing(fake) == "OSError: nobody is there"
        for _ in range(3):
            await refused(fake, "nobody is there")
            begun = asyncio.get_running_loop().time()
            with pytest.raises(StoreUnavailable, match="nobody is there"):
                await fake.renew([LEASE])
            assert asyncio.get_running_loop().time() - begun < 0.01
            await asyncio.sleep(0.3)
        await fake.release([LEASE])  # waits for nothing

    run(fake, test(), Clocked)


def test_attempts_go_on_one_at_a_time(fake: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried after 50 ms, 100 ms and so on up to 500 ms, or up to a fifth later, whether anybody asks or not, and
    then found at once."""
    away = Away(monkeypatch)

    async def test() -> None:
        await failing(fake)
        await asyncio.sleep(3)
        waits = [b - a for a, b in pairwise(away.at)]
        expected = [0.05, 0.1, 0.2, 0.4, 0.5, 0.5, 0.5, 0.5]
        assert all(
            least - 0.001 <= wait <= JITTER * least + 0.001 for wait, least in zip(waits, expected, strict=False)
        )
        assert len(waits) > 6
        assert len({round(wait, 4) for wait in waits[4:]}) > 1
        assert (FIRST_WAIT, LONGEST_WAIT, JITTER) == (0.05, 0.5, 1.2)
        away.back = True
        await asyncio.sleep(JITTER * LONGEST_WAIT)
        call = ask(fake, *WARM)
        await turns()
        FakeWire.made[-1].reply([T, 1, 1])
        assert (await call).allowed
        tried = len(away.at)
        away.back = False
        FakeWire.made[-1].lose("gone")
        await asyncio.sleep(3)
        assert len(away.at) == tried  # it was well when it was lost, and nobody asks
        await failing(fake)
        await asyncio.sleep(0.07)
        assert len(away.at) == tried + 2  # and 50 ms again

    run(fake, test(), Clocked)


def test_attempts_end_with_the_store(fake: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is closed while it looks for its server stops; one that is used again begins anew."""
    away = Away(monkeypatch)

    async def test() -> None:
        await failing(fake)
        await fake.release([LEASE])
        begun = asyncio.get_running_loop().time()
        await fake.close()
        assert asyncio.get_running_loop().time() - begun < TIMEOUT  # there is nobody to have it
        await asyncio.sleep(5)
        assert len(away.at) == 1
        await failing(fake)
        assert len(away.at) == 2

    run(fake, test(), Clocked)


def test_a_connection_that_was_lost_is_waited_for(fake: RedisStore) -> None:
    """Where a connection that was well is lost, requests wait for the next one: only a failed attempt speaks against
    the store."""

    async def test() -> None:
        wire = await connected(fake)
        wire.lose("gone")
        call = ask(fake, *WARM)
        await turns(8)
        FakeWire.made[-1].reply([T, 1, 2])
        assert (await call).states[0].used == 2

    run(fake, test(), Clocked)


def test_an_attempt_that_hangs_is_cut_short(fake: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt is given 0.8 s, or eight timeouts, and the next one begins at once; when a request has waited its
    timeout for the first, the others do not wait."""
    at: list[float] = []

    async def hang(*_: object) -> None:
        at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(3_600)

    monkeypatch.setattr(link_module, "connect", hang)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        assert await failing(fake) == "no reply within 100 ms"
        assert loop.time() - begun < TIMEOUT + 0.01
        await refused(fake, "no connection within 100 ms")
        await asyncio.sleep(PATIENCE - (loop.time() - begun) + 0.01)
        await refused(fake, "no connection within 0.8 s")
        await asyncio.sleep(3)
        assert [round(b - a, 2) for a, b in pairwise(at)] == [0.8] * 4

    run(fake, test(), Clocked)
    assert Breaker(0.1).patience == PATIENCE == 0.8
    assert Breaker(0.5).patience == 4.0


def test_a_store_that_stalls(fake: RedisStore) -> None:
    """Where nothing has come for a timeout and somebody has waited for that long, the next are refused at once. With a
    reply that is late it is asked again, and with one in time it is up in that very moment."""

    async def test() -> None:
        wire = await connected(fake)
        assert await failing(fake) == "no reply within 100 ms"
        for _ in range(3):
            await refused(fake, "no reply within 100 ms, and none since")
            await asyncio.sleep(0.2)
        link = queue_of(fake).link
        wire.written.clear()
        wire.reply([T, 1, 1])
        await refused(fake, "no reply within 100 ms, but later")
        await turns()
        assert wire.written == read(fake.scripts.for_nobody())
        wire.reply([T])
        assert not link.breaker.down
        call = ask(fake, *WARM)
        await turns()
        wire.reply([T, 1, 2])
        assert (await call).states[0].used == 2
        await asyncio.sleep(5)
        assert not wire.aborted

    run(fake, test(), Clocked)


def test_a_store_that_is_late_each_time(fake: RedisStore) -> None:
    """A store that answers, but never in time, is asked as often as a connection would be tried, and nobody waits for
    it; what is no decision, or silence, ends the connection."""

    async def test() -> None:
        wire = await connected(fake)
        await failing(fake)
        wire.written.clear()
        wire.reply([T, 1, 1])
        asked = []
        for _ in range(7):
            await until(lambda: bool(wire.written))
            asked.append(asyncio.get_running_loop().time())
            wire.written.clear()
            await asyncio.sleep(TIMEOUT + 0.01)
            wire.reply([T])
            await refused(fake, "no reply within 100 ms, but later")
        assert all(b - a > LONGEST_WAIT - 0.01 for a, b in pairwise(asked[4:]))
        fake_link = queue_of(fake).link
        await fake.release([LEASE])  # in the middle of it: its reply tells as well
        wire.reply(1)
        assert not fake_link.breaker.down
        await asyncio.sleep(2 * LONGEST_WAIT)
        await failing(fake)
        wire.reply([T, 1, 1])
        await turns()
        wire.reply([])
        await turns(8)
        assert wire.aborted
        other = FakeWire.made[-1]
        assert other is not wire
        await failing(fake)
        other.reply([T, 1, 1])
        await asyncio.sleep(STALL + 2 * TIMEOUT)  # it says no more
        assert other.aborted

    run(fake, test(), Clocked)


def test_who_already_waits_may_still_be_answered(fake: RedisStore) -> None:
    """A store that is found stalled refuses who comes from then on; who came before has the rest of its timeout."""

    async def test() -> None:
        wire = await connected(fake)
        early = ask(fake, rate(9, 60_000, key="early"))
        await asyncio.sleep(0.05)
        later = ask(fake, rate(9, 60_000, key="later"))
        with pytest.raises(StoreUnavailable):
            await early
        await refused(fake, "none since")
        wire.reply([T, 1, 1])
        await turns()
        wire.reply([T, 1, 7])
        assert (await later).states[0].used == 7

    run(fake, test(), Clocked)


def test_a_store_that_is_slow_is_not_stalled(fake: RedisStore) -> None:
    """While each reply comes within the timeout, nobody is refused at once, however many wait too long in line."""

    async def test() -> None:
        wire, calls = await connected(fake), []
        for _ in range(20):
            calls.append(ask(fake, rate(9, 60_000, key="a")))
            await asyncio.sleep(0.02)
            calls.append(ask(fake, rate(9, 60_000, key="b")))  # waits for this reply and the next
            await asyncio.sleep(0.06)
            assert not queue_of(fake).link.breaker.down
            (keys,) = wire.keys
            wire.written.clear()
            wire.reply([T, *[1, 1] * len(keys)])
        await asyncio.wait(calls)
        assert sum(call.exception() is not None for call in calls) > 10

    run(fake, test(), Clocked)


def test_a_slow_command_of_another_is_not_a_stall(fake: RedisStore) -> None:
    """A reply that has come to another command in the meantime shows that the store goes on."""

    async def test() -> None:
        wire = await connected(fake)
        link = queue_of(fake).link
        renewal = asyncio.create_task(fake.renew([LEASE]))
        await turns()
        call = ask(fake, *WARM)
        await asyncio.sleep(0.09)
        wire.reply([1])
        assert await renewal == []
        with pytest.raises(StoreUnavailable):
            await call
        assert not link.breaker.down
        wire.reply([T, 1, 1])

    run(fake, test(), Clocked)


def test_a_process_that_did_not_look_is_no_stall(fake: RedisStore) -> None:
    """A reply that arrived while this process was too busy to read it is found before the store counts as stalled."""

    async def test() -> None:
        wire = await connected(fake)
        call = ask(fake, *WARM)
        await turns()
        loop = asyncio.get_running_loop()
        loop.jumped += 2.0  # the app blocks its event loop
        loop.call_soon(loop.call_soon, wire.reply, [T, 1, 2])
        assert (await call).states[0].used == 2
        assert not queue_of(fake).link.breaker.down

    run(fake, test(), Clocked)


def test_a_stall_that_goes_on(fake: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing for a second is given up, also where nobody asks; until another one is made
    requests are refused at once."""
    away = Away(monkeypatch)

    async def test() -> None:
        away.back = True
        wire = await connected(fake)
        away.back = False
        await failing(fake)
        await asyncio.sleep(STALL - TIMEOUT + 0.02)
        assert wire.aborted
        assert len(away.at) == 2
        await refused(fake, "nobody is there")
        away.back = True
        await asyncio.sleep(JITTER * LONGEST_WAIT)
        assert not queue_of(fake).link.breaker.down

    run(fake, test(), Clocked)


def test_a_stall_that_ends_with_the_connection(fake: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stalled connection that breaks is down until another one is made, without anybody who asks."""
    away = Away(monkeypatch)

    async def test() -> None:
        away.back = True
        wire = await connected(fake)
        await failing(fake)
        tried = len(away.at)
        wire.lose("reset")
        await refused(fake, "none since")
        await asyncio.sleep(JITTER * LONGEST_WAIT)
        assert len(away.at) == tried + 1
        assert not queue_of(fake).link.breaker.down

    run(fake, test(), Clocked)


def test_a_release_while_it_stalls(fake: RedisStore) -> None:
    """Giving a slot back to a server that does not read waits its timeout, and while it is down not even that."""

    async def test() -> None:
        loop, wire = asyncio.get_running_loop(), await connected(fake)
        wire.drained = loop.create_future()
        queue_of(fake).link.send(command("ECHO", "much"), lambda _: None)
        begun = loop.time()
        with pytest.raises(StoreUnavailable, match="no reply within 100 ms"):
            await fake.release([LEASE])
        assert TIMEOUT <= loop.time() - begun < 2 * TIMEOUT
        with pytest.raises(StoreUnavailable, match="none since"):
            fake.release([LEASE]).send(None)

    run(fake, test(), Clocked)


# On real servers


async def longest_wait(store: RedisStore, seconds: float, every: float = 0.002) -> tuple[float, list[bool]]:
    """Ask for so long: the longest that one waited, and which got a decision."""
    seen, longest, end = [], 0.0, time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        try:
            await store.acquire((rate(10**6, 60_000),))
            seen.append(True)
        except StoreUnavailable:
            seen.append(False)
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(every)
    return longest, seen


def test_stopped_and_continued(own_server: servers.Server) -> None:
    """A server that stands still costs one request its timeout and the others nothing, until it is back."""
    store = RedisStore(own_server.url, timeout=0.25)

    async def test() -> None:
        await eventually(store)
        own_server.process.send_signal(SIGSTOP)
        assert await failing(store) == "no reply within 250 ms"
        await refused(store, "none since")
        longest, seen = await longest_wait(store, 2)  # longer than STALL
        assert not any(seen)
        assert len(seen) > 20
        assert longest < 0.25  # an attempt is under way all the time, and nobody waits for it
        own_server.process.send_signal(SIGCONT)
        async with asyncio.timeout(PATIENCE + LONGEST_WAIT + SLOW):
            assert (await eventually(store)).allowed

    run(store, test())


def test_killed_and_restarted(own_server: servers.Server) -> None:
    """A server that was killed is found back within a second of its return, by an attempt that nobody asked for."""
    store = RedisStore(own_server.url, timeout=5)

    async def test() -> None:
        await eventually(store)
        own_server.process.kill()
        own_server.process.wait()
        while not queue_of(store).link.breaker.down:
            await failing(store)
        await asyncio.sleep(1)
        await refused(store, "Connect call failed")
        with servers.run(own_server.name, port=own_server.port) as again:
            await until(lambda: not queue_of(store).link.breaker.down)
            with again.client() as client:
                came = client.info("server")["uptime_in_seconds"]
            assert came <= LONGEST_WAIT + SLOW
            assert (await store.acquire(WARM)).states[0].used == 1

    run(store, test())


def test_a_blackhole(own_server: servers.Server) -> None:
    """Where connections hang, requests wait their timeout while nothing is known, then nothing; and nothing is left."""

    async def test() -> None:
        longest, seen = await longest_wait(store, 0.3)
        assert not any(seen)
        assert TIMEOUT <= longest < 2 * TIMEOUT + SLOW
        await until(lambda: bool(queue_of(store).link.breaker.down))
        longest, seen = await longest_wait(store, 1)
        assert len(seen) > 20
        assert longest < SLOW

    with blackhole() as port:
        store = RedisStore(f"redis://127.0.0.1:{port}", timeout=TIMEOUT)
        run(store, test())


def test_a_name_that_is_not_found_in_time(own_server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs costs a request its timeout at most, and one thread however often it is tried."""
    resolved, hanging, looked_up = threading.Event(), socket.getaddrinfo, []

    def getaddrinfo(host: str, *rest: Any, **more: Any) -> Any:
        looked_up.append(host)
        resolved.wait(20)
        return hanging("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(breaker_module, "PATIENCE", 0.1)
    store = RedisStore(f"redis://store.example:{own_server.port}", timeout=0.01)

    async def test() -> None:
        try:
            longest, seen = await longest_wait(store, 0.6)
            assert not any(seen)
            assert longest < SLOW
            assert looked_up == ["store.example"]
            await store.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            with pytest.raises(StoreUnavailable):
                await store.acquire(WARM)
        finally:
            resolved.set()
        monkeypatch.setattr(breaker_module, "PATIENCE", 5.0)
        patient = RedisStore(f"redis://store.example:{own_server.port}", timeout=5)
        assert (await eventually(patient)).allowed
        await patient.close()

    run(store, test())


def test_a_replica_does_not_count_as_back(own_server: servers.Server) -> None:
    """A connection counts when its server could decide: not to a replica, which would answer a PING."""
    store = RedisStore(own_server.url, timeout=5)

    async def test() -> None:
        await eventually(store)
        with own_server.client() as client:
            client.replicaof("127.0.0.1", servers.free_port())
            while not queue_of(store).link.breaker.down:
                await failing(store)
            await refused(store, "READONLY")
            client.replicaof("NO", "ONE")
            assert (await eventually(store)).allowed

    run(store, test())


def test_a_server_that_is_busy_does_not_count_as_back(own_server: servers.Server) -> None:
    """While a script runs on and on, no connection counts, and requests are refused at once."""
    store = RedisStore(own_server.url, timeout=5)

    async def test() -> None:
        with own_server.client() as client, own_server.client() as other:
            client.config_set("busy-reply-threshold", 10)
            running = threading.Thread(target=lambda: _killed(client))
            running.start()
            try:
                await until(lambda: _busy(other))
                assert "BUSY" in await failing(store)
                await refused(store, "BUSY")
            finally:
                other.script_kill()
                running.join()
            assert (await eventually(store)).allowed

    run(store, test())


def test_a_slot_comes_back_from_a_server_that_is_busy(own_server: servers.Server) -> None:
    """A slot that is given back while a script runs on and on is free when that has ended, not when its lease ends."""
    store, cap = RedisStore(own_server.url, timeout=5), (concurrency(1),)

    async def test() -> None:
        with own_server.client() as client, own_server.client() as other:
            client.config_set("busy-reply-threshold", 10)
            held = (await store.acquire(cap)).leases
            running = threading.Thread(target=lambda: _killed(client))
            running.start()
            try:
                await until(lambda: _busy(other))
                await store.release(held)
                with pytest.raises(StoreUnavailable, match="BUSY"):  # asked behind it
                    await queue_of(store).link.call(command("PING"))
            finally:
                other.script_kill()
                running.join()
            await until(lambda: other.zcard("ratelimit:{user=ana}:concurrency") == 0)

    run(store, test())


def _killed(client: Any) -> None:
    with pytest.raises(Exception, match="killed"):
        client.eval("while true do end", 0)


def _busy(client: Any) -> bool:
    try:
        return not client.ping()
    except Exception as error:  # noqa: BLE001 - whatever the library calls it
        return "BUSY" in str(error)


def test_a_password_that_is_missing_or_wrong(own_server: servers.Server) -> None:
    """Who is not let in is told so at once, each time, and never with the password."""
    with own_server.client() as client:
        client.config_set("requirepass", "sesame")
    wrong = own_server.url.replace("//", "//:closed@")
    for url, word in ((own_server.url, "NOAUTH"), (f"{own_server.url}?protocol=2", "NOAUTH"), (wrong, "WRONGPASS")):
        store = RedisStore(url, timeout=5)

        async def test(store: RedisStore = store, word: str = word) -> None:
            why = await failing(store)
            assert "the store's URL" in why
            assert "RATELIMIT_STORE_PASSWORD" in why
            assert "closed" not in why
            await refused(store, word)

        run(store, test())
