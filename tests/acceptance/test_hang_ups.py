"""Whose caller has hung up works on for a lease in its slot, and after two it has none, though it may never end."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
from collections.abc import Awaitable
from contextlib import ExitStack
from typing import Any

import pytest

from ratelimit import RateLimitMiddleware, RedisStore, StoreUnavailable
from ratelimit.model import ASGIApp, Message, Scope
from ratelimit.stores.memory import MemoryStore
from tests import servers
from tests.acceptance import policy, scope_of, served
from tests.clocked import Clocked
from tests.stores import open_slots

LEASE = 20
CAP = f'{{ name = "in flight", concurrency = 1, lease = "{LEASE}s" }}'
GONE = {"type": "http.disconnect"}
EMPTY = {"type": "http.request", "body": b"", "more_body": False}
START = {"type": "http.response.start", "status": 200, "headers": []}
CHUNK = {"type": "http.response.body", "body": b"a", "more_body": True}
LINE = (
    "limit in flight: 1 slot given back, as the caller hung up a lease ago and the endpoint still runs; have it end at "
    "http.disconnect (in Starlette: request.is_disconnected())"
)


class Server:
    """Its `receive` gives the parts of a body, and from `hangs_up` (s) on http.disconnect; then `send` raises."""

    def __init__(self, hangs_up: float, *parts: Message) -> None:
        self._hangs_up = hangs_up
        self._parts = list(parts)
        self.asked = 0  # calls of `receive` that are under way

    async def receive(self) -> Message:
        if self._parts:
            return self._parts.pop(0)
        self.asked += 1
        try:
            await asyncio.sleep(self._hangs_up - self.now())
        finally:
            self.asked -= 1
        return GONE

    async def send(self, message: Message) -> None:
        if self.now() >= self._hangs_up:
            raise OSError("the caller has gone")

    def now(self) -> float:
        return asyncio.get_running_loop().jumped


def slots_of(limiter: RateLimitMiddleware) -> int:
    return open_slots(limiter.store)


def held(app: ASGIApp, server: Server, *times: float, scope: Scope | None = None, limits: str = CAP) -> list[int]:
    """How many slots are held at these times, while a request of that server's runs."""
    seen = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limiter = RateLimitMiddleware(app, policy(limits), store=MemoryStore(clock=lambda: int(loop.time() * 1_000)))
        request = asyncio.create_task(limiter(scope or scope_of(), server.receive, server.send))
        for at in times:
            await asyncio.sleep(at - loop.jumped)
            seen.append(slots_of(limiter))
        request.cancel()
        await asyncio.wait([request])
        assert slots_of(limiter) == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    drive(main())
    return seen


def drive(main: Awaitable[None]) -> None:
    loop = Clocked()
    problems: list[Any] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    try:
        loop.run_until_complete(main)
        gc.collect(0)  # what is never retrieved is told of now
    finally:
        loop.close()
    assert problems == []


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def never_asks(scope, receive, send) -> None:
    await for_ever()


