"""In which order a process settles with its store, and what it does where the store says nothing, or nonsense."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import pytest

from ratelimit.model import Decision, StoreUnavailable
from ratelimit.stores.connection import breaker as breaker_module
from ratelimit.stores.connection.errors import Moved, NoScript, Replied, error_of
from ratelimit.stores.connection.handshake import Address
from ratelimit.stores.fallback import debts as debts_module
from ratelimit.stores.fallback import reconcile as reconcile_module
from ratelimit.stores.fallback.debts import OVER
from ratelimit.stores.fallback.doubt import InDoubt
from ratelimit.stores.fallback.idempotency import IdempotencyKeys
from ratelimit.stores.fallback.journal import Journal
from ratelimit.stores.redis import ClusterStore, RedisStore
from ratelimit.stores.routing.slotmap import slot_of
from tests.stores import concurrency, nodes_of, queue_of, quota, rate, side_of
from tests.stores.clustered import Node, fake_cluster, of, user_in, whole
from tests.stores.wires import FakeWire, T, ask, connected, fake_store, run, turns

MINE, OTHER = (quota(9, key="mine"),), (quota(9, key="other"),)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    monkeypatch.setattr(reconcile_module, "RETRY", 0.0)
    store = fake_store(monkeypatch)
    store.keep_account()
    return store


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> ClusterStore:
    """Of one node, which nobody knows to have a slot yet."""
    monkeypatch.setattr(reconcile_module, "RETRY", 0.001)
    store = fake_cluster(monkeypatch, 7_000)
    store.keep_account()
    return store


def names(store: RedisStore, wire: FakeWire) -> list[str]:
    """Which scripts were called, or other commands, without their markers."""
    scripts = {script.sha: name for name, script in _scripts(store)} | {s.text: n for n, s in _scripts(store)}
    said = [call[1].decode() if call[0].startswith(b"EVAL") else call[0].decode() for call in wire.written]
    return [scripts.get(one, one) for one in said]


def _scripts(store: RedisStore):
    return [(name, getattr(store.scripts, name)) for name in ("acquire", "resolve", "settle")]


async def lost(store: RedisStore, wire: FakeWire) -> InDoubt:
    """A request whose reply was lost with its connection."""
    asking = ask(store, *MINE)
    await turns()
    wire.lose("it broke")
    with pytest.raises(InDoubt) as caught:
        await asking
    return caught.value


async def comes(true) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - timers of the loop
            await asyncio.sleep(0)


async def until(true) -> FakeWire:
    await comes(true)
    return FakeWire.made[-1]


async def sent(wire: FakeWire, commands: int) -> None:
    """So many, by now."""
    await until(lambda: len(wire.written) == commands)


async def nothing_is_owed(store: RedisStore | ClusterStore) -> None:
    await comes(lambda: not store.local().journal.open_units)


def admitted(store: RedisStore | ClusterStore, failure: StoreUnavailable | None = None, charges=MINE) -> Decision:
    return store.local().decide(charges, failure or StoreUnavailable("away"))


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_call_is_asked_about_first(store: RedisStore, *, applied: bool) -> None:
    """Over the next connection the lost call is asked about, then what is owed is charged, then others are decided."""

    async def test() -> None:
        wire = await connected(store)
        failure = await lost(store, wire)
        call = wire.written[-1]
        keys = int(call[2])
        marker, number = call[2 + keys], call[3 + keys]
        assert (re.fullmatch(rb"ratelimit:calls:[0-9a-f]{16}", marker) is not None, number) == (True, b"%016d" % 2)
        admitted(store, failure)
        other = ask(store, *OTHER)
        wire = await until(lambda: len(FakeWire.made) == 2 and FakeWire.made[-1].written)
        await turns(10)
        assert names(store, wire) == ["resolve"]
        assert wire.written[0][2:] == [b"1", marker, number]
        wire.reply(number + b" %d" % T if applied else None)
        if not applied:
            await sent(wire, 2)
            await turns(10)
            assert names(store, wire)[1:] == ["settle"]
            settled = wire.written[1]
            assert settled[3] == b"ratelimit:{user=ana}:mine"
            assert settled[6:8] == [b"q", b"1"]
            wire.reply([T, 1])
        await until(lambda: names(store, wire)[-1] == "acquire")
        wire.reply([T, 1, 1])
        assert (await other).allowed
        assert store.local().journal.open_units == 0

    run(store, test())


@pytest.mark.parametrize("charged", ["tokens", "mine"])
def test_a_marker_counts_keys(store: RedisStore, charged: str) -> None:
    """Whom a lost call has charged is said by the keys before its own: a limit that can be held has two. What was asked
    for by an app beside it is in doubt as well, and nothing is owed of it."""
    tokens = (quota(9, key="tokens", hold=True),)

    async def test() -> None:
        wire = await connected(store)
        asked = [ask(store, *tokens), ask(store, *MINE), asyncio.create_task(store.charge(tokens, 5))]
        await turns()
        (call,) = wire.written
        assert wire.keys[0][:5] == ["tokens", "held", "mine", "tokens", "held"]
        wire.lose("it broke")
        failures = await asyncio.gather(*asked, return_exceptions=True)
        for charges, failure in zip((tokens, MINE), failures[:2], strict=True):
            assert isinstance(failure, InDoubt)
            admitted(store, failure, charges)
        assert isinstance(failures[2], StoreUnavailable)
        other = ask(store, *OTHER)
        wire = await until(lambda: len(FakeWire.made) == 2 and FakeWire.made[-1].written)
        wire.reply(call[3 + int(call[2])] + b" %d %d" % (T, 0 if charged == "tokens" else 2))
        await sent(wire, 2)
        assert wire.written[1][3] == b"ratelimit:{user=ana}:" + {"tokens": b"mine", "mine": b"tokens"}[charged]
        assert wire.written[1][6:8] == [b"q", b"1"]
        wire.reply([T, 1])
        await until(lambda: names(store, wire)[-1] == "acquire")
        wire.reply([T, 1, 1])
        assert (await other).allowed
        assert store.local().journal.open_units == 0

    run(store, test())


def test_a_late_reply_tells(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that comes after its request has given up still says what became of it; what was denied there and
    admitted here is charged before the next decision, as soon as the store answers in time."""
    monkeypatch.setattr(reconcile_module, "RETRY", 3_600.0)

    async def test() -> None:
        wire = await connected(store)
        with pytest.raises(InDoubt) as caught:
            await ask(store, *MINE)
        assert admitted(store, caught.value).allowed
        wire.reply([T, 0, 1, 9, 5, 5])
        await sent(wire, 2)
        wire.reply([T])  # decided for nobody
        other = ask(store, *OTHER)
        await sent(wire, 3)
        await turns(10)
        assert names(store, wire) == ["acquire", "acquire", "settle"]
        wire.reply([T, 1])
        await sent(wire, 4)
        wire.reply([T, 1, 1])
        assert (await other).allowed

    run(store, test())


