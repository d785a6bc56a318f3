"""What the app's routes declare is known, however the app is wrapped, and rules that are for none of them are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from ratelimit import Policy, RateLimitMiddleware, parse_policy
from ratelimit.model import ASGIApp
from tests.acceptance import ask, plain, scope_of

LIMITS = '[tiers.anonymous]\nlimits = [ {{ name = "ip", rate = "99/minute", operations = [{}] }} ]\n'
ITEMS = parse_policy(LIMITS.format('"detail_read"'))
ITEM, COLLECTION = 1, 0


async def endpoint(request: Any) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def live(websocket: WebSocket) -> None:
    """Never asked."""


def routes() -> list[Any]:
    return [
        *(Route(path, endpoint) for path in ("/oauth2", "/s3", "/top10", "/reports/2026", "/customers/{id}")),
        Route("/customers", endpoint),
        Mount("/static", app=StaticFiles(directory=".")),
        Mount("/opaque", app=plain),
        Mount("/inner", routes=[Route("/", endpoint), Route("/v1x", endpoint), Route("/{id}", endpoint)]),
        Route("/{path:path}", endpoint),
    ]


TABLE = {
    "/oauth2": COLLECTION,
    "/s3": COLLECTION,
    "/S3/": COLLECTION,
    "/top10": COLLECTION,
    "/reports/2026": COLLECTION,
    "/reports/2025": ITEM,  # guessed: the last route takes any path
    "/customers": COLLECTION,
    "/customers/acme": ITEM,
    "/Customers/acme": ITEM,
    "/static/app.3f9c1.js": ITEM,
    "/static/app.js": COLLECTION,
    "/opaque/v2/customers": COLLECTION,
    "/opaque/customers/17": ITEM,
    "/inner/v1x": COLLECTION,
    "/inner/acme": ITEM,
    "/v2/customers": COLLECTION,
    "/index.html": COLLECTION,
}


def added(app: Any) -> ASGIApp:
    app.add_middleware(GZipMiddleware)
    app.add_middleware(RateLimitMiddleware, policy=ITEMS)
    app.add_middleware(GZipMiddleware)
    return app  # type: ignore[no-any-return]


def by_hand(app: Any) -> ASGIApp:
    return RateLimitMiddleware(app, ITEMS)


def around_others(app: Any) -> ASGIApp:
    return CORSMiddleware(RateLimitMiddleware(GZipMiddleware(GZipMiddleware(app)), ITEMS), allow_origins=["*"])


def in_a_mount(app: Any) -> ASGIApp:
    return Starlette(routes=[Mount("/api7", app=RateLimitMiddleware(app, ITEMS)), Route("/api7/oauth2/{x}", endpoint)])


def of_a_mount(app: Any) -> ASGIApp:
    return Starlette(
        routes=[Mount("/api7", routes=app.routes, middleware=[Middleware(RateLimitMiddleware, policy=ITEMS)])]
    )


def counted(app: ASGIApp, path: str, root: str = "") -> int:
    scope = scope_of(root + path, api_key=None)
    asyncio.run(ask(app, scope=scope))
    return len(scope["ratelimit"].states)


@pytest.mark.parametrize("make", [Starlette, FastAPI])
@pytest.mark.parametrize("wrapped", [added, by_hand, around_others, in_a_mount, of_a_mount])
def test_wrapped(wrapped: Callable[[Any], ASGIApp], make: Any) -> None:
    """The routes are known to a limiter that is added, wrapped by hand, around others, in a mount and of a mount."""
    inner = make()
    inner.router.routes += routes()
    app = wrapped(inner)
    root = "/api7" if "mount" in wrapped.__name__ else ""
    asked = list(TABLE) + (["/docs", "/openapi.json"] if make is FastAPI and "mount" not in wrapped.__name__ else [])
    states = {path: counted_in(app, root + path) for path in asked}
    assert states == {path: TABLE.get(path, COLLECTION) for path in asked}


def counted_in(app: ASGIApp, path: str) -> int:
    """How many limits a request reached: the one is of items."""
    scope = scope_of(path, api_key=None)
    seen: list[int] = []
    decide = RateLimitMiddleware.__call__

    async def noted(self: RateLimitMiddleware, scope: Any, receive: Any, send: Any) -> None:
        try:
            await decide(self, scope, receive, send)
        finally:
            seen.append(len(scope["ratelimit"].states))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RateLimitMiddleware, "__call__", noted)
        try:
            asyncio.run(ask(app, scope=scope))
        except Exception:  # noqa: BLE001 - a file that is not there
            assert "static" in path
    return seen[-1]


def test_routes_added_at_run_time() -> None:
    """A route that is added after the first request counts: to the app, and to a router that FastAPI has included."""
    app, router = FastAPI(), APIRouter(prefix="/in")
    router.add_api_route("/first", lambda: "ok")
    app.include_router(router)
    limited = RateLimitMiddleware(app, ITEMS)
    assert [counted(limited, path) for path in ("/late/x9", "/late/acme", "/in/acme")] == [ITEM, COLLECTION, COLLECTION]
    router.add_api_route("/early/{id}", lambda: "ok")
    assert counted(limited, "/in/early/acme") == ITEM
    app.add_api_route("/late/x9", lambda: "ok")
    app.add_api_route("/late/{id}", lambda: "ok")
    router.add_api_route("/{id}", lambda: "ok")
    assert [counted(limited, path) for path in ("/late/x9", "/late/acme", "/in/acme")] == [COLLECTION, ITEM, ITEM]


def test_an_app_that_has_its_routes_later() -> None:
    """An app without routes at its first request is asked again."""
    app = Starlette()
    limited = RateLimitMiddleware(app, ITEMS)
    assert counted(limited, "/customers/acme") == COLLECTION
    app.router.routes += routes()
    assert counted(limited, "/customers/acme") == ITEM


def ruled(*rules: str, exempt: str = "GET /health") -> Policy:
    listed = ", ".join(f'"{rule}"' for rule in rules)
    return parse_policy(f'[operations]\nexempt = ["{exempt}"]\nheavy_write = [{listed}]\n' + LIMITS.format('"search"'))


def told(app: Any, policy: Policy, caplog: pytest.LogCaptureFixture, method: str = "POST", **root: str) -> str:
    """What is logged of rules at the first two requests, which is one line at the most."""
    caplog.clear()
    limited = RateLimitMiddleware(app, policy)
    with caplog.at_level(logging.WARNING, "ratelimit"):
        for _ in range(2):
            asyncio.run(ask(limited, scope={**scope_of("/health", method, api_key=None), **root}))
    lines = [line for record in caplog.records if "goes by a guess" not in (line := record.getMessage())]
    assert len(lines) <= 1
    return lines[0] if lines else ""


def api(*more: Any) -> Starlette:
    return Starlette(
        routes=[
            Route("/health", endpoint, methods=["GET", "POST"]),
            Route("/v2/invoices", endpoint, methods=["POST"]),
            Route("/v2/invoices/{id:int}", endpoint, methods=["GET", "DELETE"]),
            Route("/v2/{kind}/export", endpoint),
            *more,
        ]
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_rules_for_no_route(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """The first request tells which rules match no route of the app, once, with what may have been meant."""
    policy = ruled(
        "POST /v2/invioces", "POST /v2/invoices", "GET /nothing/**", "DELETE /v2/invoices", exempt="GET /Health"
    )
    assert told(api(), policy, caplog, method) == (
        '[operations] has rules that match no route of the app: "GET /Health" (exempt, did you mean "/health"?), '
        '"POST /v2/invioces" (heavy_write, did you mean "/v2/invoices"?), "GET /nothing/**" (heavy_write), '
        '"DELETE /v2/invoices" (heavy_write)'
    )
    many = ruled(*(f"POST /nothing/{number}" for number in range(25)))
    assert told(api(), many, caplog, method).endswith('"POST /nothing/19" (heavy_write) and 5 more')


@pytest.mark.parametrize(
    "rule",
    [
        "POST /V2/Invoices",
        "* /v2/invoices/{id}",
        "DELETE /v2/*/17",
        "HEAD /v2/invoices/7",
        "GET /**",
        "GET /v2/**/export",
        "GET /v2/{kind}/export/**",
        "GET /**/invoices/**/7",
        "OPTIONS /v2/invoices",  # routes answer it without saying so
        "PURGE /v2/invoices",
    ],
)
def test_rules_that_match_one(rule: str, caplog: pytest.LogCaptureFixture) -> None:
    """A rule that may take a request to a route is not told, whatever wild segments either has."""
    assert told(api(), ruled(rule), caplog) == ""


def test_rules_for_handshakes(caplog: pytest.LogCaptureFixture) -> None:
    """A rule of the method WEBSOCKET is for routes of WebSockets alone, and a rule of another method is not; one of any
    method is for both."""
    app = api(WebSocketRoute("/feed", live))
    policy = ruled("WEBSOCKET /feed", "* /feed", "GET /feed", "WEBSOCKET /health", "HEAD /feed", "POST /feed")
    assert told(app, policy, caplog) == (
        '[operations] has rules that match no route of the app: "GET /feed" (heavy_write), "WEBSOCKET /health"'
        ' (heavy_write), "HEAD /feed" (heavy_write), "POST /feed" (heavy_write)'
    )


@pytest.mark.parametrize(
    "more",
    [
        [Mount("/", app=plain)],
        [Mount("/nothing", routes=[])],
        [Route("/{path:path}", endpoint)],
        [Host("other.example", app=Router())],
        [object()],
    ],
)
def test_what_may_take_any_path(more: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is told where a mounted app, a route that takes any path, or what can't be read may take it."""
    app = api(*more)
    assert told(app, ruled("POST /nothing/here"), caplog) == ""


