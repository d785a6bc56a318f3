"""A slot of a concurrency limit is held for as long as a connection lasts, and no longer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ratelimit import RateLimitMiddleware
from ratelimit.model import Message, Scope
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import limited, policy
from tests.stores import open_slots
from tests.websockets import ACCEPT, GONE, Connection, connect, echo, run, scope_of_a_handshake, settled, text

ONE = '{ name = "cap", concurrency = 1 }'
CLOSE: Message = {"type": "websocket.close"}


def slots(limiter: RateLimitMiddleware) -> int:
    store = limiter.store
    assert isinstance(store, MemoryStore)
    return open_slots(store)


def test_as_long_as_it_lasts() -> None:
    """At a cap of one there is one connection at a time; the next comes in when it has ended."""

    async def test() -> None:
        limiter = limited(echo, ONE)
        first = Connection(stays=True)
        call = asyncio.create_task(limiter(scope_of_a_handshake(), first.receive, first.send))
        await settled()
        assert slots(limiter) == 1
        first.says(text("hello"))
        await settled()
        assert first.kinds == ["accept", "send"]
        assert (await connect(limiter)).sent[0]["status"] == 429
        first.says(GONE)
        await call
        assert slots(limiter) == 0
        assert (await connect(limiter)).kinds == ["accept"]

    run(test())


ANSWER: list[Message] = [
    {"type": "websocket.http.response.start", "status": 401},
    {"type": "websocket.http.response.body", "body": b""},
]


@pytest.mark.parametrize(
    ("messages", "expected"), [([ACCEPT, CLOSE], [1, 0, 0]), ([CLOSE], [0, 0]), (ANSWER, [0, 0, 0])]
)
def test_free_before_the_server_is_told(messages: list[Message], expected: list[int]) -> None:
    """When the app closes, or answers a handshake, its slot is free before the server has that: the client's next
    handshake may come first. What the app does then holds none."""
    held: list[int] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
        held.append(slots(limiter))

    limiter = limited(app, ONE)

    async def test() -> None:
        async def send(message: Message) -> None:
            held.append(slots(limiter))

        await limiter(scope_of_a_handshake(), Connection().receive, send)
        assert held == expected

    run(test())


def test_an_accept_and_messages_hold_it() -> None:
    """Neither the accept nor what is sent ends it."""
    held: list[int] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        for message in (ACCEPT, {"type": "websocket.send", "text": "a"}, {"type": "websocket.send", "bytes": b"b"}):
            await send(message)
            held.append(slots(limiter))

    limiter = limited(app, ONE)
    run(connect(limiter))
    assert held == [1, 1, 1]
    assert slots(limiter) == 0


def test_a_connection_that_is_cancelled() -> None:
    """A server that ends cancels its connections, and their slots are free."""

    async def test() -> None:
        limiter = limited(echo, ONE)
        connection = Connection(stays=True)
        call = asyncio.create_task(limiter(scope_of_a_handshake(), connection.receive, connection.send))
        await settled()
        assert slots(limiter) == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert slots(limiter) == 0

    run(test())


def on_a_short_lease(app: Any) -> tuple[RateLimitMiddleware, list[int]]:
    """With a clock of the store that a test moves."""
    now = [1_772_359_200_000]
    made = policy('{ name = "cap", concurrency = 1, lease = "1s" }')
    return RateLimitMiddleware(app, made, store=MemoryStore(clock=lambda: now[0])), now


def test_renewed() -> None:
    """It is held for longer than a lease, while the app asks for messages and while it does not; a message that
    comes meanwhile is the app's, in its order, and so is the client's end."""
    seen: list[Message] = []

    async def test() -> None:
        going_on = asyncio.Event()

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            await receive()
            await send(ACCEPT)
            await going_on.wait()
            seen.extend([await receive() for _ in range(4)])

        limiter, now = on_a_short_lease(app)
        connection = Connection(stays=True)
        call = asyncio.create_task(limiter(scope_of_a_handshake(), connection.receive, connection.send))
        await settled()
        (renewals,) = limiter._leases._held.values()
        for number in range(3):
            if number == 1:
                connection.says(text("a"), text("b"), text("c"))
            now[0] += 600
            renewals._due = dict.fromkeys(renewals._due, 0.0)
            renewals._looks = {lease: (0.0, look) for lease, (_, look) in renewals._looks.items()}
            renewals._wake()
            await settled()
            assert slots(limiter) == 1
        assert connection.received < 4  # two at most are read ahead
        going_on.set()
        connection.says(GONE)
        await call
        assert seen == [text("a"), text("b"), text("c"), GONE]
        assert slots(limiter) == 0

    run(test())


def test_a_client_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """A client that went away does not hold a slot for ever by an app that does not look: a lease after it was noticed
    the slot is given back."""

    async def test() -> None:
        async def app(scope: Scope, receive: Any, send: Any) -> None:
            await receive()
            await send(ACCEPT)
            await asyncio.Event().wait()

        limiter, _ = on_a_short_lease(app)
        connection = Connection()  # gone at once
        call = asyncio.create_task(limiter(scope_of_a_handshake(), connection.receive, connection.send))
        await settled()
        (renewals,) = limiter._leases._held.values()
        for _ in range(2):
            renewals._due = dict.fromkeys(renewals._due, 0.0)
            renewals._looks = {lease: (0.0, look) for lease, (_, look) in renewals._looks.items()}
            renewals._orphans = {lease: (0.0, limit) for lease, (_, limit) in renewals._orphans.items()}
            renewals._wake()
            await settled()
        assert slots(limiter) == 0
        call.cancel()
        await asyncio.wait([call])

    run(test())
    assert "limit cap: 1 slot given back, as the caller hung up a lease ago" in caplog.text


def test_a_send_that_fails() -> None:
    """An error of the server, as of a client that is gone, is the app's; its slot is known to wait for nobody."""

    async def test() -> None:
        async def app(scope: Scope, receive: Any, send: Any) -> None:
            await send(ACCEPT)
            with pytest.raises(OSError, match="gone"):
                await send({"type": "websocket.send", "text": "a"})
            (renewals,) = limiter._leases._held.values()
            assert len(renewals._orphans) == 1

        async def send(message: Message) -> None:
            if message["type"] == "websocket.send":
                raise OSError("gone")

        limiter, _ = on_a_short_lease(app)
        await limiter(scope_of_a_handshake(), Connection().receive, send)
        assert slots(limiter) == 0

    run(test())
