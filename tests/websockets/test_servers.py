"""On each server a real client sees the same: handshakes denied, caps held, slots that come back, messages that are
charged."""

from __future__ import annotations

import asyncio
import json
import resource
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.stores.memory import MemoryStore
from tests import servers
from tests.acceptance import served
from tests.acceptance.serving import served_by
from tests.acceptance.test_processes_that_end import LEASE_MS, Site
from tests.acceptance.test_trio import served as served_on_trio
from tests.stores import open_slots

with warnings.catch_warnings(action="ignore"):  # uvicorn's oldest is on what websockets has deprecated
    import uvicorn.protocols.websockets.websockets_impl  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore:remove second argument of ws_handler:DeprecationWarning")

SERVERS = (
    "uvicorn-websockets",
    "uvicorn-websockets-sansio",
    "uvicorn-wsproto",
    "hypercorn",
    "hypercorn-trio",
    "granian",
)
NO_HEADERS = {"granian"}  # these send none that an app gives with its accept

CAP = 40
POLICY = """
style = "ietf"
[operations]
none = ["WEBSOCKET /{how}/none"]
one = ["WEBSOCKET /{how}/one", "WEBSOCKET /{how}/bye"]
[websocket]
messages = "message"
on_excess = "{how}"
[tiers.anonymous]
limits = [
  {{ name = "all", rate = "100000/day" }},
  {{ name = "none", rate = "0/day", operations = ["none"] }},
  {{ name = "one", concurrency = 1, operations = ["one"] }},
  {{ name = "cap", concurrency = {cap}, operations = ["connect"] }},
  {{ name = "messages", rate = "{rate}", operations = ["message"], per = "ip" }},
]
"""
RATES = {"close": "3/day", "drop": "3/day", "wait": "20/second"}


async def echo(websocket: WebSocket) -> None:
    await websocket.accept(*websocket.scope["subprotocols"])
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            said = message.get("text")
            await websocket.send_text(said if said is not None else message["bytes"].decode())
            if said == "dropped":
                await websocket.send_text(str(websocket.scope["ratelimit.dropped"].count))
    except WebSocketDisconnect:
        return


