"""How the verbs that count units are asked: together, where the slot is, and never twice what was done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ratelimit.model import Charge, Decision, Hold, StoreUnavailable
from ratelimit.stores.connection.errors import error_of
from ratelimit.stores.counting.terms import terms_at
from ratelimit.stores.redis import ClusterStore, RedisStore
from ratelimit.stores.routing.router import CLOCKS, SLICE
from tests.stores import nodes_of, quota, rate
from tests.stores.clustered import Node, fake_cluster
from tests.stores.routing.test_nodes import SLOT, known
from tests.stores.routing.test_nodes import run as run_cluster
from tests.stores.wires import FakeWire, T, connected, fake_store, run, turns

TOKENS = (rate(9, 60_000, key="tokens", hold=True),)
DAILY = (quota(9, "day", key="daily", hold=True),)
LEASE = 10_000
DAY = 86_400_000
DENIED = [T, 0, 1, 9, 60_000, 60_000]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    return fake_store(monkeypatch)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> ClusterStore:
    return fake_cluster(monkeypatch, 7000)


async def held(store: RedisStore, wire: Any, charges: tuple[Charge, ...] = TOKENS) -> Hold:
    """Four units."""
    asked = asyncio.create_task(store.hold(charges, 4, LEASE))
    await turns()
    wire.reply([T, 1, 4])
    wire.written.clear()
    hold = (await asked).hold
    assert hold
    return hold


async def charged(store: RedisStore, wire: Any, charges: tuple[Charge, ...] = TOKENS, units: int = 4) -> Decision:
    asked = asyncio.create_task(store.charge(charges, units))
    await turns()
    wire.reply([T, 1, 4])
    wire.written.clear()
    return await asked


def test_one_call_for_all_that_comes_at_once(store: RedisStore) -> None:
    """Decisions, peeks, charges and holds of a turn are one script call, each with what its mode sends."""

    async def test() -> None:
        wire = await connected(store)
        asked = [
            asyncio.create_task(one)
            for one in (
                store.acquire((rate(9, 60_000),)),
                store.peek(TOKENS, 3),
                store.charge(TOKENS, 5),
                store.peek(TOKENS, 7),
                store.hold(TOKENS, 2, LEASE),
            )
        ]
        await turns()
        (call,) = wire.written
        assert wire.keys == [["rate", *["tokens", "held"] * 4]]
        keys = int(call[2])
        assert call[3 + keys : 5 + keys] == [b"", b"4"]  # of two peeks the terms are sent once
        assert [call.count(mode) for mode in (b"decide", b"peek", b"charge", b"hold")] == [1, 1, 1, 1]
        assert [call.count(letter) for letter in (b"r", b"R")] == [1, 3]
        *callers, hold_id = call[-10:]
        assert callers == [b"1", b"2", b"3", b"3", b"5", b"2", b"7", b"4", b"2"]
        wire.reply([T, 1, 1, 1, 3, 1, 8, 0, 1, 8, 60_000, 60_000, 2, 0, 9, 60_000, 500])
        first, peeked, counted, denied, taken = await asyncio.gather(*asked)
        assert [(d.allowed, d.units, d.states[0].used) for d in (first, peeked, counted, denied, taken)] == [
            (True, 1, 1), (True, 0, 3), (True, 5, 8), (False, 0, 8), (True, 0, 9),
        ]  # fmt: skip
        assert taken.hold.lease.id.encode() == hold_id
        assert (taken.hold.units, taken.counted_ms, peeked.counted_ms) == (2, (T + 500,), ())

    run(store, test())


def test_nothing_is_prepared_twice(store: RedisStore) -> None:
    """A second peek of the same charges finds what the first was sent with."""

    async def test() -> None:
        wire = await connected(store)
        for _ in range(2):
            asked = asyncio.create_task(store.peek(TOKENS))
            await turns()
            wire.reply([T, 1, 1])
            await asked
        caller = store._side().router.callers.recent.get(id(TOKENS))
        assert caller
        assert caller.asking("peek", T) is caller.asking("peek", T)

    run(store, test())


@pytest.mark.parametrize("verb", ["charge", "refund", "settle", "reset"])
def test_a_denial_that_is_remembered(store: RedisStore, verb: str) -> None:
    """A peek asks past it and leaves none; a counter that this process changes by more than a decision ends it, and no
    other one does."""
    other = (rate(9, 60_000, key="other"),)

    async def test() -> None:
        wire = await connected(store)
        hold, spent = await held(store, wire), await charged(store, wire)
        asked = [asyncio.create_task(store.acquire(charges)) for charges in (TOKENS, other)]
        await turns()
        wire.reply([*DENIED, *DENIED[1:]])
        assert not any([(await one).allowed for one in asked])
        wire.written.clear()
        peeked = asyncio.create_task(store.peek(TOKENS))
        await turns()
        wire.reply([T, 0, 1, 9, 60_000, 60_000])
        assert not (await peeked).allowed
        again = asyncio.create_task(store.peek(TOKENS))
        await turns()
        assert len(wire.written) == 2
        wire.reply([T, 1, 9])
        assert (await again).allowed
        assert not (await store.acquire(TOKENS)).allowed
        assert len(wire.written) == 2
        does = {
            "charge": lambda: store.charge(TOKENS, 1),
            "refund": lambda: store.refund(spent),
            "settle": lambda: store.settle(hold, 1),
            "reset": lambda: store.reset([TOKENS[0].key]),
        }
        change = asyncio.create_task(does[verb]())
        await turns()
        wire.reply({"charge": [T, 1, 5], "reset": 1}.get(verb, [T, 1]))
        await change
        asking = asyncio.create_task(store.acquire(TOKENS))
        await turns()
        assert len(wire.written) == 4
        wire.reply([T, 1, 5])
        assert (await asking).allowed
        assert not (await store.acquire(other)).allowed

    run(store, test())


def test_what_goes_back_goes_in_one_write(store: RedisStore) -> None:
    """Settles and refunds of a turn: each its own call, in one write."""

    async def test() -> None:
        wire = await connected(store)
        holds = [await held(store, wire), await held(store, wire)]
        spent = await charged(store, wire)
        writes: list[bytes] = []
        write = wire.write
        wire.write = lambda commands: (writes.append(commands), write(commands))[1]
        tasks = [asyncio.create_task(one) for one in (*[store.settle(h, 1) for h in holds], store.refund(spent))]
        await turns()
        assert len(writes) == 1
        assert wire.keys == [["tokens", "held"], ["tokens", "held"], ["tokens"]]
        assert wire.written[2][-5:] == [b"r", b"-4", b"60000", b"60", b"%d" % (T // 1_000)]
        assert wire.written[0][-5:] == [b"R", b"1", b"60000", b"60", holds[0].lease.id.encode()]
        for _ in tasks:
            wire.reply([T, 1])
        await asyncio.gather(*tasks)

    run(store, test())


@pytest.mark.parametrize("verb", ["settle", "refund"])
def test_the_clock_of_the_store_is_in_another_period(store: RedisStore, verb: str) -> None:
    """What was not done for that is asked about again with the store's own time, and nothing else is; at most three
    times."""
    both = (*TOKENS, *DAILY)

    async def test() -> None:
        wire = await connected(store)
        hold_or_spent: Any
        asked = asyncio.create_task(store.hold(both, 4, LEASE) if verb == "settle" else store.charge(both, 4))
        await turns()
        wire.reply([T, 1, 4, 4])
        decision = await asked
        hold_or_spent = decision.hold if verb == "settle" else decision
        wire.written.clear()
        work = asyncio.create_task(
            store.settle(hold_or_spent, 6) if verb == "settle" else store.refund(hold_or_spent, 3)
        )
        await turns()
        wire.reply([T - DAY, 1, 2])
        await turns()
        assert [[key for key in keys if key != "held"] for keys in wire.keys] == [["tokens", "daily"], ["daily"]]
        terms = terms_at(DAILY[0], T - DAY)
        where = hold_or_spent.lease.id.encode() if verb == "settle" else b"%d" % T
        letter, units = (b"Q", b"6") if verb == "settle" else (b"q", b"-3")
        assert wire.written[1][-5:] == [letter, units, b"%d" % terms.first, b"%d" % terms.second, where]
        for number in range(CLOCKS - 1):
            wire.reply([T - number * DAY, 2])
            await turns()
        assert len(wire.written) == CLOCKS
        with pytest.raises(StoreUnavailable, match="the clock of the store does not stand still between two calls"):
            await work

    run(store, test())


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ([T, b"WRONGTYPE Operation against a key"], "WRONGTYPE"),
        ([T], "what the server sent is no reply to the script that settles"),
        (["soon", 1], "what the server sent is no reply to the script that settles"),
        (1, "what the server sent is no reply to the script that settles"),
        (error_of("OOM command not allowed"), "OOM"),
    ],
)
def test_a_settle_that_fails(store: RedisStore, reply: object, said: str) -> None:
    """It says why; the same settle can be asked for again, and a refund is not sent again."""

    async def test() -> None:
        wire = await connected(store)
        hold, spent = await held(store, wire), await charged(store, wire)
        for _ in range(2):
            for work in (store.settle(hold, 1), store.refund(spent)):
                task = asyncio.create_task(work)
                await turns()
                if not task.done():
                    wire.reply(reply)
                    with pytest.raises(StoreUnavailable, match=said):
                        await task
        assert wire.keys == [["tokens", "held"], ["tokens"], ["tokens", "held"]]

    run(store, test())


def test_a_settle_that_is_lost(store: RedisStore) -> None:
    """Whether it was applied nobody knows: it says so, and can be asked for again, as the same hold."""

    async def test() -> None:
        wire = await connected(store)
        hold = await held(store, wire)
        work = asyncio.create_task(store.settle(hold, 1))
        await turns()
        wire.lose("it broke")
        with pytest.raises(StoreUnavailable, match="it broke"):
            await work
        again = asyncio.create_task(store.settle(hold, 1))
        await turns(8)
        there = FakeWire.made[-1]
        there.reply([T, 1])
        await again
        assert there is not wire
        assert there.written == wire.written

    run(store, test())


def test_a_settle_is_followed(cluster: ClusterStore) -> None:
    """To where its slot is, and with the script's text where that is not known."""

    async def test() -> None:
        node = await known(cluster)
        nodes_of(cluster)._looked_at = float("inf")
        hold = await held(cluster, _Replies(node))
        work = asyncio.create_task(cluster.settle(hold, 1))
        await turns()
        node.say(f"ASK {SLOT} h:7001")
        await turns(8)
        there = Node.made[7001]
        assert there.names == [b"ASKING", b"EVALSHA"]
        there.say(b"OK")
        there.say("NOSCRIPT No matching script")
        await turns()
        assert there.names == [b"ASKING", b"EVAL"]
        there.say(b"OK")
        there.say([T, 1])
        await work

    run_cluster(cluster, test())


