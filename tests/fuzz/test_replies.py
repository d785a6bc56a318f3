"""What a server sends: whatever it is, each caller has a decision or StoreUnavailable, at once, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ratelimit.model import Charge, Decision, Identity, Lease, StoreUnavailable
from ratelimit.stores.connection import link as link_module
from ratelimit.stores.connection.errors import Redirected, error_of
from ratelimit.stores.connection.handshake import Address
from ratelimit.stores.connection.socket import Socket
from ratelimit.stores.lua.scripts import Scripts
from ratelimit.stores.redis import RedisStore
from ratelimit.stores.routing.nodes import ClusterNodes
from ratelimit.stores.routing.slotmap import SLOTS, ranges_of
from ratelimit.stores.routing.urls import ClusterUrl
from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed
from tests.fuzz import edited, fuzzed, grows_linearly
from tests.stores import concurrency, quota, rate
from tests.stores.wires import FakeTransport, T, turns

pytestmark = pytest.mark.repeated

STYLES = [Facturapi(expose_limits=True), Ietf(), Lendworks(), Lightspeed(reset_header=True, legacy_body=True)]
ANA = Identity(user="ana", tier="basic")


def reserving(charge: Charge) -> Charge:
    return replace(charge, limit=replace(charge.limit, reserve=True))


CALLERS: list[tuple[Charge, ...]] = [
    (rate(9, 60_000),),
    (rate(9, 60_000, cost=2), quota(9), concurrency(3)),
    (quota(9, "day", "Europe/Berlin"), rate(0, 1_000, mode="shadow")),
    (reserving(rate(1_000, 60_000)),),
]
SHADOWS = {2: {1}}  # of which caller which charges
ODD: list[Any] = [
    -3,
    -2,
    -1,
    0,
    1,
    2,
    3,
    True,
    None,
    1.5,
    b"",
    b"x",
    b"-1",
    [],
    [1],
    2**47,
    2**53,
    2**63 - 1,
    -(2**63),
    T,
]


@st.composite
def replies(draw: st.DrawFn) -> tuple[list[int], list[Any], list[str]]:
    """Which callers asked, what a server with this script says, and what each is to hear."""
    asked = draw(st.lists(st.integers(0, len(CALLERS) - 1), min_size=1, max_size=4, unique=True))
    reply: list[Any] = [T + draw(st.integers(0, 5_000))]
    heard = []
    for who in asked:
        size, shadows = len(CALLERS[who]), SHADOWS.get(who, set())
        verdict = draw(st.sampled_from([1, 1, 2, 0, 0, -2]))
        reply.append(verdict)
        if verdict == 1:
            reply += draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))
        elif verdict == -2:
            reply.append(draw(st.sampled_from([b"WRONGTYPE", b"WRONGTYPE x", b"\x1b[2J\n" * 500])))
        else:
            denying = draw(st.sampled_from([c for c in range(size) if c not in shadows])) if verdict == 0 else -1
            for c in range(size):
                exceeded = c == denying or (c in shadows and draw(st.booleans()))
                wait = draw(st.integers(-1, 60_000)) if exceeded else 0
                reply += [int(exceeded), draw(st.integers(0, 9)), draw(st.integers(0, 60_000)), wait]
        if who == 3 and verdict > 0:
            reply += draw(st.sampled_from([[0, 0], [0, 500], [7, 900]]))
        heard.append({0: "denied", -2: "unavailable"}.get(verdict, "allowed"))
    return asked, reply, heard


def written(value: Any) -> bytes:
    """A value as the protocol has it."""
    if isinstance(value, list):
        return b"*%d\r\n%b" % (len(value), b"".join(map(written, value)))
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, bool | float):
        return b"#t\r\n" if isinstance(value, bool) else b",%r\r\n" % value
    return b"_\r\n" if value is None else b":%d\r\n" % value


def told(outcome: object) -> str:
    """What a caller was told, in every style: one that can't be said would be a 500."""
    if isinstance(outcome, StoreUnavailable):
        assert len(str(outcome)) < 1_000
        assert str(outcome).isprintable()
        return "unavailable"
    assert isinstance(outcome, Decision), outcome
    for style in STYLES:
        if outcome.allowed:
            style.headers(outcome, ANA, "id")
        else:
            style.denied(outcome, ANA, "id")
    return "allowed" if outcome.allowed else "denied"


def outcomes(asked: Sequence[int], pieces: Sequence[bytes], *, renewed: Sequence[Lease] = ()) -> list[Any]:
    """What those who asked hear from a server that sends these bytes and then ends; nobody waits any longer."""
    sockets: list[Socket] = []

    async def connect(_: object, on_reply: Any, on_lost: Any, __: object) -> Socket:
        sockets.append(Socket(FakeTransport(), on_reply, on_lost))  # type: ignore[arg-type]
        return sockets[-1]

    async def test() -> list[Any]:
        store = RedisStore("redis://nowhere", timeout=60)
        calls: list[Any] = [store.acquire(CALLERS[who]) for who in asked]
        calls += [store.renew(renewed)] if renewed else []
        tasks = [asyncio.ensure_future(call) for call in calls]
        await turns(6)
        for piece in pieces:
            sockets[0].data_received(piece)
            await turns(2)
        for _ in range(9):  # each that is connected after it ends too
            sockets[-1].connection_lost(None)
            await turns(6)
        assert all(task.done() for task in tasks), "somebody waits"
        await store.close()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link_module, "connect", connect)
        patch.setattr(link_module, "GOODBYE", 0.01)  # of each example: what closes waits for replies that never come
        return asyncio.run(test())


@fuzzed
@given(replies())
def test_as_it_should_be(said: tuple[list[int], list[Any], list[str]]) -> None:
    """Of a true reply each caller hears what it says to it."""
    asked, reply, heard = said
    assert [told(outcome) for outcome in outcomes(asked, [written(reply)])] == heard


