"""Behind uvicorn, with real clients: several processes, proxies, Unix sockets, callers who hang up."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ratelimit import Policy, RateLimitMiddleware, RedisStore
from ratelimit.stores.memory import MemoryStore
from tests import servers
from tests.acceptance import ANA, policy, run, served, workers
from tests.stores import open_slots

AS_ANA = {"Authorization": f"Bearer {ANA}"}
BASIC = '[tiers.anonymous]\nlimits = [ { name = "ip", rate = "500/day" }, { name = "monthly", quota = "9000/month" } ]'


async def answer(port: int) -> tuple[int, bytes]:
    """Status and body, over a connection of its own: a client with a pool takes longer to find one among thousands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


@pytest.mark.proof
@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_four_processes_admit_exactly_max(name: str, request: pytest.FixtureRequest) -> None:
    """2,000 concurrent requests of one caller to four processes on one Redis: at a limit of 500 exactly 500 pass."""
    server: servers.Server = request.getfixturevalue(name)
    text = (
        f'[store]\nurl = "{server.unix_url}"\nprefix = "four"\ntimeout = "60s"\n'
        f'[operations]\nexempt = ["GET /health"]\n{BASIC}'
    )

    async def test(urls: list[str]) -> None:
        answers = await asyncio.gather(*(answer(int(urls[n % 4].rpartition(":")[2])) for n in range(2_000)))
        assert Counter(status for status, _ in answers) == {200: 500, 429: 1_500}
        assert len({body for status, body in answers if status == 200}) > 1  # of several processes
        with server.client() as client:
            (quota,) = client.scan_iter("four:*month*")
            assert client.hget(quota, "n") == b"500"

    with workers(4, "tests.acceptance.worker:app", {"RATELIMIT_TEST_POLICY": text}) as urls:
        run(test(urls))


async def endpoint(request: Request) -> Response:
    return PlainTextResponse(request.scope["ratelimit"].states[0].charge.key)


def app_of(policy: Policy, store: MemoryStore | RedisStore) -> Starlette:
    async def stream(request: Request) -> Response:
        async def chunks():
            for n in range(3):
                yield f"{n}\n"

        return StreamingResponse(chunks())

    app = Starlette(routes=[Route("/who", endpoint), Route("/stream", stream)])
    app.add_middleware(RateLimitMiddleware, policy, store=store)
    return app