async def asks(scope, receive, send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    await for_ever()


async def sends(scope, receive, send) -> None:
    await send(START)
    for _ in range(20):
        await asyncio.sleep(5)
        try:
            await send(CHUNK)
        except OSError:
            await for_ever()


async def reads_and_goes_on(scope, receive, send) -> None:
    while (await receive()).get("more_body"):
        pass
    await for_ever()


PARTS = [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.request", "body": b"b"}]


@pytest.mark.parametrize(
    ("app", "parts", "noticed"),
    [
        (asks, [EMPTY], 13),  # the app receives it
        (asks, PARTS, 13),
        (sends, PARTS, 15),  # a `send` raises
        (never_asks, [EMPTY], 13),  # there is no body: asked for since half a lease has passed
        (reads_and_goes_on, PARTS, 13),  # it was read to its end
    ],
)
def test_one_lease_more(app: ASGIApp, parts: list[Message], noticed: float, caplog: pytest.LogCaptureFixture) -> None:
    """From when a hang-up is noticed the slot is held for one lease more, and no longer; one line says so."""
    body = {"content_length": "2"} if parts is PARTS else {}
    with caplog.at_level(logging.WARNING, "ratelimit"):
        times = 12, noticed + LEASE - 1, noticed + LEASE + 1, 1_000
        assert held(app, Server(13, *parts), *times, scope=scope_of(**body)) == [1, 1, 0, 0]
    assert lines(caplog) == [LINE]


def test_a_hang_up_before_the_first_renewal() -> None:
    """Who hangs up at once is noticed at the first renewal: within two leases the slot is free."""
    assert held(never_asks, Server(1, EMPTY), 9, 29, 31) == [1, 1, 0]


@pytest.mark.parametrize("header", ["content_length", "transfer_encoding"])
def test_a_body_that_nobody_reads(header: str) -> None:
    """Of a body that the app does not read nothing is asked for: the slot is held until the call ends."""
    server = Server(13, *PARTS)
    assert held(never_asks, server, 1_000, scope=scope_of(**{header: "chunked"})) == [1]
    assert server._parts == PARTS


def test_a_body_that_no_header_told_of() -> None:
    """Where a body comes unannounced (HTTP/2), no more than its first part is taken, and it is handed on."""
    got = []

    async def app(scope, receive, send) -> None:
        await asyncio.sleep(30)
        got.extend([await receive(), await receive()])
        await for_ever()

    assert held(app, Server(100, *PARTS), 29, 31) == [1, 1]
    assert got == PARTS


def test_who_does_not_hang_up(caplog: pytest.LogCaptureFixture) -> None:
    """A request whose caller waits keeps its slot for as long as it takes."""
    assert held(never_asks, Server(10_000, EMPTY), 100, 1_000, 9_000) == [1, 1, 1]
    assert lines(caplog) == []


def test_an_endpoint_that_ends_in_time(caplog: pytest.LogCaptureFixture) -> None:
    """One that ends within a lease of the hang-up has its slot until then, and nothing is said."""

    async def app(scope, receive, send) -> None:
        await asyncio.sleep(25)

    assert held(app, Server(13, EMPTY), 24, 26) == [1, 0]
    assert lines(caplog) == []


def test_what_was_received_is_handed_on() -> None:
    """What came while the app did not ask it gets when it asks, each message once and in order."""
    got: list[Message] = []

    async def app(scope, receive, send) -> None:
        await asyncio.sleep(31)
        got.extend([await receive(), await receive(), await receive()])
        await for_ever()

    assert held(app, Server(13, EMPTY), 50) == [0]
    assert got == [EMPTY, GONE, GONE]


@pytest.mark.parametrize("patience", [None, 0, 0.5])
def test_an_app_that_asks_meanwhile(patience: float | None) -> None:
    """An app that asks while it is listened for gets what comes, also if it gives up waiting at times."""
    got: list[tuple[float, Message]] = []
    server = Server(13.25, EMPTY)

    async def app(scope, receive, send) -> None:
        got.append((0, await receive()))
        await asyncio.sleep(12)
        while len(got) < 2:
            assert server.asked <= 1  # never two at a time
            try:
                async with asyncio.timeout(patience):
                    got.append((round(server.now()), await receive()))
            except TimeoutError:
                await asyncio.sleep(0.1)
        await for_ever()

    assert held(app, server, 32, 35) == [1, 0]
    assert [message for _, message in got] == [EMPTY, GONE]


def test_an_error_of_receive() -> None:
    """What `receive` raises when it is listened to is the app's, when it asks; until then it is nobody's."""
    raised: list[str] = []

    class Broken(Server):
        async def receive(self) -> Message:
            raise OSError("broken")

    async def app(scope, receive, send) -> None:
        await asyncio.sleep(30)
        try:
            await receive()
        except OSError as error:
            raised.append(str(error))
        await for_ever()

    assert held(app, Broken(10_000), 31, 100) == [1, 1]
    assert raised == ["broken"]


@pytest.mark.parametrize("parts", [[EMPTY, EMPTY, EMPTY], [{"type": "http.other"}]])
def test_a_server_of_its_own_kind(parts: list[Message]) -> None:
    """A server that says more than it should is asked for no more of it, and the app gets that too."""
    got: list[Message] = []

    async def app(scope, receive, send) -> None:
        await asyncio.sleep(55)
        got.extend([await receive() for _ in parts])
        await for_ever()

    assert held(app, Server(10_000, *parts), 50, 60) == [1, 1]
    assert got == parts


def test_without_the_store(caplog: pytest.LogCaptureFixture) -> None:
    """A slot that this process gave by itself, as its store is away, ends in the same way."""

    class Away(MemoryStore):
        async def acquire(self, charges):
            raise StoreUnavailable("gone")

    async def main() -> None:
        more = '[store]\non_failure = "local"'
        limiter, server = RateLimitMiddleware(never_asks, policy(CAP, more=more), store=Away()), Server(33, EMPTY)
        request = asyncio.create_task(limiter(scope_of(), server.receive, server.send))
        for at, denied in ((32, True), (33 + LEASE - 1, True), (33 + LEASE + 1, False)):
            await asyncio.sleep(at - server.now())
            other, answer = Server(10_000), asyncio.Queue()
            asking = asyncio.create_task(limiter(scope_of(), other.receive, answer.put))
            await asyncio.sleep(0.1)
            assert bool(answer.qsize()) == denied
            asking.cancel()
            await asyncio.wait([asking])
        request.cancel()
        await asyncio.wait([request])

    drive(main())
    assert lines(caplog).count(LINE) == 1


def test_after_a_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    """Who hangs up when all was given back already is nobody's concern."""

    async def main() -> None:
        limiter, server = RateLimitMiddleware(asks, policy(CAP), store=MemoryStore()), Server(13)
        request = asyncio.create_task(limiter(scope_of(), server.receive, server.send))
        await asyncio.sleep(5)
        await limiter._leases.close()
        await asyncio.sleep(100)
        request.cancel()
        await asyncio.wait([request])

    drive(main())
    assert lines(caplog) == []


def test_an_app_that_ends_while_it_is_listened_for() -> None:
    """When the call ends nothing is asked of the server any more, and what the app raised is what is raised."""
    server = Server(10_000, EMPTY)

    async def app(scope, receive, send) -> None:
        await asyncio.sleep(15)
        assert server.asked == 1
        raise ValueError("the app's own")

    async def main() -> None:
        limiter = RateLimitMiddleware(app, policy(CAP), store=MemoryStore())
        with pytest.raises(ValueError, match="the app's own"):
            await limiter(scope_of(), server.receive, server.send)
        assert server.asked == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    drive(main())


def test_two_limits(caplog: pytest.LogCaptureFixture) -> None:
    """Of two limits each has its slot back by its own lease; and of many callers who hang up at once one line tells."""
    more = CAP.replace("in flight", "longer").replace("= 1", "= 9").replace(f"{LEASE}s", "60s")
    assert held(asks, Server(13), 32, 34, 72, 74, limits=f"{CAP}, {more}") == [2, 1, 1, 0]
    assert lines(caplog) == [LINE, LINE.replace("in flight", "longer")]


def test_many_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Of many callers who hung up at once a single line tells."""

    async def main() -> None:
        server, loop = Server(13), asyncio.get_running_loop()
        limiter = RateLimitMiddleware(asks, policy(CAP.replace("= 1", "= 9")), store=MemoryStore())
        requests = [asyncio.create_task(limiter(scope_of(), server.receive, server.send)) for _ in range(9)]
        await asyncio.sleep(40)
        assert not limiter._leases._held[loop]._due
        for request in requests:
            request.cancel()
        await asyncio.wait(requests)

    drive(main())
    assert lines(caplog) == [LINE.replace("1 slot", "9 slots")]


def test_short_requests_are_not_listened_for() -> None:
    """Nothing is asked of the server for a request that ends before half of its lease, though others are renewed."""
    server, long = Server(10_000), Server(10_000)

    async def app(scope, receive, send) -> None:
        await asyncio.sleep(4 if scope["path"] == "/short" else 11)
        assert server.asked == 0

    async def main() -> None:
        limiter = RateLimitMiddleware(app, policy(CAP.replace("= 1", "= 2")), store=MemoryStore())
        running = asyncio.create_task(limiter(scope_of(), long.receive, long.send))
        await asyncio.sleep(8)
        await limiter(scope_of("/short"), server.receive, server.send)
        await running

    drive(main())


def test_a_request_without_slots() -> None:
    """A request that holds no slot has the server's own `receive`."""

    async def app(scope, receive, send) -> None:
        assert receive == server.receive

    server = Server(10_000)
    limiter = RateLimitMiddleware(app, policy(), store=MemoryStore())
    drive(limiter(scope_of(), server.receive, server.send))


def test_the_store_is_away() -> None:
    """Where the slot can't be given back in time it is not renewed either: it ends with its lease, within two."""

    class Away(MemoryStore):
        async def release(self, leases) -> None:
            raise StoreUnavailable("gone")

    async def main() -> None:
        loop, server = asyncio.get_running_loop(), Server(13)
        store = Away(clock=lambda: int(loop.time() * 1_000))
        limiter = RateLimitMiddleware(asks, policy(CAP), store=store)
        request = asyncio.create_task(limiter(scope_of(), server.receive, server.send))
        await asyncio.sleep(13 + LEASE * 2)
        (slots,) = store._kept.slots.values()
        assert max(slots.leases.values()) <= int(loop.time() * 1_000)
        request.cancel()
        await asyncio.wait([request])

    drive(main())


def test_a_client_of_uvicorn(valkey: servers.Server, caplog: pytest.LogCaptureFixture) -> None:
    """When a real client has hung up on an endpoint that never ends, the slot is free for the next one by itself."""
    store, released = RedisStore(valkey.unix_url, prefix="hang-ups", timeout=10), threading.Event()
    release = store.release

    async def noted(leases) -> None:
        await release(leases)
        released.set()

    store.release = noted

    async def app(scope, receive, send) -> None:
        await send(START)
        await send(CHUNK)
        await for_ever()

    limiter = RateLimitMiddleware(app, policy(CAP.replace(f"{LEASE}s", "1s")), store=store)
    with served(limiter, lifespan="off", timeout_graceful_shutdown=0, log_config=None) as url, ExitStack() as stack:
        host, port = url.removeprefix("http://").split(":")

        def status() -> bytes:
            client = stack.enter_context(socket.create_connection((host, int(port))))
            client.sendall(b"GET /items/7 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk_live_ana\r\n\r\n")
            return client.recv(12).rpartition(b" ")[2]

        assert [status(), status()] == [b"200", b"429"]
        stack.pop_all().close()
        assert released.wait(10)
        assert status() == b"200"
    assert lines(caplog).count(LINE) == 1


def test_a_header_that_is_no_pair() -> None:
    """One request with a malformed header does not end the renewals, which are of all slots together."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    scope = scope_of()
    scope["headers"] = [*scope["headers"], (b"host",)]
    assert held(app, Server(30, EMPTY), 29, 49, 71, scope=scope) == [1, 1, 0]
