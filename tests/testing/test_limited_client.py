"""A client for the tests of users' apps: memory and a clock in every limiter, and what each request was decided."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient, WebSocketDenialResponse

from ratelimit import Identity, MemoryStore, Policy, RateLimitMiddleware, RedisStore, load_policy, open_store
from ratelimit.fastapi import RateLimit, decide, deferred
from ratelimit.model import Scope
from ratelimit.styles import wire
from ratelimit.testing import Clock, LimitedClient, assert_denied, assert_left, limited_client
from ratelimit.testing.recorded import HEADER
from tests.acceptance import ANA, plain, policy

AS_ANA = {"Authorization": f"Bearer {ANA}"}
TWO = '{ name = "requests", rate = "2/minute" }, { name = "monthly", quota = "50000/month" }'


def app_of(made: Policy | str | Path, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/invoices/{number}")
    async def invoice(number: int, request: Request) -> dict[str, int]:
        return {state.limit.name: state.remaining for state in request.scope["ratelimit"].states}

    app.add_middleware(RateLimitMiddleware, policy=made, **options)
    return app


def test_a_minute() -> None:
    """A limit is used up, and free again when the clock has moved: no test sleeps."""
    with limited_client(app_of(policy(TWO)), headers=AS_ANA) as client:
        assert isinstance(client, LimitedClient)
        assert client.get("/invoices/7").json() == {"requests": 1, "monthly": 49_999}
        second = client.get("/invoices/7")
        assert_left(second, requests=0, monthly=49_998)
        denied = client.get("/invoices/7")
        assert denied.status_code == 429
        assert_denied(denied, limit="requests", retry_after=61)
        client.clock.advance("60s")
        assert_denied(client.get("/invoices/7"), retry_after=1)
        client.clock.advance(1_000)
        assert client.get("/invoices/7").status_code == 200
        assert_left(client, requests=1)
        assert_left(second, requests=0)  # a response keeps its own
        assert [one.decision.allowed for one in client.decisions] == [True, True, False, False, True]
        latest = client.decisions[-1]
        assert (latest.operation, latest.identity.user) == ("detail_read", "ana")
        assert (latest.method, latest.path) == ("GET", "/invoices/7")


def test_headers_go_by_the_clock() -> None:
    """What a response tells of instants is by the clock of the test, outside of it by the process's own."""
    with limited_client(app_of(policy(TWO)), headers=AS_ANA, clock="2030-01-01T00:00:00Z") as client:
        start = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())
        assert client.clock.now_ms == start * 1_000
        assert client.get("/invoices/7").headers["x-ratelimit-reset"] == str(start + 61)
        client.clock.advance("1h")
        assert client.get("/invoices/7").headers["x-ratelimit-reset"] == str(start + 3_661)
        assert abs(wire.now_ms() - time.time_ns() // 1_000_000) < 60_000
        with limited_client(app_of(policy(TWO)), headers=AS_ANA, clock=5_000) as other:
            assert other.get("/invoices/7").headers["x-ratelimit-reset"] == "66"
        assert client.get("/invoices/7").headers["x-ratelimit-reset"] == str(start + 3_661)
    assert wire.now_ms.__module__ == "ratelimit.styles.wire"


def test_a_policy_that_is_a_path(tmp_path: Path) -> None:
    """The file is read as ever, its store is not asked: it may be one that is not there."""
    file = tmp_path / "ratelimit.toml"
    file.write_text(
        '[store]\nurl = "redis://127.0.0.1:1"\n[tiers.anonymous]\nlimits = [{ name = "ip", rate = "1/day" }]'
    )
    with limited_client(app_of(file)) as client:
        assert client.get("/invoices/7").status_code == 200
        assert_denied(client.get("/invoices/7"), limit="ip")


def test_all_is_as_it_was() -> None:
    """When the client is closed the app has its own store again, with nothing counted in it, and may be added to."""
    store = MemoryStore(clock=lambda: 0)
    app = app_of(policy(TWO), store=store)
    before = dict(vars(store))
    with limited_client(app, headers=AS_ANA) as client:
        for _ in range(5):
            client.get("/invoices/7")
    assert vars(store) == before
    assert app.middleware_stack is None
    app.add_middleware(Around)
    answer = TestClient(app, headers=AS_ANA).get("/invoices/7")
    assert answer.json() == {"requests": 1, "monthly": 49_999}
    assert HEADER not in answer.headers


class Around:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def test_an_app_that_has_served() -> None:
    """An app whose middlewares are built already is limited by the clock too, and goes on with what it had counted."""
    app = app_of(policy(TWO))
    with TestClient(app, headers=AS_ANA) as real:
        assert real.get("/invoices/7").json()["requests"] == 1
        for _ in range(2):
            with limited_client(app, headers=AS_ANA) as client:
                assert [client.get("/invoices/7").status_code for _ in range(3)] == [200, 200, 429]
        assert real.get("/invoices/7").json()["requests"] == 0


def test_the_limited_app_itself() -> None:
    """An app that is wrapped by hand, also by something that keeps it as `.app`."""
    for app in (limited := RateLimitMiddleware(plain, policy(TWO)), Around(Around(limited))):
        with limited_client(app, headers=AS_ANA, lifespan=False) as client:
            assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]