class _Replies:
    """A Node as `held` asks for it."""

    def __init__(self, node: Node) -> None:
        self.reply, self.written = node.say, node.written


def test_a_reset_goes_in_slices(store: RedisStore) -> None:
    """A call forgets so many counters at most; what it is told must be a number."""

    async def test() -> None:
        wire = await connected(store)
        keys = [f"{{user=ana}}:k{n}" for n in range(SLICE + 3)]
        forgotten = asyncio.create_task(store.reset(keys))
        await turns()
        wire.reply(200)
        await turns()
        wire.reply(2)
        assert await forgotten == 202
        assert [(call[0], int(call[2])) for call in wire.written] == [(b"EVAL", 2 * SLICE), (b"EVAL", 6)]
        failed = asyncio.create_task(store.reset(keys[:1]))
        await turns()
        wire.reply(b"OK")
        with pytest.raises(StoreUnavailable, match="what the server sent is no reply to the script that resets"):
            await failed

    run(store, test())


def test_nothing_to_do(store: RedisStore) -> None:
    """No charges, no keys, and what is nothing to give back: nothing is sent."""

    async def test() -> None:
        wire = await connected(store)
        assert (await store.peek(())).allowed
        empty = (await store.hold((), 3, LEASE)).hold
        assert empty
        await store.settle(empty, 2)
        await store.refund(await store.charge((), 3))
        await store.refund(Decision(True, T, (), unavailable=True))
        assert await store.renew([empty.lease]) == []
        await store.release([empty.lease])
        assert await store.reset([]) == 0
        assert wire.written == []

    run(store, test())


def test_renewals_of_units_in_slices(store: RedisStore) -> None:
    """A hold of several counters is renewed in each of them, also where they are of two slices."""

    async def test() -> None:
        wire = await connected(store)
        hold = (await held(store, wire)).lease
        several = [
            hold._replace(id=f"{n}/1000@a", counters=("{user=ana}:a", "{user=ana}:b", "{user=ana}:c"))
            for n in range(100)
        ]
        renewal = asyncio.create_task(store.renew(several))
        await turns()
        wire.reply([0] * SLICE)
        await turns()
        assert [int(call[2]) for call in wire.written] == [256, 44]
        assert set(wire.keys[0]) == {"held"}
        wire.reply([1, 0] * 22)
        gone = await renewal
        assert gone == several[:85]  # of the 86th the last counter has it

    run(store, test())
