"""Mounted apps, sub-apps with a policy of their own, and a middleware that was mounted twice by mistake."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from ratelimit import RateLimitMiddleware, StoreUnavailable, parse_policy
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import ANA, T, ask, header, limited, plain, policy, run
from tests.stores import counters_of

OTHER = '[tiers.anonymous]\nlimits = [{ name = "other", rate = "9/minute" }]'
AS_ANA = {"Authorization": f"Bearer {ANA}"}


async def endpoint(request: Request) -> Response:
    return PlainTextResponse("here you are")


def middleware(*arguments: object, **keywords: object) -> Middleware:
    return Middleware(RateLimitMiddleware, *arguments, store=MemoryStore(clock=lambda: T), **keywords)


def test_mounted_twice() -> None:
    """The same policy twice around one app, as one object or as two loads of one file, charges once."""

    async def test() -> None:
        for inner, outer in ((shared := policy(), shared), (policy(), policy())):
            store = MemoryStore(clock=lambda: T)
            limiter = RateLimitMiddleware(RateLimitMiddleware(plain, inner, store=store), outer, store=store)
            start, _ = await ask(limiter)
            assert header(start, "x-ratelimit-remaining") == "2"

    run(test())


def test_mounted_twice_with_another_in_between() -> None:
    """A policy that applies already is found among several."""

    async def test() -> None:
        store = MemoryStore(clock=lambda: T)
        limiter = RateLimitMiddleware(plain, policy(), store=store)
        for around in (parse_policy(OTHER, "other.toml"), policy()):
            limiter = RateLimitMiddleware(limiter, around, store=store)
        start, _ = await ask(limiter)
        assert header(start, "x-ratelimit-remaining") == "2"

    run(test())


def test_a_policy_by_hand_has_no_origin() -> None:
    """Two different policies without an origin are two policies: both apply, each with a counter of its own."""
    one = policy()
    by_hand = [type(one)(one.tiers, one.identify, one.classify, one.style, one.address) for _ in range(2)]

    async def test() -> None:
        store = MemoryStore(clock=lambda: T)
        limiter = RateLimitMiddleware(RateLimitMiddleware(plain, by_hand[0], store=store), by_hand[1], store=store)
        start, _ = await ask(limiter)
        assert header(start, "x-ratelimit-remaining") == "2"
        assert sorted(counters_of(store)) == ["{user=ana}:requests:60000/60", "{user=ana}:requests:60000/60@2"]

    run(test())


def test_a_sub_app_with_its_own_policy() -> None:
    """Below a mount both policies apply; the headers are those of the tighter one, once."""
    inner = parse_policy('style = "lightspeed"\n[tiers.anonymous]\nlimits = [{ name = "x", rate = "1/hour" }]', "inner")
    app = Starlette(
        routes=[
            Mount("/sub", Starlette(routes=[Route("/a", endpoint)], middleware=[middleware(inner)])),
            Route("/a", endpoint),
        ],
        middleware=[middleware(policy())],
    )
    client = TestClient(app, headers=AS_ANA)
    first = client.get("/sub/a")
    assert (first.status_code, first.headers.get_list("x-ratelimit-limit")) == (200, ["1"])
    second = client.get("/sub/a")
    assert (second.status_code, second.headers.get_list("x-ratelimit-limit")) == (429, ["1"])
    third = client.get("/a")
    assert (third.status_code, third.headers["x-ratelimit-remaining"]) == (200, "0")
    assert client.get("/sub/a").json()["errors"][0]["code"] == "RATE_LIMIT_EXCEEDED"  # the outer one's


RULES = '[operations]\nheavy_write = ["POST /v2/invoices"]\nexempt = ["GET /v2/health"]'
BY_OPERATION = (
    '{ name = "heavy", rate = "1/minute", operations = ["heavy_write"] },'
    '{ name = "detail", rate = "2/minute", operations = ["detail_read"] },'
    '{ name = "search", rate = "3/minute", operations = ["search"] }'
)


def starlette_mount() -> TestClient:
    sub = Starlette(
        routes=[
            Route("/invoices", endpoint, methods=["GET", "POST"]),
            Route("/invoices/{id}", endpoint),
            Route("/health", endpoint),
        ],
        middleware=[middleware(policy(BY_OPERATION, RULES))],
    )
    return TestClient(Starlette(routes=[Mount("/v2", sub)]), headers=AS_ANA)


def fastapi_router() -> TestClient:
    router = APIRouter(prefix="/invoices")
    for path, method in (("", "GET"), ("", "POST"), ("/{id}", "GET")):
        router.add_api_route(path, lambda: "here you are", methods=[method])
    outer = APIRouter()
    outer.include_router(router)
    outer.add_api_route("/health", lambda: "here you are")
    app = FastAPI()
    app.include_router(outer, prefix="/v2")
    app.add_middleware(RateLimitMiddleware, policy(BY_OPERATION, RULES), store=MemoryStore(clock=lambda: T))
    return TestClient(app, headers=AS_ANA)


def behind_a_proxy_that_strips_the_prefix() -> TestClient:
    """As under `uvicorn --root-path /v2` behind a proxy that cuts /v2 off: the client below sends what is left."""
    app = Starlette(
        routes=[
            Route("/v2/invoices", endpoint, methods=["GET", "POST"]),
            Route("/invoices", endpoint, methods=["GET", "POST"]),
            Route("/invoices/{id}", endpoint),
            Route("/health", endpoint),
        ],
        middleware=[middleware(policy(BY_OPERATION, RULES))],
    )
    client = TestClient(app, root_path="/v2", headers=AS_ANA)
    client.base_url = str(client.base_url).rstrip("/")
    return client


@pytest.mark.parametrize(
    ("make", "prefix"),
    [(starlette_mount, "/v2"), (fastapi_router, "/v2"), (behind_a_proxy_that_strips_the_prefix, "")],
)
def test_rules_see_the_path_that_the_client_sees(make, prefix: str) -> None:
    """Under a mount, an included router or a root_path the rules are written as the client calls."""
    client = make()
    assert client.get(f"{prefix}/health").headers.get("x-ratelimit-limit") is None
    assert client.post(f"{prefix}/invoices").headers["x-ratelimit-limit"] == "1"
    assert client.post(f"{prefix}/invoices").status_code == 429
    assert client.get(f"{prefix}/invoices").headers["x-ratelimit-limit"] == "3"
    assert client.get(f"{prefix}/invoices/abc").headers["x-ratelimit-limit"] == "2"  # by the app's own route
    assert client.get(f"{prefix}/invoices/7").headers["x-ratelimit-remaining"] == "0"
    assert client.get(f"{prefix}/invoices/8").status_code == 429


def test_an_error_that_the_framework_answers_has_the_headers() -> None:
    """A 404, a 405 and an HTTPException carry the headers like any other response."""

    async def gone(request: Request) -> Response:
        raise HTTPException(410)

    client = TestClient(
        Starlette(routes=[Route("/gone", gone)], middleware=[middleware(policy('{ name = "r", rate = "9/minute" }'))]),
        headers=AS_ANA,
    )
    seen = [client.get("/gone"), client.get("/nowhere"), client.post("/gone")]
    assert [r.status_code for r in seen] == [410, 404, 405]
    assert [r.headers.get_list("x-ratelimit-remaining") for r in seen] == [["8"], ["7"], ["6"]]


def test_an_unhandled_error() -> None:
    """The framework's own 500 is made outside of its middlewares; with the whole app wrapped it has the headers too."""

    async def broken(request: Request) -> Response:
        raise RuntimeError("the app's own")

    inside = Starlette(routes=[Route("/a", broken)], middleware=[middleware(policy())])
    around = limited(Starlette(routes=[Route("/a", broken)]))
    seen = [TestClient(app, headers=AS_ANA, raise_server_exceptions=False).get("/a") for app in (inside, around)]
    assert [r.status_code for r in seen] == [500, 500]
    assert [r.headers.get("x-ratelimit-remaining") for r in seen] == [None, "2"]