def test_mounted_apps() -> None:
    """A sub-app with a policy of its own counts by the same clock, and a response has the decisions of both."""
    inner = FastAPI()

    @inner.get("/")
    async def root() -> str:
        return "inner"

    inner.add_middleware(
        RateLimitMiddleware, policy=policy('{ name = "inner", rate = "1/minute" }', more='[store]\nprefix = "inner"')
    )
    app = app_of(policy(TWO))
    app.mount("/inner", inner)
    with limited_client(app, headers=AS_ANA) as client:
        first = client.get("/inner/")
        assert_left(first, requests=1, monthly=49_999, inner=0)
        assert_denied(client.get("/inner/"), limit="inner", retry_after=61)
        assert_denied(client.get("/inner/"), limit="requests")
        assert len(client.decisions) == 5


def test_middlewares_of_mounts_and_routes() -> None:
    """A limiter among the middlewares of a Mount is found, where it was built with the routes."""
    route = Route("/x", lambda _: PlainTextResponse("x"), middleware=[Middleware(RateLimitMiddleware, policy(TWO))])
    mount = Mount("/m", app=plain, middleware=[Middleware(RateLimitMiddleware, policy(TWO))])
    with limited_client(Starlette(routes=[route, mount]), headers=AS_ANA) as client:
        for path in ("/x", "/m/"):
            assert [client.get(path).status_code for _ in range(3)] == [200, 200, 429]


def test_what_shares_a_store_shares_a_memory() -> None:
    """Two limiters on one store count in one memory, those with a store each apart."""
    shared = policy('{ name = "requests", rate = "1/minute" }')
    mounts = [Mount(path, app=RateLimitMiddleware(plain, shared)) for path in ("/a", "/b")]
    apart = [Mount("/c", app=RateLimitMiddleware(plain, shared, store=MemoryStore()))]
    with limited_client(Starlette(routes=[*mounts, *apart]), headers=AS_ANA) as client:
        assert [client.get(path).status_code for path in ("/a/", "/b/", "/c/", "/c/")] == [200, 429, 200, 429]


def test_a_store_on_redis() -> None:
    """It is not asked, also on trio, where it could not be."""
    app = app_of(policy(TWO), store=RedisStore("redis://127.0.0.1:1"))
    with limited_client(app, headers=AS_ANA, backend="trio") as client:
        assert [client.get("/invoices/7").status_code for _ in range(3)] == [200, 200, 429]


def test_each_response_has_its_own() -> None:
    """Also a redirect and what it leads to, and a response that says which one it is itself."""

    async def home(_: Any) -> RedirectResponse:
        return RedirectResponse("/b", headers={HEADER: "forged-1"})

    app = Starlette(routes=[Route("/a", home), Route("/b", lambda _: PlainTextResponse("b"))])
    app.add_middleware(RateLimitMiddleware, policy=policy(TWO))
    with limited_client(app, headers=AS_ANA) as client:
        answer = client.get("/a")
        (redirect,) = answer.history
        assert_left(redirect, requests=1)
        assert_left(answer, requests=0)