@pytest.mark.parametrize(
    "reply", [Replied("ERR no"), [T, -2, b"WRONGTYPE no"], [T, -1]], ids=["an error", "a failure", "another period"]
)
def test_a_late_error_tells_too(store: RedisStore, reply: object) -> None:
    """Where nothing was done, what was admitted here is owed."""

    async def test() -> None:
        wire = await connected(store)
        with pytest.raises(InDoubt) as caught:
            await ask(store, *MINE)
        admitted(store, caught.value)
        assert len(store.local().journal) == 0
        wire.reply(reply)
        assert len(store.local().journal) == 1

    run(store, test())


def test_an_error_is_no_doubt(store: RedisStore) -> None:
    """Of a call that the server has refused it is known at once that nothing was charged."""

    async def test() -> None:
        wire = await connected(store)
        asking = ask(store, *MINE)
        await turns()
        wire.reply(Replied("ERR no"))
        with pytest.raises(InDoubt) as caught:
            await asking
        assert caught.value.doubt.charged_at == 0

    run(store, test())


def test_a_reply_that_cannot_be_read(store: RedisStore) -> None:
    """Nonsense instead of a reply ends the connection, and the call is asked about over the next; a settlement too."""

    async def test() -> None:
        wire = await connected(store)
        asking = ask(store, *MINE)
        await turns()
        wire.reply([b"what?"])
        with pytest.raises(InDoubt) as caught:
            await asking
        admitted(store, caught.value)
        for nonsense, number in ((7, 2), (None, 3), ([T], 4)):
            wire = await until(lambda number=number: len(FakeWire.made) == number and FakeWire.made[-1].written)
            if nonsense == [T]:
                assert names(store, wire) == ["settle"]
            else:
                assert names(store, wire) == ["resolve"]
            wire.reply(nonsense)
            if nonsense is None:
                await sent(wire, 2)
                wire.reply([T])
                nonsense = [T]
            if number == 3:
                break
        wire = await until(lambda: len(FakeWire.made) == 4 and FakeWire.made[-1].written)
        assert names(store, wire) == ["resolve"]
        wire.reply(wire.written[0][-1] + b" 1")
        await nothing_is_owed(store)

    run(store, test())


