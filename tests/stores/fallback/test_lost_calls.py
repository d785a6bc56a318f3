"""What becomes of calls whose reply was lost, and of what they took ahead: from the script's replies alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ratelimit.model import StoreUnavailable
from ratelimit.stores.batching.allotments import Allotment, Demand
from ratelimit.stores.fallback import reconcile as reconcile_module
from ratelimit.stores.fallback.doubt import InDoubt
from ratelimit.stores.fallback.idempotency import NEVER_KNOWN
from ratelimit.stores.redis import ClusterStore, RedisStore
from tests.stores import quota, rate, router_of
from tests.stores.clock import ahead
from tests.stores.clustered import Node, fake_cluster
from tests.stores.routing.test_nodes import CHARGES, known
from tests.stores.routing.test_nodes import run as run_on_a_cluster
from tests.stores.wires import FakeWire, T, ask, connected, fake_store, run, turns

MINE = (quota(9, key="mine"),)
AHEAD = (ahead(rate(1_000, 60_000, key="ahead")),)
AWAY = StoreUnavailable("away")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    monkeypatch.setattr(reconcile_module, "RETRY", 0.0)
    monkeypatch.setattr(Demand, "wanted", lambda *_: 10)
    store = fake_store(monkeypatch)
    store.keep_account()
    return store


async def written(wire: FakeWire, name: bytes) -> list[bytes]:
    """The command that was written last, once it is this one."""
    async with asyncio.timeout(5):
        while not (wire.written and wire.written[-1][0] == name):  # noqa: ASYNC110 - timers of the loop
            await asyncio.sleep(0)
    return wire.written[-1]


async def another(wire: FakeWire) -> FakeWire:
    """The connection that is made when this one is lost."""
    wire.lose("it broke")
    async with asyncio.timeout(5):
        while FakeWire.made[-1] is wire:  # noqa: ASYNC110 - timers of the loop
            await asyncio.sleep(0)
    return FakeWire.made[-1]


def number_of(call: list[bytes]) -> bytes:
    return call[3 + int(call[2])]


def units_of(call: list[bytes]) -> bytes:
    """Of the first item of a settlement."""
    return call[5 + int(call[2])]


def taken(store: RedisStore) -> Allotment:
    allotment = router_of(store).callers.of(AHEAD).allotment
    assert allotment
    return allotment


async def ten_ahead(store: RedisStore, wire: FakeWire) -> bytes:
    """Ten units are taken ahead; the number of the call that did."""
    asking = asyncio.create_task(store.acquire(AHEAD))  # the same object is the same caller
    await turns()
    number = number_of(wire.written[-1])
    wire.reply([T, 1, 11, 10, 900])
    assert (await asking).allowed
    return number


async def owed_nothing(store: RedisStore) -> None:
    async with asyncio.timeout(5):
        while store.local().journal.open_units or len(store.local().journal):  # noqa: ASYNC110 - timers of the loop
            await asyncio.sleep(0)


def test_what_was_taken_ahead_knows_its_call(store: RedisStore) -> None:
    """Units taken ahead keep the number of the call that charged them: a marker tells by it whether they are there."""

    async def test() -> None:
        wire = await connected(store)
        number = await ten_ahead(store, wire)
        assert (taken(store).number, taken(store).left) == (number, 10)

    run(store, test())


@pytest.mark.parametrize("kept", [True, False])
def test_units_ahead_over_a_reconnect(store: RedisStore, *, kept: bool) -> None:
    """Before anything else the marker is read: units that were charged after it says are gone are not given back."""

    async def test() -> None:
        wire = await connected(store)
        number = await ten_ahead(store, wire)
        other = ask(store, *MINE)
        await turns()
        wire = await another(wire)
        with pytest.raises(InDoubt):
            await other
        assert (await written(wire, b"GET"))[1].startswith(b"ratelimit:calls:")
        wire.reply(number if kept else None)
        await written(wire, b"EVALSHA")
        assert taken(store).number == (number if kept else b"")

    run(store, test())


def test_units_ahead_that_nobody_has_got(store: RedisStore) -> None:
    """What a lost call took ahead goes back: its marker says that it did, and nobody will ever spend it."""

    async def test() -> None:
        wire = await connected(store)
        asking = asyncio.create_task(store.acquire(AHEAD))
        await turns()
        number = number_of(wire.written[-1])
        wire = await another(wire)
        with pytest.raises(InDoubt) as caught:
            await asking
        store.local().decide(MINE, AWAY)
        assert number_of(await written(wire, b"EVALSHA")) == number
        wire.reply(number + b" %d 0:10" % T)
        assert caught.value.doubt.charged_at is None
        await turns(8)
        assert caught.value.doubt.charged_at == T
        settlements: list[Any] = [wire.written[-1]]
        assert sorted(int(one) for one in settlements[0] if one in (b"-10", b"1")) == [-10, 1]
        wire.reply([T, 1, 1])
        await owed_nothing(store)

    run(store, test())


def test_a_settlement_that_was_not_applied(store: RedisStore) -> None:
    """A lost settlement of which the marker says nothing is owed again, and charged with a number of its own."""

    async def test() -> None:
        wire = await connected(store)
        store.local().decide(MINE, AWAY)
        first = await written(wire, b"EVALSHA")
        wire = await another(wire)
        assert number_of(await written(wire, b"EVALSHA")) == number_of(first)
        wire.reply(None)
        await turns(8)
        again = wire.written[-1]
        assert number_of(again) > number_of(first)
        assert units_of(again) == units_of(first) == b"1"
        wire.reply([T, 1])
        await owed_nothing(store)

    run(store, test())


def test_a_damaged_counter(store: RedisStore, caplog: pytest.LogCaptureFixture) -> None:
    """What is owed to a counter of another type will never be charged: it is said, and not tried for ever."""

    async def test() -> None:
        wire = await connected(store)
        store.local().decide(MINE, AWAY)
        await written(wire, b"EVALSHA")
        wire.reply([T, b"WRONGTYPE Operation against a key holding the wrong kind of value"])
        await owed_nothing(store)
        assert "1 units are not charged, the counter {user=ana}:mine is damaged: WRONGTYPE" in caplog.text

    run(store, test())


@pytest.mark.parametrize("lost", [False, True])
def test_a_slot_on_its_way_has_no_marker(monkeypatch: pytest.MonkeyPatch, *, lost: bool) -> None:
    """A call for a slot that is on its way has no key but its callers': where its reply is lost nobody will know."""
    store: ClusterStore = fake_cluster(monkeypatch, 7000)
    store.keep_account()

    async def call(node: Node) -> list[bytes]:
        """The one that decides, when all before it has been answered."""
        async with asyncio.timeout(5):
            while b"EVALSHA" not in node.names:  # noqa: ASYNC110 - it asks again by a timer
                await asyncio.sleep(0.001)
        while node.names[0] != b"EVALSHA":
            node.say(1)
        return node.written[0]

    async def test() -> None:
        node = await known(store)
        asking = asyncio.create_task(store.acquire(CHARGES))
        assert (await call(node))[2] == b"2"  # with the marker
        node.say("TRYAGAIN Multiple keys request during rehashing of slot")
        assert (await call(node))[2] == b"1"
        if lost:
            node.lose("it broke")
            with pytest.raises(InDoubt) as caught:
                await asking
            assert caught.value.doubt.charged_at == NEVER_KNOWN
        else:
            node.say([T, 1, 1])
            assert (await asking).allowed

    run_on_a_cluster(store, test())