async def bye(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


@dataclass
class Place:
    """A server, and the stores behind its limiters."""

    name: str
    url: str
    limiters: dict[str, RateLimitMiddleware]

    def slots(self) -> int:
        return sum(open_slots(limiter.store) for limiter in self.limiters.values())  # type: ignore[arg-type]

    @asynccontextmanager
    async def client(self, path: str, **options: Any) -> AsyncIterator[ClientConnection]:
        url = self.url.replace("http://", "ws://")
        async with connect(f"{url}{path}", proxy=None, ping_interval=None, **options) as client:
            yield client

    async def none_is_held(self) -> None:
        await come_about(lambda: self.slots() == 0)


async def come_about(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - it happens in another thread
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module", params=SERVERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with placed(request.param, CAP) as made:
        yield made


@contextmanager
def placed(name: str, cap: int) -> Iterator[Place]:
    routes = [WebSocketRoute(path, echo) for path in ("/feed", "/one", "/none")]
    routes.append(WebSocketRoute("/bye", bye))
    limiters = {
        how: RateLimitMiddleware(
            Starlette(routes=routes),
            parse_policy(POLICY.format(how=how, rate=rate, cap=cap), how),
            store=MemoryStore(),
        )
        for how, rate in RATES.items()
    }
    app = Starlette(routes=[Mount(f"/{how}", app=limiter) for how, limiter in limiters.items()])
    if name == "hypercorn-trio":
        server = served_on_trio(app)
    elif name.startswith("uvicorn-"):
        server = served(app, ws=name.removeprefix("uvicorn-"), proxy_headers=False)
    else:
        server = served_by(name, app)
    with server as url:
        yield Place(name, url, limiters)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(50):
            await test()

    asyncio.run(bounded())


def test_a_denied_handshake(place: Place) -> None:
    """A client reads the style's answer: the status, each header once, the body."""

    async def test() -> None:
        with pytest.raises(InvalidStatus) as denied:
            async with place.client("/close/none"):
                pass
        response = denied.value.response
        assert response.status_code == 403  # of what can never pass
        names = [name.lower() for name, _ in response.headers.raw_items()]
        assert len(names) == len({*names})
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-type"] == "application/problem+json"
        assert int(response.headers["content-length"]) == len(response.body)
        assert json.loads(response.body)["violated-policies"] == ["none"]

    run(test)


def test_an_accepted_handshake(place: Place) -> None:
    """The accept carries the style's headers, and its own work: a subprotocol, an echo."""

    async def test() -> None:
        async with place.client("/drop/feed", subprotocols=["chat"]) as client:
            assert client.response is not None
            assert client.subprotocol == "chat"
            assert ("ratelimit" in client.response.headers) is (place.name not in NO_HEADERS)

    run(test)


async def opened(stack: AsyncExitStack, place: Place, count: int) -> tuple[list[ClientConnection], list[int]]:
    """So many at once: those that were accepted, and the statuses of the others."""

    async def one() -> ClientConnection | int:
        try:
            return await stack.enter_async_context(place.client("/close/feed", open_timeout=50))
        except InvalidStatus as denied:
            return denied.response.status_code

    made = await asyncio.gather(*(one() for _ in range(count)))
    return [m for m in made if isinstance(m, ClientConnection)], [m for m in made if isinstance(m, int)]


async def caps(place: Place, count: int) -> None:
    async with AsyncExitStack() as stack:
        accepted, denied = await opened(stack, place, count)
        assert len(accepted) == CAP * count // 50
        assert set(denied) == {429}
        assert place.slots() == len(accepted)
        for client in accepted[: len(accepted) // 2]:  # the network is cut: no closing handshake, no FIN in order
            client.transport.abort()
        await come_about(lambda: place.slots() == len(accepted) - len(accepted) // 2)
        again, denied = await opened(stack, place, len(accepted) // 2)
        assert len(again) == len(accepted) // 2
        assert denied == []
        assert place.slots() == len(accepted)
    await place.none_is_held()


def test_caps(place: Place) -> None:
    """Of 50 connections at once as many are accepted as the cap says; those that are cut off, and those that are
    closed, make room for others."""
    run(lambda: caps(place, 50))


@pytest.mark.proof
@pytest.mark.parametrize("name", ["uvicorn-websockets-sansio", "hypercorn"])
def test_a_thousand(name: str) -> None:
    """The same of a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 10_000)), hard))
    with placed(name, CAP * 20) as place:
        run(lambda: caps(place, 1_000))


def test_one_after_the_other(place: Place) -> None:
    """At a cap of one who waits for the app's close, and then connects again, is never denied."""

    async def test() -> None:
        for _ in range(30):
            async with place.client("/close/bye") as client:
                await client.wait_closed()
        await place.none_is_held()

    run(test)


def test_a_message_too_much_closes(place: Place) -> None:
    """Text, binary and fragments count one each; the one beyond is answered with 1008 and the wait."""

    async def test() -> None:
        async with place.client("/close/one") as client:
            for said in ("a", b"b", ["c", "d", "e"]):
                await client.send(said)
                assert await client.recv() == {"a": "a", b"b": "b"}.get(
                    said if isinstance(said, str | bytes) else "", "cde"
                )
            await client.send("f")
            with pytest.raises(ConnectionClosedError) as closed:
                await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert closed.value.rcvd.reason.startswith("rate limit exceeded, retry after ")
        await place.none_is_held()

    run(test)


def test_a_message_too_much_is_dropped(place: Place) -> None:
    """It is not answered, and the app knows how many there were; the connection stays."""

    async def test() -> None:
        async with place.client("/drop/one") as client:
            for number in range(3):
                await client.send(str(number))
                assert await client.recv() == str(number)
            for number in range(5):
                await client.send(str(number))
            pong = await client.ping()
            await pong
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.recv(), 0.05)
        await place.none_is_held()

    run(test)


def test_a_message_too_much_waits(place: Place) -> None:
    """None is lost, and they stay in order."""

    async def test() -> None:
        async with place.client("/wait/one") as client:
            said = [str(number) for number in range(45)]
            sending = asyncio.gather(*(client.send(text) for text in said))
            assert [await client.recv() for _ in said] == said
            await sending
        await place.none_is_held()

    run(test)


@pytest.mark.proof
def test_a_worker_that_is_killed(valkey: servers.Server, tmp_path: Path) -> None:
    """The slots of a worker live on for longer than a lease while its connections are open, and end within one lease of
    `kill -9`."""
    with ExitStack() as stack:
        site = Site(valkey, tmp_path, stack)
        doomed, other = site.worker(), site.worker()

        async def statuses(clients: AsyncExitStack, url: str, count: int) -> list[int]:
            found = []
            for _ in range(count):
                try:
                    live = connect(f"{url.replace('http', 'ws')}/live", proxy=None, ping_interval=None)
                    await clients.enter_async_context(live)
                except InvalidStatus as denied:
                    found.append(denied.response.status_code)
                else:
                    found.append(101)
            return found

        async def test() -> None:
            async with AsyncExitStack() as clients:
                assert await statuses(clients, doomed.url, 4) == [101, 101, 101, 429]
                given = max(site.expiries())
                await asyncio.to_thread(servers.until, lambda: site.now_ms() > given + LEASE_MS)
                assert await statuses(clients, other.url, 1) == [429]
                doomed.end(SIGKILL)
                killed = site.now_ms()
                assert max(site.expiries()) <= killed + LEASE_MS
                await asyncio.to_thread(servers.until, lambda: site.now_ms() > killed + LEASE_MS)
                assert await statuses(clients, other.url, 4) == [101, 101, 101, 429]

        run(test)