def test_scripts_are_sent_as_texts_where_they_are_gone(store: RedisStore) -> None:
    """NOSCRIPT did nothing: the same call goes again with its text, with the same number."""

    async def test() -> None:
        wire = await connected(store)
        admitted(store)
        await sent(wire, 1)
        wire.reply(NoScript("NOSCRIPT"))
        await sent(wire, 2)
        assert [call[0] for call in wire.written] == [b"EVALSHA", b"EVAL"]
        assert wire.written[0][-1] == wire.written[1][-1]
        wire.reply([T, 1])
        await nothing_is_owed(store)

    run(store, test())


def refused_the_call(wire: FakeWire) -> None:
    wire.reply(error_of("MISCONF no"))


def refused_the_items(wire: FakeWire) -> None:
    wire.reply([T, b"OOM no"])


@pytest.mark.parametrize("refuse", [refused_the_items, refused_the_call])
def test_a_server_that_writes_again(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[FakeWire], None]
) -> None:
    """Where a server was there and did not write, what was admitted meanwhile is charged before it decides again: while
    it refuses that, those who come are told at once."""
    monkeypatch.setattr(reconcile_module, "RETRY", 3_600)

    async def test() -> None:
        wire = await connected(store)
        calls = [ask(store, *MINE), ask(store, *OTHER)]
        await turns()
        wire.reply([T, *[-2, b"OOM no"] * 2])
        for failure in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(failure, StoreUnavailable)
            assert admitted(store, failure).allowed
        again = ask(store, *OTHER)
        await sent(wire, 2)
        assert names(store, wire)[1:] == ["settle"]
        refuse(wire)
        with pytest.raises(StoreUnavailable, match=r"^(OOM|MISCONF) no"):
            await again
        assert store.local().journal.open_units == 2
        again = ask(store, *OTHER)
        await sent(wire, 3)
        assert names(store, wire)[2:] == ["settle"]
        wire.reply([T, 1])
        await sent(wire, 4)
        assert names(store, wire)[3:] == ["acquire"]
        wire.reply([T, 1, 1])
        assert (await again).allowed
        await nothing_is_owed(store)

    run(store, test())


@pytest.mark.parametrize("whole", [True, False])
def test_who_waits_behind_a_refusal(store: RedisStore, *, whole: bool) -> None:
    """What the callers of a refused call admit now comes before those who wait: these are refused with them. On another
    error, of these callers alone, the others are decided for."""

    async def test() -> None:
        for said, goes_on in (("OOM no", False), ("WRONGTYPE no", True)):
            wire = await connected(store)
            first = ask(store, *MINE)
            await turns()
            second = ask(store, *OTHER)
            await turns()
            wire.reply(error_of(said) if whole else [T, -2, said.encode()])
            await turns()
            with pytest.raises(StoreUnavailable, match=said):
                await first
            assert names(store, wire) == ["acquire", *["acquire"] * goes_on]
            if goes_on:
                wire.reply([T, 1, 1])
                assert (await second).allowed
            else:
                with pytest.raises(StoreUnavailable, match=said):
                    await second

    run(store, test())