@fuzzed
@given(replies(), st.lists(st.tuples(st.integers(0, 60), st.sampled_from(ODD)), min_size=1, max_size=3))
@example(([0], [T, 1, 1], []), [(2, b"x")])  # came out in the app
@example(([0], [T, 1, 1], []), [(2, 1.5)])
@example(([0], [T, 0, 1, 9, 1, 1], []), [(2, 0)])  # denied by no limit
@example(([0], [T, 1, 1], []), [(0, 2**63 - 1)])
@example(([3], [T, 1, 1, 7, 900], []), [(4, 2**62)])  # units for ever
def test_another_value(said: tuple[list[int], list[Any], list[str]], odd: list[tuple[int, Any]]) -> None:
    """With values put in the place of others, each caller hears something that can be told to a client."""
    asked, reply, _ = said
    for at, value in odd:
        reply[at % len(reply)] = value
    for outcome in outcomes(asked, [written(reply)]):
        told(outcome)


WRITTEN = replies().map(lambda said: (said[0], written(said[1])))
PIECES = [
    b"\r\n",
    b"\r",
    b"*",
    b"$",
    b":",
    b"-",
    b"+",
    b"%",
    b"~",
    b">",
    b"_",
    b"#t\r\n",
    b",nan\r\n",
    b"(9\r\n",
    b"0",
    b"-1",
    b"9" * 12,
]
PIECES += [
    b"*0\r\n",
    b"%1\r\n*0\r\n:1\r\n",
    b"*4294967295\r\n",
    b"-ERR x\r\n",
    b"-NOSCRIPT x\r\n",
    b"-WRONGTYPE x\r\n",
    b"\0",
    b"\xff",
    b"$5\r\n",
]


@fuzzed
@given(st.data())
@example(None)
def test_any_bytes(data: st.DataObject | None) -> None:
    """A reply with edits, in pieces: each caller has an answer, and so has whoever renews a lease."""
    if data is None:
        asked, sent, cut = [0], b"%1\r\n*0\r\n:1\r\n", 3  # a list as a key, which is no protocol error to the parser
    else:
        asked, sent = data.draw(WRITTEN)
        sent = data.draw(edited(st.just(sent), PIECES))
        cut = data.draw(st.integers(0, len(sent)))
    for outcome in outcomes(asked, [sent[:cut], sent[cut:]]):
        told(outcome)


@fuzzed
@given(edited(st.lists(st.sampled_from([0, 1]), min_size=2, max_size=2), [[odd] for odd in ODD]) | st.sampled_from(ODD))
def test_renewals(reply: Any) -> None:
    """A renewal returns leases that are lost, some of those that it was asked for, or raises StoreUnavailable."""
    leases = [Lease("{user=ana}:c", f"{n}/60000", 60_000) for n in range(2)]
    (outcome,) = outcomes([], [written(reply)], renewed=leases)
    assert isinstance(outcome, StoreUnavailable) or outcome == [
        lease for lease, kept in zip(leases, reply, strict=True) if not kept
    ]


RUNS = st.lists(
    st.tuples(
        st.integers(0, SLOTS - 1),
        st.integers(0, SLOTS - 1),
        st.tuples(st.sampled_from([b"10.0.0.1", b"", b"\xff", None, *ODD]), st.sampled_from([7000, 0, *ODD])).map(list),
    ).map(list),
    max_size=3,
)


@fuzzed
@given(edited(RUNS, [[odd] for odd in ODD]) | st.sampled_from(ODD))
def test_who_has_which_slots(reply: Any) -> None:
    """What CLUSTER SLOTS says is runs of slots, each with an address, or no map at all."""
    try:
        ranges = ranges_of(reply, Address("h", 7000))
    except (TypeError, ValueError):
        return
    assert ranges
    for first, last, (host, port) in ranges:
        assert 0 <= first <= last < SLOTS
        assert type(first) is type(last) is type(port) is int
        assert type(host) is str
        assert host


MOVES = st.sampled_from(["MOVED 7 10.0.0.7:7001", "ASK 7 :7001", "MOVED 7 ::1:7001", "TRYAGAIN x", "ASK 7 h:0"])


@fuzzed
@given(edited(MOVES, [" ", ":", "@", "/", "?", "#", "%", "[", "]", "é", "\0", "\n", "9" * 6, "-", "?db=x", "MOVED"]))
def test_where_a_slot_has_gone(text: str) -> None:
    """What a node says of where a slot is leads to a node or nowhere, and never says the password."""

    async def test() -> None:
        router = ClusterNodes(ClusterUrl.of("redis+cluster://ana:s3cret@h:7000"), Scripts(), "p:", 0.1)
        router.refresh = lambda: None  # type: ignore[method-assign]
        reply = error_of(text.encode())
        assert "s3cret" not in str(reply)
        queue = router._at(Address("h", 7000))
        if isinstance(reply, Redirected):
            router.follow(queue, 7, reply)
        await router.close()

    asyncio.run(test())


@pytest.mark.parametrize(
    "unit", [b":1\r\n", b"-ERR x\r\n", b"$1\r\nx\r\n", b">1\r\n:1\r\n", b"*0\r\n", b"_\r\n", b"$9"]
)
def test_time(unit: bytes) -> None:
    """Four times the bytes take no more than linear work."""

    def read(data: bytes) -> None:
        Socket(FakeTransport(), lambda _: None, lambda _: None).data_received(data)  # type: ignore[arg-type]

    assert grows_linearly(read, lambda n: unit * (n // len(unit)), 20_000)
    assert grows_linearly(read, lambda n: b"*%d\r\n" % n + unit * (n // len(unit)), 20_000)
