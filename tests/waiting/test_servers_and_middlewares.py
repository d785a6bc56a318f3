"""Waiting as it is mounted: on a server, between other middlewares, in mounts of one policy, in a test's client."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from contextlib import ExitStack, suppress
from typing import Any
from unittest.mock import MagicMock

import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from ratelimit import MemoryStore, Policy, RateLimitMiddleware
from ratelimit.testing import limited_client
from tests.acceptance import plain, policy, served
from tests.acceptance.serving import SERVERS, served_by
from tests.waiting import ANA, EMPTY, GONE, ONE_A_SECOND, Asked, Call, Street, scope_of, stepped

HALF_A_SECOND = '{ name = "requests", rate = "1/second", precision = 10 }'


def patient(limits: str = ONE_A_SECOND, wait: str = '{ up_to = "3s" }') -> Policy:
    return policy(f"{limits} ]\nwait = {wait}\n# [")


def test_mounts_of_one_policy() -> None:
    """They have one queue, and where they share a store one line."""

    async def test() -> None:
        made, store = patient(wait='{ up_to = "5s", queue = 20 }'), Asked()
        one, two = (RateLimitMiddleware(plain, made, store=store) for _ in range(2))
        other = RateLimitMiddleware(plain, made, store=Asked())
        calls = [Call(app, scope_of(), (EMPTY,)) for app in (one, two, one, two, other, other)]
        await asyncio.gather(*[call.task for call in calls])
        answers = [(call.status, call.at_ms) for call in calls]
        assert answers == [(200, 0), (200, 2_000), (200, 4_000), (429, 0), (200, 0), (429, 0)]
        assert store.asked == [0, 0, 2_000, 2_000, 4_000]

    stepped(test)


def test_behind_a_middleware_of_its_own_tasks() -> None:
    """Starlette's BaseHTTPMiddleware around it: nothing is lost of what was received, and a hang-up is seen."""

    async def around(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == EMPTY
        await plain(scope, receive, send)

    async def test() -> None:
        limited = BaseHTTPMiddleware(RateLimitMiddleware(app, patient(), store=Asked()), dispatch=around)
        calls = [Call(limited, scope_of(), received) for received in ((EMPTY,), (EMPTY, 1.0, GONE), (EMPTY,))]
        await asyncio.gather(*[call.task for call in calls])
        assert [(call.status, call.at_ms) for call in calls if call.status == 200] == [(200, 0), (200, 2_000)]

    stepped(test)


def test_a_call_that_is_closed() -> None:
    """A server that drops a call, and an event loop that ends, leave nobody behind in the line."""

    async def test() -> None:
        street = Street('{ up_to = "3s" }')
        street.call()
        await street.answers()
        dropped = street.app(scope_of(), None, None)  # driven by hand, as the garbage collector closes it
        dropped.send(None)
        street.call(content_length="5")
        await asyncio.sleep(0.5)
        dropped.close()
        assert (await street.answers())[1:] == [(200, 2_000)]

    stepped(test)


def test_a_loop_that_has_ended() -> None:
    """Who waited there is gone with it, and the next loop begins with an empty queue."""
    app = RateLimitMiddleware(plain, patient(), store=MemoryStore(clock=lambda: 0))

    async def unfinished() -> Any:
        calls = [app(scope_of(content_length="5"), None, _nothing) for _ in range(3)]
        for call in calls:
            with suppress(StopIteration):
                call.send(None)
        return calls

    calls = asyncio.run(unfinished())
    del calls
    gc.collect()

    async def test() -> None:
        assert list(app._turns._here[asyncio.get_running_loop()].waiting) == []

    asyncio.run(test())


async def _nothing(_: Any) -> None:
    pass


def test_in_a_limited_client() -> None:
    """Nobody waits for a clock that stands: a denial is told at once; and a mock among the routes has no end."""
    app = Starlette(routes=[Route("/7", lambda _: PlainTextResponse("ok")), Mount("/mock", app=MagicMock())])
    app.add_middleware(RateLimitMiddleware, policy=patient(wait='{ up_to = "60s" }'))
    with limited_client(app, headers={"Authorization": f"Bearer {ANA}"}) as client:
        assert [client.get("/7").status_code for _ in range(2)] == [200, 429]
        client.clock.advance("2s")
        assert client.get("/7").status_code == 200


def sent(url: str, request: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(request.replace("\n", "\r\n").encode())
    return connection


def answered(connection: socket.socket) -> str:
    return connection.recv(65_536).decode().partition("\r\n")[0]


GET = f"GET /7 HTTP/1.1\nHost: x\nAuthorization: Bearer {ANA}\n\n"
UPLOAD = f"POST /7 HTTP/1.1\nHost: x\nAuthorization: Bearer {ANA}\nContent-Length: 3\nExpect: 100-continue\n\n"


async def reading(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    while (await receive()).get("more_body"):
        pass
    await plain(scope, receive, send)


@pytest.mark.parametrize("server", SERVERS)
def test_on_each_server(server: str) -> None:
    """Who hangs up makes room for the next one, who is answered when a unit is free; a GET and an upload alike."""
    limits = HALF_A_SECOND.replace("1/", "2/")
    limited = RateLimitMiddleware(reading, patient(limits, '{ up_to = "2s", queue = 20 }'))
    with served_by(server, limited) as url, ExitStack() as closing:

        def ask(request: str) -> socket.socket:
            return closing.enter_context(sent(url, request))

        began = time.monotonic()
        assert [answered(ask(GET))[:12] for _ in range(2)] == ["HTTP/1.1 200"] * 2
        gone = ask(GET)
        _waiting(limited, 1)
        gone.close()
        _waiting(limited, 0)
        waiting = [ask(GET), ask(UPLOAD.replace("Expect: 100-continue\n", "") + "abc")]
        _waiting(limited, 2)
        assert [answered(connection)[:12] for connection in waiting] == ["HTTP/1.1 200"] * 2
        assert time.monotonic() - began > 1


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_an_upload(http: Any) -> None:
    """Its body is asked for when it is admitted, and never for a denial."""
    limited = RateLimitMiddleware(reading, patient(HALF_A_SECOND, '{ up_to = "2s", queue = 10 }'))
    with served(limited, http=http, lifespan="off") as url, sent(url, GET) as first:
        assert answered(first) == "HTTP/1.1 200 OK"
        with sent(url, UPLOAD) as upload:
            (here,) = _waiting(limited, 1)
            with sent(url, UPLOAD) as denied:
                assert answered(denied) == "HTTP/1.1 429 Too Many Requests"
            assert answered(upload) == "HTTP/1.1 100 Continue"
            upload.sendall(b"abc")
            assert answered(upload) == "HTTP/1.1 200 OK"
    assert here.lines == {}


def _waiting(limited: RateLimitMiddleware, count: int) -> list[Any]:
    """When so many of a tier wait."""
    for _ in range(2_000):
        here = list(limited._turns._here.values())
        if here and here[0].waiting["basic"] == count:
            return here
        time.sleep(0.001)
    raise AssertionError(f"{count} do not wait")
