"""Units on real servers: what is written, what is shared by stores, and what is lost on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from ratelimit.model import StoreUnavailable
from ratelimit.stores.batching.allotments import Demand
from ratelimit.stores.redis import RedisStore
from tests import servers
from tests.faults.proxy import Proxy
from tests.stores import Subject, concurrency, quota, rate
from tests.stores.clock import Clock, T, ahead, clocked, fields, settled
from tests.stores.conftest import LastingSubject

TOKENS, MONTHLY = rate(10, 60_000, key="tokens", hold=True), quota(10, key="monthly", hold=True)
BOTH = (TOKENS, MONTHLY)
LEASE = 10_000


def everything(client: Redis, prefix: str) -> dict[bytes, tuple[bytes, int]]:
    """Each key of a store: its bytes, and when it expires."""
    keys = [key for key in client.keys(f"{prefix}:*") if not key.endswith(b":clock")]
    return {key: (client.dump(key), client.execute_command("PEXPIRETIME", key)) for key in keys}


def test_peek_writes_nothing(server: servers.Server) -> None:
    """It creates no key, and leaves every byte and every expiry as it was: of what is, has ended, or never was."""
    subject = LastingSubject(server)

    async def test() -> None:
        with server.client() as client:
            await subject.at(T).store.hold(BOTH, 4, LEASE)
            await subject.store.charge((rate(9, 1_000, key="short"),), 3)
            before = everything(client, subject.prefix)
            assert len(before) == 5
            for after in (0, 2_000, LEASE, 61_000, -3_600_000, 40 * 86_400_000):
                subject.at(T + after)
                for units in (0, 1, 7, 99):
                    await subject.store.peek((*BOTH, rate(9, 1_000, key="short"), rate(9, 60_000, key="new")), units)
            size = client.dbsize()
            assert everything(client, subject.prefix) == before
            assert client.dbsize() == size

    subject.run(test())


def test_what_is_kept_of_a_hold(server: servers.Server) -> None:
    """A record beside each counter that can be held, while that can matter; a reset forgets both."""
    subject = LastingSubject(server)

    async def test() -> None:
        with server.client() as client:
            hold = (await subject.at(T).store.hold(BOTH, 4, LEASE)).hold
            assert hold
            name = f"{subject.prefix}:{TOKENS.key}:held"
            assert client.zcard(name) == 3
            assert 4 * LEASE + 3_600_000 < client.pttl(name) <= 4 * LEASE + 3_601_000
            await subject.store.settle(hold, 1)
            assert client.zcard(name) == 1
            assert await subject.store.reset([charge.key for charge in BOTH]) == 2
            assert everything(client, subject.prefix) == {}

    subject.run(test())


def test_stores_that_share_a_prefix(server: servers.Server) -> None:
    """What one process holds another one renews and settles; a store with another prefix says whose it is."""

    async def test() -> None:
        one, other, third = (RedisStore(server.unix_url, prefix=name, timeout=5) for name in ("units", "units", "else"))
        try:
            await one.reset([TOKENS.key])
            hold = (await one.hold((TOKENS,), 4, LEASE)).hold
            assert hold
            with pytest.raises(ValueError, match="the hold is of another store; settle it there"):
                await third.settle(hold, 1)
            assert await other.renew([hold.lease]) == []
            await other.settle(hold, 1)
            await one.settle(hold, 3)
            assert (await other.peek((TOKENS,), 0)).states[0].used == 1
        finally:
            for store in (one, other, third):
                await store.close()

    asyncio.run(test())


@pytest.mark.parametrize(("units", "used"), [(2, 2), (4, 4), (9, 9), (0, 0)])
@pytest.mark.parametrize("arrived", [True, False])
def test_a_settle_that_was_lost(server: servers.Server, units: int, used: int, *, arrived: bool) -> None:
    """Repeated three leases later it is applied once: whether the first one was, and whoever came by meanwhile."""
    with Proxy(server.port) as proxy:
        subject = LastingSubject(server)
        there = RedisStore(f"redis://127.0.0.1:{proxy.port}", prefix=subject.prefix, timeout=0.2)
        there.scripts = subject.store.scripts

        async def test() -> None:
            try:
                hold = (await subject.at(T).store.hold(BOTH, 4, LEASE)).hold
                assert hold
                warm = (await there.hold((replace(TOKENS, key="{user=ana}:warm"),), 1, LEASE)).hold
                assert warm
                await there.settle(warm, 1)  # from now on the server knows the script
                with pytest.raises(StoreUnavailable), proxy.delaying(1) if arrived else proxy.swallowing():
                    await there.settle(hold, units)
                assert (await subject.store.peek(BOTH, 0)).states[0].used == (used if arrived else 4)
                await subject.at(T + 3 * LEASE).acquire(*BOTH)  # what was not settled has gone back
                for _ in range(2):
                    await subject.store.settle(hold, units)
                assert [state.used for state in (await subject.store.peek(BOTH, 0)).states] == [used + 1] * 2
            finally:
                await there.close()

        subject.run(test())


def test_on_a_server_that_was_flushed(own_server: servers.Server) -> None:
    """What was used is charged, once; what is refunded leaves nothing behind."""
    subject = Subject(own_server.name, own_server.unix_url)

    async def test() -> None:
        hold = (await subject.store.hold(BOTH, 4, LEASE)).hold
        spent = await subject.store.charge(BOTH, 3)
        with own_server.client() as client:
            client.flushall()
            await subject.store.refund(spent)
            assert client.dbsize() == 0
        assert hold
        assert await subject.store.renew([hold.lease]) == [hold.lease]
        for _ in range(2):
            await subject.store.settle(hold, 2)
        assert [state.used for state in (await subject.store.peek(BOTH, 0)).states] == [2, 2]

    subject.run(test())


def test_units_ahead_beside_a_limit_that_can_be_held(
    server: servers.Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of them goes back to its own counter, also where a limit that costs nothing has a record."""
    monkeypatch.setattr(Demand, "wanted", lambda *_: 10)
    subject = clocked(server)
    limits = (replace(TOKENS, cost=0), ahead(rate(1_000, 60_000)))

    async def test() -> None:
        for _ in range(4):
            assert (await subject.store.acquire(limits)).allowed
        assert fields(server, subject)["s"] == 11
        clock.to(T + 998.9)
        await settled(subject)
        assert fields(server, subject)["s"] == 4
        assert fields(server, subject, "tokens") == {}

    subject.run(test())