def test_a_refusal_is_told_at_once(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls what is owed takes: after the first that a server refuses for all, those who wait are told."""
    monkeypatch.setattr(reconcile_module, "RETRY", 3_600)
    monkeypatch.setattr(debts_module, "ITEMS", 1)

    async def test() -> None:
        wire = await connected(store)
        for number in range(5):
            admitted(store, charges=(quota(9, key=f"k{number}"),))
        asking = ask(store, *OTHER)
        await sent(wire, 1)
        wire.reply(error_of("OOM no"))
        with pytest.raises(StoreUnavailable, match="OOM no"):
            await asking
        assert names(store, wire) == ["settle"]
        assert store.local().journal.open_units == 5
        asking = ask(store, *OTHER)
        for number in range(5):
            await sent(wire, 2 + number)
            wire.reply([T, 1])
        await sent(wire, 7)
        wire.reply([T, 1, 1])
        assert (await asking).allowed

    run(store, test())


def test_a_slow_node_that_settles_nothing(cluster: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a slot on its way keeps what is owed, its node decides, however long a reply takes."""
    monkeypatch.setattr(reconcile_module, "RETRY", 3_600)
    monkeypatch.setattr(breaker_module, "PAUSE", 0.001)
    mine = of(user_in(range(100)), quota(9, key="mine"))

    async def test() -> None:
        Node.slots = whole(7_000)
        await nodes_of(cluster)._learn()
        admitted(cluster, charges=mine)
        asking, said = ask(cluster, *mine), list[str]()
        while not asking.done() and len(said) < 9:
            await comes(lambda: Node.made[7_000].names)
            await asyncio.sleep(0.005)
            node = Node.made[7_000]
            said.append("settle" if node.written[0][1].decode() == cluster.scripts.settle.sha else "acquire")
            node.say("TRYAGAIN no" if said[-1] == "settle" else [T, 1, 1])
            await turns()
        assert (await asking).allowed
        assert said == ["settle", "settle", "acquire"]  # the second of this counter alone

    run(cluster, test())


def test_what_is_admitted_while_it_is_settled(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is decided for when nothing is owed any more, also of what came meanwhile; and where the store has
    something to give back only, at once."""
    monkeypatch.setattr(reconcile_module, "RETRY", 3_600)

    async def test() -> None:
        wire = await connected(store)
        admitted(store)
        asking = ask(store, *OTHER)
        await sent(wire, 1)
        admitted(store)
        wire.reply([T, 1])
        await sent(wire, 2)
        assert names(store, wire) == ["settle", "settle"]
        wire.reply([T, 1])
        await sent(wire, 3)
        wire.reply([T, 1, 1])
        assert (await asking).allowed
        store.local().give_back(MINE, 1, T, b"1")
        asking = ask(store, *OTHER)
        await turns()
        assert names(store, wire)[2:] == ["acquire", "acquire"]
        wire.reply([T, 1, 1])
        assert (await asking).allowed

    run(store, test())


def test_what_is_refused_is_owed(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a call is refused, or a period has not begun by the store's clock, it is tried again; others go on."""
    monkeypatch.setattr(debts_module, "ITEMS", 1)

    async def test() -> None:
        wire = await connected(store)
        admitted(store)
        admitted(store, charges=OTHER)
        for reply in (Replied("OOM no"), [T, 2], [T, 2], [T, 1], [T, 1]):
            number = len(wire.written)
            await sent(wire, number + 1)
            wire.reply(reply)
        await nothing_is_owed(store)
        assert [call[3].rpartition(b":")[2] for call in wire.written] == [b"mine", b"other", b"mine", b"other", b"mine"]

    run(store, test())


def test_nothing_passes_a_call_in_doubt(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a settlement is lost, what was to come after it waits until that is known."""
    monkeypatch.setattr(debts_module, "ITEMS", 1)

    async def test() -> None:
        wire = await connected(store)
        admitted(store)
        admitted(store, charges=OTHER)
        await sent(wire, 1)
        wire.lose("it broke")
        wire = await until(lambda: len(FakeWire.made) == 2 and FakeWire.made[-1].written)
        await turns(10)
        assert names(store, wire) == ["resolve"]
        wire.reply(wire.written[0][-1] + b" 1")
        await sent(wire, 2)
        assert (names(store, wire)[1], wire.written[1][3]) == ("settle", b"ratelimit:{user=ana}:other")
        wire.reply([T, 1])
        await nothing_is_owed(store)

    run(store, test())


def test_a_single_node_that_sends_elsewhere(store: RedisStore) -> None:
    """A node of a cluster that is used as a single one: what it refuses is owed, and tried again."""

    async def test() -> None:
        wire = await connected(store)
        admitted(store)
        await sent(wire, 1)
        wire.reply(Moved("MOVED 1 h:1"))
        await sent(wire, 2)
        wire.reply([T, 1])
        await nothing_is_owed(store)

    run(store, test())


def test_after_a_day_nobody_knows(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was lost longer ago than markers are kept counts as applied, and nothing is asked."""

    async def test() -> None:
        monkeypatch.setattr(reconcile_module, "LIFE", 0)
        wire = await connected(store)
        admitted(store, await lost(store, wire))
        await nothing_is_owed(store)
        assert [call for wire in FakeWire.made[1:] for call in wire.written] == []

    run(store, test())


def test_a_marker_of_a_later_call(store: RedisStore) -> None:
    """Where the marker has passed the number, nobody knows: nothing is charged twice."""

    async def test() -> None:
        wire = await connected(store)
        admitted(store, await lost(store, wire))
        wire = await until(lambda: len(FakeWire.made) == 2 and FakeWire.made[-1].written)
        wire.reply(b"%016d %d" % (99, T))
        await nothing_is_owed(store)
        assert names(store, wire) == ["resolve"]

    run(store, test())


def test_a_line_that_was_full(store: RedisStore) -> None:
    """A connection that takes more again is no new one: nothing is settled for that."""

    async def test() -> None:
        wire = await connected(store)
        queue = queue_of(store)
        admitted(store)
        queue._connected()
        assert wire.written == []

    run(store, test())


def test_settling_goes_on_by_itself(store: RedisStore) -> None:
    """Where nobody asks any more, a connection is made to settle what is owed."""

    async def test() -> None:
        (await connected(store)).lose("it broke")
        admitted(store)
        wire = await until(lambda: len(FakeWire.made) == 2 and FakeWire.made[-1].written)
        assert names(store, wire) == ["settle"]
        wire.reply([T, 1])
        await nothing_is_owed(store)

    run(store, test())


def test_a_node_that_nothing_is_owed_to(store: RedisStore) -> None:
    """No connection is made for it, where another one of a cluster is looked for."""

    async def test() -> None:
        (await connected(store)).lose("it broke")
        side_of(store).owed._look()
        await turns(10)
        assert len(FakeWire.made) == 1

    run(store, test())


def test_slots_that_the_store_gave(store: RedisStore) -> None:
    """Slots that this process holds from the store count without it, and those that others were seen to hold; one
    that is given back meanwhile does not."""
    charges = (concurrency(4, key="cap"), rate(9, 60_000, key="r"))

    async def test() -> None:
        wire = await connected(store)
        asking = ask(store, *charges)
        await turns()
        wire.reply([T, 1, 3, 1])
        decision = await asking
        assert admitted(store, charges=charges).states[0].used == 4
        side_of(store).leases.post_release(decision.leases)
        assert not admitted(store, charges=()).states
        again = admitted(store, charges=charges)
        assert (again.allowed, again.states[0].used) == (True, 4)

    run(store, test())


def test_a_slot_that_nobody_has(cluster: ClusterStore) -> None:
    """On a cluster what is owed waits until a node has its slot, and is charged there."""
    charges = of(user_in(range(100)), quota(9, key="mine"))

    async def test() -> None:
        assert cluster.local().decide(charges, StoreUnavailable("away")).allowed
        assert cluster.local().decide((), StoreUnavailable("away")).allowed
        Node.slots = whole(7_000)
        await nodes_of(cluster)._learn()
        await comes(lambda: b"EVALSHA" in Node.made[7_000].names)
        Node.made[7_000].say([T, 1])
        await nothing_is_owed(cluster)

    run(cluster, test())


def test_a_slot_that_has_moved(cluster: ClusterStore) -> None:
    """What is owed goes with its slot, also where the node that had it has lost the script before it says so."""
    charges = of(user_in(range(100)), quota(9, key="mine"))

    async def test() -> None:
        Node.slots = whole(7_000)
        await nodes_of(cluster)._learn()
        assert cluster.local().decide(charges, StoreUnavailable("away")).allowed
        await comes(lambda: b"EVALSHA" in Node.made[7_000].names)
        Node.made[7_000].say("NOSCRIPT it was flushed")
        await comes(lambda: b"EVAL" in Node.made[7_000].names)
        Node.slots = whole(7_001)
        Node.made[7_000].say(f"MOVED {slot_of(f'ratelimit:{charges[0].key}')} h:7001")
        await comes(lambda: 7_001 in Node.made and b"EVALSHA" in Node.made[7_001].names)
        Node.made[7_001].say([T, 1])
        await nothing_is_owed(cluster)

    run(cluster, test())


async def has_written(port: int, *names: bytes) -> Node:
    await comes(lambda: port in Node.made and Node.made[port].names == [*names])
    return Node.made[port]


@pytest.mark.parametrize("said", ["ASK 5 h:7001", "TRYAGAIN no"])
@pytest.mark.parametrize("outcome", ["charged", "lost", "refused"])
def test_what_is_owed_in_a_slot_on_its_way(
    cluster: ClusterStore, monkeypatch: pytest.MonkeyPatch, said: str, outcome: str
) -> None:
    """With a marker beside it a counter is in no one place: each is charged by itself, where it is by now, before
    others are decided for. What is lost there counts as charged, what is refused is owed."""
    monkeypatch.setattr(reconcile_module, "RETRY", 3_600)
    user = user_in(range(100))
    mine, other = of(user, quota(9, key="mine")), of(user, quota(9, key="other"))

    async def test() -> None:
        Node.slots = whole(7_000)
        await nodes_of(cluster)._learn()
        nodes_of(cluster)._looked_at = float("inf")
        nodes_of(cluster)._at(Address("h", 7_001)).link.connect()
        for _ in range(2):
            admitted(cluster, charges=mine)
        admitted(cluster, charges=other)
        asking = ask(cluster, *mine)
        node = await has_written(7_000, b"EVALSHA")
        node.say(said)
        await has_written(7_000, b"EVALSHA", b"EVALSHA")
        assert [call[2:4] for call in node.written] == [
            [b"1", f"ratelimit:{charges[0].key}".encode()] for charges in (mine, other)
        ]
        assert node.written[0][4:7] == [b"", b"q", b"2"]
        node.say("ASK 5 h:7001")
        node.say([T, 1])
        there = await has_written(7_001, b"ASKING", b"EVAL")
        assert node.names == []
        if outcome == "lost":
            there.lose("it broke")
        else:
            there.say(b"OK")
            there.say([T, 1] if outcome == "charged" else "TRYAGAIN no")
        await has_written(7_000, b"EVALSHA")
        assert cluster.local().journal.open_units == (2 if outcome == "refused" else 0)
        node.say([T, 1, 3])
        assert (await asking).allowed

    run(cluster, test())


def test_who_has_the_slot_next_is_not_there_yet(cluster: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be sent at once stays owed: nobody would know whether it was sent."""
    monkeypatch.setattr(reconcile_module, "RETRY", 3_600)
    Node.slots = whole(7_000)
    mine = of(user_in(range(100)), quota(9, key="mine"))

    async def test() -> None:
        await nodes_of(cluster)._learn()
        nodes_of(cluster)._looked_at = float("inf")
        admitted(cluster, charges=mine)
        gate = queue_of(cluster).gate
        settling = gate.settle()
        for said in ("TRYAGAIN no", "ASK 5 nowhere", "TRYAGAIN no", "ASK 5 h:7001"):
            (await has_written(7_000, b"EVALSHA")).say(said)
            if said.startswith("ASK"):
                assert not await settling
                assert cluster.local().journal.open_units == 1
                settling = gate.settle()
        await comes(lambda: 7_001 in Node.made)
        settling.cancel()

    run(cluster, test())


def test_a_lost_call_that_two_nodes_are_asked_about(cluster: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slot has moved while one was asked: what is heard first counts, and both nodes go on."""
    monkeypatch.setattr(reconcile_module, "RETRY", 3_600)
    Node.slots = whole(7_000)
    mine = of(user_in(range(100)), quota(9, key="mine"))

    async def test() -> None:
        nodes = nodes_of(cluster)
        await nodes._learn()
        nodes._looked_at = float("inf")
        owed, told = side_of(cluster).owed, list[object]()
        number = nodes.slot_of(mine[0].key)
        owed.lose(owed.keys.next("calls", mine[0].key), number, time.monotonic(), told.append)
        settling = [queue_of(cluster).gate.settle()]
        await has_written(7_000, b"EVALSHA")
        nodes.masters[number] = there = nodes._at(Address("h", 7_001))
        settling.append(there.gate.settle())
        await has_written(7_001, b"EVALSHA")
        for port in (7_000, 7_001):
            Node.made[port].say(None)
        assert await asyncio.gather(*settling) == [True, True]
        assert told == [None]

    run(cluster, test())


def test_the_journal_of_nobody() -> None:
    """Without anything owed there is nothing to take."""
    assert Journal().take(lambda _: True) == []


def test_a_server_that_does_not_say(store: RedisStore) -> None:
    """Where the server does not say what became of a lost call, others do not wait for that: their calls go by another
    marker, and do not pass the number of the lost one. Where it has no memory for that, it has none for others."""

    async def test() -> None:
        wire = await connected(store)
        failure = await lost(store, wire)
        call = wire.written[-1]
        marker, number = call[2 + int(call[2])], call[3 + int(call[2])]
        admitted(store, failure)
        other = ask(store, *OTHER)
        wire = await until(lambda: len(FakeWire.made) == 2 and FakeWire.made[-1].written)
        wire.reply(error_of("OOM no"))
        with pytest.raises(StoreUnavailable, match="OOM no"):
            await other
        other = ask(store, *OTHER)
        await sent(wire, 2)
        assert names(store, wire) == ["resolve", "resolve"]
        wire.reply(error_of("ERR no"))
        await until(lambda: "acquire" in names(store, wire))
        wire.reply([T, 1, 1])
        assert (await other).allowed
        decided = next(call for call in wire.written if len(call) > 6)
        assert decided[3 + int(decided[2]) - 1] != marker
        await until(lambda: names(store, wire)[-1] == "resolve")
        assert wire.written[-1][3] == marker
        wire.reply(number + b" %d" % T)
        await nothing_is_owed(store)

    run(store, test())


@pytest.mark.parametrize("noise", [b"", b"   ", b"x", b"%016d x" % 2, b"%016d 5 1:x" % 2, 7], ids=repr)
def test_a_marker_that_is_none(store: RedisStore, noise: object) -> None:
    """What is no marker tells nothing: the connection is made anew, and the call is asked about again."""

    async def test() -> None:
        wire = await connected(store)
        admitted(store, await lost(store, wire))
        wire = await until(lambda: len(FakeWire.made) == 2 and FakeWire.made[-1].written)
        asked = list(wire.written)
        wire.reply(noise)
        wire = await until(lambda: len(FakeWire.made) == 3 and FakeWire.made[-1].written)
        assert wire.written == asked
        wire.reply(wire.written[0][-1] + b" %d" % T)
        await nothing_is_owed(store)

    run(store, test())


def test_a_slot_on_its_way(cluster: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost call whose slot is on its way to another node is asked about later: the other slots do not wait for it."""
    monkeypatch.setattr(reconcile_module, "RETRY", 3_600)
    Node.slots = whole(7_000)
    mine, other = (of(user_in(range(n, n + 100)), quota(9, key="mine")) for n in (0, 9_000))

    async def written(node: Node | None = None) -> Node:
        async with asyncio.timeout(5):
            while (now := Node.made.get(7_000)) in (None, node) or b"EVALSHA" not in now.names:  # noqa: ASYNC110
                await asyncio.sleep(0)
        return now

    async def test() -> None:
        asking = ask(cluster, *mine)
        first = await written()
        first.lose("it broke")
        with pytest.raises(InDoubt) as caught:
            await asking
        admitted(cluster, caught.value, mine)
        node = await written(first)
        deciding = ask(cluster, *other)
        node.say("ASK 5 h:7001")
        await written()
        node.say([T, 1, 1])
        assert (await deciding).allowed

    run(cluster, test())


def test_a_marker_that_was_left() -> None:
    """A second lost call of a marker that was left already does not make the others change theirs again."""
    tickets = IdempotencyKeys("p:", cluster=False)
    first, second = tickets.next("calls", "a"), tickets.next("calls", "b")
    tickets.leave(first)
    now = tickets.marker("calls")
    assert now != first.marker
    tickets.leave(second)
    assert tickets.marker("calls") == now


def test_a_period_that_is_over(store: RedisStore) -> None:
    """What does not count any more in the store is not owed any more, and is not taken for charged."""

    async def test() -> None:
        wire = await connected(store)
        admitted(store)
        await sent(wire, 1)
        wire.reply([T, OVER])
        await nothing_is_owed(store)
        assert names(store, wire) == ["settle"]

    run(store, test())