def test_an_exempt_request() -> None:
    """Nothing was decided about it, and asking says why that may be."""
    app = app_of(policy(TWO, more='[operations]\nexempt = ["GET /health"]'))
    with limited_client(app) as client:
        with pytest.raises(AssertionError, match=r"^nothing was decided yet"):
            assert_left(client, requests=3)
        health = client.get("/health")
        for asked in (lambda: assert_denied(health), lambda: assert_left(health, requests=2)):
            with pytest.raises(AssertionError, match=r"^GET /health came to no limit: it is exempt"):
                asked()


def test_callables_that_are_async() -> None:
    """Who asks and what is asked are recorded where the app's own callables say it late, and an Enum as its text."""

    async def identify(_: Scope) -> Identity:
        return Identity(user="eva", tier="basic")

    async def classify(scope: Scope) -> str | None:
        return None if scope["path"] == "/free" else "export"

    app = RateLimitMiddleware(plain, policy(TWO), identify=identify, classify=classify)
    with limited_client(app, lifespan=False) as client:
        client.get("/free")
        recorded = assert_denied([client.get("/") for _ in range(3)][-1])
        assert (recorded.operation, recorded.identity.user) == ("export", "eva")


def test_another_client_of_the_same_app() -> None:
    """Requests of others are counted in the same memory, and recorded by nobody."""
    app = app_of(policy(TWO))
    with limited_client(app, headers=AS_ANA) as client:
        other = TestClient(app, headers=AS_ANA)
        assert [other.get("/invoices/7").status_code for _ in range(3)] == [200, 200, 429]
        assert client.decisions == []
        with pytest.raises(TypeError, match=r"is no response of a limited_client, nor such a client"):
            assert_left(other.get("/invoices/7"), requests=0)


def test_a_client_of_another_class() -> None:
    """Any class that is made of an app, and one of asyncio that the test enters itself."""

    def made(app: Any, **options: Any) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test", **options)

    async def test() -> None:
        with limited_client(app_of(policy(TWO)), client_class=made, headers=AS_ANA) as client:
            async with client:
                answers = await asyncio.gather(*[client.get("/invoices/7") for _ in range(5)])
                denied = [answer for answer in answers if answer.status_code == 429]
                assert len(denied) == 3
                for answer in denied:
                    assert_denied(answer, limit="requests", retry_after=61)
                assert sorted(one.decision.allowed for one in client.decisions) == [False] * 3 + [True] * 2

    asyncio.run(test())


def test_the_lifespan_runs() -> None:
    """As with Starlette's own client in a `with`; what else is asked of `client.app` is the app's."""
    seen = []

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        seen.append("started")
        yield
        seen.append("ended")

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(RateLimitMiddleware, policy=policy(TWO))
    with limited_client(app) as client:
        assert seen == ["started"]
        assert client.app.routes == app.routes
    assert seen == ["started", "ended"]


def test_what_is_charged_and_held_by_hand() -> None:
    """It is of the response too: a hold that does not fit denies it, and what was charged is not left."""
    app = FastAPI()

    @app.get("/rows/{count}")
    async def rows(count: int, rate_limit: RateLimit) -> None:
        await rate_limit.charge(count, limit="rows")

    @app.get("/tokens/{count}")
    async def tokens(count: int, rate_limit: RateLimit) -> None:
        async with rate_limit.hold(count, limit="tokens"):
            pass

    limits = '{ name = "rows", rate = "10/minute" }, { name = "tokens", rate = "9/minute", hold = true }'
    app.add_middleware(RateLimitMiddleware, policy=policy(limits))
    with limited_client(app, headers=AS_ANA) as client:
        assert_left(client.get("/rows/3"), rows=6, tokens=8)
        assert client.get("/tokens/1").status_code == 200
        denied = client.get("/tokens/8")
        assert denied.status_code == 429
        assert_denied(denied, limit="tokens", retry_after=61)
        assert_denied(client.get("/tokens/99"), limit="tokens", retry_after=None)