def test_frontends(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is told where FastAPI serves a frontend on the paths that no route takes."""
    for app in (FastAPI(), FastAPI()):
        router = APIRouter()
        app.include_router(router)
        app.add_api_route("/health", lambda: "ok", methods=["GET", "POST"])
        assert told(app, ruled("POST /nothing"), caplog)
        (app.router if app.title else router)._low_priority_routes.append(object())  # type: ignore[attr-defined]
    for low in ("app", "router"):
        app, router = FastAPI(), APIRouter()
        app.include_router(router)
        app.add_api_route("/health", lambda: "ok", methods=["GET", "POST"])
        (app.router if low == "app" else router)._low_priority_routes.append(Route("/{x:path}", endpoint))  # type: ignore[attr-defined]
        assert told(app, ruled("POST /nothing"), caplog) == ""


def test_below_a_root_path(caplog: pytest.LogCaptureFixture) -> None:
    """Under a root_path, rules for elsewhere may be another app's."""
    policy = ruled("POST /api/v2/invoices", "POST /v2/elsewhere", "POST /api/v2/invioces", exempt="GET /api/health")
    found = told(api(), policy, caplog, root_path="/api")
    assert '"POST /api/v2/invioces"' in found
    assert "elsewhere" not in found
    assert '"POST /api/v2/invoices"' not in found


def test_nothing_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """An app without routes that can be read tells nothing."""
    assert told(plain, ruled("POST /nothing"), caplog) == ""