def test_a_slot_beside_units_that_can_be_held(server: servers.Server) -> None:
    """A request takes its slot, with the record of the limit before it among the keys, and gives it back."""
    subject = Subject(server.name, server.unix_url)

    async def test() -> None:
        limits: tuple[Any, ...] = (*BOTH, concurrency(1))
        first = await subject.store.acquire(limits)
        assert not (await subject.store.acquire(limits)).allowed
        await subject.store.release(first.leases)
        assert (await subject.store.acquire(limits)).allowed

    subject.run(test())


def test_holds_of_a_process_that_died(server: servers.Server) -> None:
    """More of them than one call gives back: who is denied meanwhile is told to ask again at once, and that is not
    remembered. A peek says so too, and gives nothing back."""
    subject = LastingSubject(server)
    tokens = rate(300, 3_600_000, key="tokens", hold=True)
    all_of_it = (replace(tokens, cost=300),)

    async def test() -> None:
        subject.at(T)
        await asyncio.gather(*[subject.store.hold((tokens,), 1, LEASE) for _ in range(300)])
        denied = await subject.acquire(*all_of_it)
        assert denied.states[0].retry_after_ms
        assert denied.states[0].retry_after_ms > LEASE
        subject.at(T + LEASE)
        for used in (172, 172):
            (state,) = (await subject.store.peek(all_of_it)).states
            assert (state.used, state.retry_after_ms) == (used, 1)
        await asyncio.sleep(1)  # the denial is not remembered any more
        decisions = [await subject.store.acquire(all_of_it)]
        while not decisions[-1].allowed:
            await asyncio.sleep(0.001)
            decisions.append(await subject.store.acquire(all_of_it))
        said = [(one.states[0].used, one.states[0].retry_after_ms) for one in decisions]
        assert said == [(172, 1), (44, 1), (300, 0)]

    subject.run(test())


def test_an_outage_after_units_were_charged(server: servers.Server) -> None:
    """A process that goes on by itself goes on from what it charged and held, and not from what it only looked at."""

    async def test() -> None:
        store = RedisStore(server.unix_url, prefix="outage", timeout=5)
        store.keep_account()
        try:
            assert (await store.acquire(BOTH)).allowed
            await store.charge(BOTH, 4)
            assert (await store.hold(BOTH, 3, LEASE)).allowed
            await store.peek(BOTH, 1)
            decisions = [store.local().decide(BOTH, StoreUnavailable("away")) for _ in range(3)]
            assert [decision.allowed for decision in decisions] == [True, True, False]
        finally:
            await store.close()

    asyncio.run(test())


def test_what_was_to_go_back_to_a_counter_that_is_reset(server: servers.Server) -> None:
    """It does not: what is there by then is somebody else's. What was admitted without the store is charged."""

    async def test() -> None:
        store, other = (RedisStore(server.unix_url, prefix="back", timeout=5) for _ in range(2))
        store.keep_account()
        try:
            spent = await store.charge(BOTH, 5)
            store.local().give_back((TOKENS,), 5, spent.now_ms, b"0")
            assert store.local().decide((MONTHLY,), StoreUnavailable("away")).allowed
            assert await store.reset([charge.key for charge in BOTH]) == 2
            await other.charge(BOTH, 6)
            async with asyncio.timeout(5):
                while store.local().journal.open_units:  # noqa: ASYNC110 - by a timer
                    await asyncio.sleep(0.01)
            assert [state.used for state in (await other.peek(BOTH, 0)).states] == [6, 7]
        finally:
            await store.close()
            await other.close()

    asyncio.run(test())