def test_a_caller_that_is_known_later() -> None:
    """Its decision is the latest of its response, and tells of whom it is."""
    app = FastAPI()

    async def who() -> Identity:
        return Identity(user="ana", tier="basic")

    @app.get("/7", dependencies=[Depends(decide(who))])
    async def seven() -> None:
        return None

    app.add_middleware(RateLimitMiddleware, policy=policy(TWO), identify=deferred())
    with limited_client(app) as client:
        assert_left(client.get("/7"), requests=1)
        assert [one.identity.tier for one in client.decisions] == ["anonymous", "basic"]
        client.get("/7")
        assert assert_denied(client.get("/7"), limit="requests").identity.user == "ana"


def test_websockets() -> None:
    """A handshake is a request with a Decision of its own, and messages that are counted are of it too."""
    counted = '[operations]\nmessage = []\n[websocket]\nmessages = "message"\n'
    limits = '{ name = "handshakes", rate = "2/minute" }, { name = "messages", quota = "9/day" }'
    limits = limits.replace('"2/minute"', '"2/minute", operations = ["connect"]')
    app = app_of(policy(limits, more=counted))

    @app.websocket("/ws")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    with limited_client(app, headers=AS_ANA) as client:
        for left in (7, 5):  # the handshake and the message
            with client.websocket_connect("/ws") as session:
                session.send_text("hello")
                assert session.receive_text() == "hello"
            assert_left(client, messages=left)
        with pytest.raises(WebSocketDenialResponse) as denial, client.websocket_connect("/ws"):
            pass
        assert_denied(denial.value, limit="handshakes", retry_after=61)
        assert (client.decisions[-1].operation, client.decisions[-1].method) == ("connect", "WEBSOCKET")


def test_no_limiter() -> None:
    """An app without one is told of, and so is one that hides it."""

    async def hiding(scope: Any, receive: Any, send: Any) -> None:
        await RateLimitMiddleware(plain, policy(TWO))(scope, receive, send)

    for app in (FastAPI(), hiding):
        with pytest.raises(ValueError, match=r"^no RateLimitMiddleware in .*add it before"), limited_client(app):
            pass


class Slotted:
    __slots__ = ("_inner",)

    def __init__(self) -> None:
        self._inner = open_store("memory://")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_a_store_with_slots() -> None:
    """A store that nothing can be put in the place of is told of, and the app is as it was."""
    app = app_of(policy(TWO), store=Slotted())
    with pytest.raises(TypeError, match="Slotted has __slots__"), limited_client(app):
        pass
    assert app.middleware_stack is None


def test_one_policy_in_many_tests(caplog: pytest.LogCaptureFixture) -> None:
    """Each test begins with nothing used, of one app and of one file; and nothing is said of that in the log."""
    file = Path(__file__).parents[1] / "config/good/lendworks.toml"
    app = app_of(load_policy(file))
    for _ in range(2):
        with limited_client(app, client=("192.0.2.7", 1)) as client:
            client.get("/invoices/7")
            assert client.decisions[0].decision.states[0].used == 1
    assert not caplog.records


def test_a_clock() -> None:
    """It stands until it is moved, forward by a duration, and anywhere by an instant."""
    clock = Clock()
    assert clock.now_ms == Clock("2026-03-02T10:00:00Z").now_ms == clock()
    assert clock.advance("2h") == clock.now_ms == Clock("2026-03-02T12:00:00Z").now_ms
    assert clock.set(datetime(2026, 1, 1, tzinfo=UTC)) == 1_767_225_600_000
    assert clock.set(7) == 7
    assert clock.advance(3) == 10
    for step, message in ((-1, "-1 ms is a step back"), ("1 month", '"1 month" is not a duration')):
        with pytest.raises(ValueError, match=message):
            clock.advance(step)
    with pytest.raises(ValueError, match="2026-03-02T10:00:00 has no offset; write 2026-03-02T10:00:00Z"):
        Clock("2026-03-02T10:00:00")