def test_cors_around_the_limiter() -> None:
    """With CORSMiddleware outside, a browser can read a 429; a preflight never costs anything."""
    app = Starlette(
        routes=[Route("/a", endpoint)],
        middleware=[Middleware(CORSMiddleware, allow_origins=["https://a.example"]), middleware(policy())],
    )
    client = TestClient(app, headers={**AS_ANA, "Origin": "https://a.example"})
    for _ in range(5):
        assert client.options("/a", headers={"Access-Control-Request-Method": "GET"}).status_code == 200
    seen = [client.get("/a") for _ in range(4)]
    assert [r.status_code for r in seen] == [200, 200, 200, 429]
    assert seen[3].headers["access-control-allow-origin"] == "https://a.example"
    assert "retry-after" in seen[3].headers["access-control-expose-headers"]


def test_a_store_that_cannot_be_closed(caplog) -> None:
    """The app's shutdown ends as without the limiter, and the log says what went wrong."""

    class Away(MemoryStore):
        async def close(self) -> None:
            raise StoreUnavailable("gone")

    app = Starlette(routes=[Route("/a", endpoint)])
    app.add_middleware(RateLimitMiddleware, policy(), store=Away())
    with TestClient(app) as client:
        assert client.get("/a").status_code == 200
    assert "the store was not closed: gone" in caplog.text


def test_lifespan() -> None:
    """The app's startup and shutdown run as without the limiter, and then the store is closed."""
    happened = []

    class Closing(MemoryStore):
        async def close(self) -> None:
            happened.append("closed")

    async def lifespan(app):
        happened.append("up")
        yield {"state": 1}
        happened.append("down")

    app = Starlette(routes=[Route("/a", endpoint)], lifespan=__import__("contextlib").asynccontextmanager(lifespan))
    app.add_middleware(RateLimitMiddleware, policy(), store=Closing())
    with TestClient(app) as client:
        client.get("/a")
        assert happened == ["up"]
    assert happened == ["up", "down", "closed"]