@pytest.fixture(params=["memory", "valkey", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[MemoryStore | RedisStore]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        server = request.getfixturevalue(request.param)
        yield RedisStore(server.unix_url, prefix=f"wire-{request.node.name}", timeout=60)


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_one_request_after_the_other_at_a_concurrency_of_one(store: MemoryStore | RedisStore, http: str) -> None:
    """Who waits for each answer is never denied in 200: whole or streamed, on one connection or on new ones."""
    app = app_of(policy('{ name = "in flight", concurrency = 1 }'), store)
    with served(app, http=http) as url, httpx2.Client(headers=AS_ANA) as kept:
        seen = Counter()
        for n in range(100):
            seen[kept.get(f"{url}/stream" if n % 2 else f"{url}/who").status_code] += 1
        port = int(url.rpartition(":")[2])
        for _ in range(100):
            seen[_status_on_a_new_connection(port)] += 1
    assert seen == {200: 200}


def _status_on_a_new_connection(port: int) -> int:
    """Returns with the last byte of the body, without waiting for the connection's end."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /who HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ANA}\r\n\r\n".encode())
        seen = b""
        while b"\r\n\r\n" not in seen:
            seen += connection.recv(65_536)
        head, _, body = seen.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65_536)
        return int(head.split()[1])


def test_over_a_concurrency_of_one() -> None:
    """Two at the same time are one too many, and the second is told to come back in a second."""
    going_on, arrived = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        arrived.set()
        await going_on.wait()
        return PlainTextResponse("at last")

    app = Starlette(routes=[Route("/slow", slow)])
    app.add_middleware(RateLimitMiddleware, policy('{ name = "in flight", concurrency = 1 }'), store=MemoryStore())

    async def test() -> None:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://a", headers=AS_ANA) as client:
            first = asyncio.create_task(client.get("/slow"))
            await arrived.wait()
            second = await client.get("/slow")
            going_on.set()
            assert ((await first).status_code, second.status_code) == (200, 429)
            assert second.headers["retry-after"] == "1"
            assert (await client.get("/slow")).status_code == 200

    run(test())


def test_a_client_that_hangs_up_in_the_middle() -> None:
    """A connection that is cut in the middle of a stream gives its slot back when the app has noticed."""
    store = MemoryStore()
    started, ended = asyncio.Event(), threading.Event()

    async def endless(request: Request) -> Response:
        async def chunks():
            try:
                while True:
                    yield b"x" * 1_000
                    started.set()
                    await asyncio.sleep(0)
            finally:
                ended.set()

        return StreamingResponse(chunks())

    app = Starlette(routes=[Route("/endless", endless)])
    app.add_middleware(RateLimitMiddleware, policy('{ name = "in flight", concurrency = 1 }'), store=store)
    with served(app) as url:
        for _ in range(3):
            ended.clear()
            with httpx2.stream("GET", f"{url}/endless", headers=AS_ANA) as response:
                assert response.status_code == 200
                chunks = response.iter_raw()  # held: its end would be the end of the response
                next(chunks)
                assert open_slots(store) == 1
            assert ended.wait(20)
    assert open_slots(store) == 0


TRUST = '[identity]\ntrusted_proxies = ["127.0.0.1"]'
TRUST_UNIX = '[identity]\ntrusted_proxies = ["unix"]'
FORWARDED = {"X-Forwarded-For": "203.0.113.9, 198.51.100.4"}


@pytest.mark.parametrize(
    ("settings", "uvicorn_rewrites", "expected"),
    [
        ("", False, "127.0.0.1"),  # nobody is trusted: the header is the caller's own invention
        (TRUST, False, "198.51.100.4"),  # the first hop from the right that is not trusted
        ("", True, "198.51.100.4"),  # uvicorn has rewritten the peer already
    ],
)
def test_behind_a_proxy(settings: str, uvicorn_rewrites: bool, expected: str) -> None:
    """The forwarded header is taken in one place: by us from a trusted proxy, or by uvicorn."""
    app = app_of(policy(more=settings), MemoryStore())
    with served(app, proxy_headers=uvicorn_rewrites, forwarded_allow_ips="127.0.0.1") as url:
        assert httpx2.get(f"{url}/who", headers=FORWARDED).text.startswith(f"{{ip={expected}}}:")


@pytest.mark.parametrize(("settings", "expected"), [("", "unix"), (TRUST_UNIX, "198.51.100.4")])
@pytest.mark.parametrize("uvicorn_rewrites", [False, True])
def test_behind_a_proxy_on_a_unix_socket(settings: str, expected: str, uvicorn_rewrites: bool, tmp_path: Path) -> None:
    """Over a Unix socket there is no address: the proxy's header counts when "unix" is trusted."""
    path = str(tmp_path / "s")
    app = app_of(policy(more=settings), MemoryStore())
    transport = httpx2.HTTPTransport(uds=path)
    with served(app, uds=path, proxy_headers=uvicorn_rewrites) as url, httpx2.Client(transport=transport) as client:
        assert client.get(f"{url}/who", headers=FORWARDED).text.startswith(f"{{ip={expected}}}:")


def test_answers_are_valid_http() -> None:
    """What a real client reads: one of each header, the length true, the connection kept after a 429."""
    app = app_of(policy(), MemoryStore())
    with served(app) as url, httpx2.Client(headers=AS_ANA) as client:
        answers = [client.get(f"{url}/who") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        for answer in answers:
            assert len({name.lower() for name, _ in answer.headers.raw}) == len(answer.headers.raw)
            assert int(answer.headers["content-length"]) == len(answer.content)
        assert client.head(f"{url}/who").content == b""
