"""What of an app a policy limits: every route however it is served, and what is not limited."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

from ratelimit import RateLimitMiddleware, as_operation, operation
from ratelimit.fastapi import deferred, limit
from ratelimit.review.app import AppReview, review_app
from ratelimit.review.limiters import limiters_of
from ratelimit.review.policy import review
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

NOW = 1_772_445_600_000  # 2026-03-02T10:00:00Z
RULES = """
[operations]
exempt = ["GET /health", "GET /openapi.json"]
export = ["GET /v2/exports"]
"""
TIERS = """
[tiers.anonymous]
limits = [{ name = "ip", rate = "60/minute", operations = ["search", "detail_read", "create", "write"] }]
[tiers.basic]
limits = [
  { name = "all", rate = "600/minute", cost = { create = 0 } },
  { name = "off", rate = "1/minute", mode = "off" },
]
"""
KEY = f'[[keys]]\nsha256 = "{"0" * 64}"\ntier = "basic"\n'


def endpoint(request: Any) -> None:
    raise NotImplementedError


def reviewed(app: Any, text: str = TIERS + KEY) -> AppReview:
    made = review(text, "x", NOW)
    assert made.policy is not None
    assert made.valid is not None
    return review_app(app, made.policy, made.valid, made.lines)


def codes(app: Any, text: str = TIERS + KEY) -> list[str]:
    return [f"{one.code} {one.where}".strip() for one in reviewed(app, text).findings]


def limited(app: Any, **given: Any) -> Any:
    policy = review(TIERS, "x", NOW).policy
    assert policy is not None
    return RateLimitMiddleware(app, policy, **given)


def starlette(*routes: Any, **given: Any) -> Starlette:
    return Starlette(routes=[*routes], middleware=[Middleware(RateLimitMiddleware, policy="x.toml", **given)])


def test_an_app_with_everything_in_it() -> None:
    """Routers, mounts, hosts, sub-applications, WebSockets and declared limits are all in the list, each with what
    tells its operation."""
    sub = FastAPI()
    sub.add_api_route("/things/{id}", endpoint, methods=["PATCH"])
    router = APIRouter(prefix="/reports", dependencies=[Depends(as_operation("search"))])
    router.add_api_route("", endpoint, methods=["POST"])
    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(router)
    app.add_api_route("/exports", endpoint, dependencies=[Depends(limit("5/hour", name="exports"))])
    app.add_api_route("/import", operation("write", units=lambda request: 2)(lambda request: None), methods=["POST"])
    app.add_api_route("/health", endpoint)
    app.mount("/sub", sub)
    app.mount("/files", StaticFiles(directory="."))
    app.router.routes.append(Host("api.example.com", Router([Route("/x", endpoint)])))
    app.router.routes.append(WebSocketRoute("/live", endpoint))
    app.add_middleware(RateLimitMiddleware, policy="x.toml")
    app.add_middleware(GZipMiddleware)
    routes, findings = reviewed(app, RULES + TIERS + KEY)
    rows = {(row.host or "") + row.path: (row.operation, row.why, row.units) for row in routes}
    assert rows == {
        "/openapi.json": (None, "rule", False),
        "/reports": ("search", "dependency", False),
        "/exports": ("search", "shape", False),
        "/import": ("write", "decorator", True),
        "/health": (None, "rule", False),
        "/sub/openapi.json": ("search", "shape", False),
        "/sub/docs": ("search", "shape", False),
        "/sub/docs/oauth2-redirect": ("search", "shape", False),
        "/sub/redoc": ("search", "shape", False),
        "/sub/things/{id}": ("write", "shape", False),
        "/files": ("search", "guess", False),
        "api.example.com/x": ("search", "shape", False),
        "/live": ("connect", "shape", False),
    }
    assert [one.name for one in next(row for row in routes if row.path == "/exports").limits["basic"]] == [
        "all",
        "exports",
    ]
    assert [str(one).partition(";")[0] for one in findings] == [
        "* /files: goes by a guess at the path",
        'WEBSOCKET /live: is connect, which no limit of "anonymous" counts',
    ]


def test_what_nothing_limits() -> None:
    """A route is told whose operation no limit of a tier takes anything of: also where its cost is 0, or it is off."""
    app = starlette(Route("/loans", endpoint, methods=["POST"]), Route("/loans", endpoint))
    assert codes(app) == ["unlimited POST /loans"]
    assert reviewed(app).findings[0].sentence == 'is create, which no limit of "basic" counts'
    nothing = "[tiers.anonymous]\nlimits = []"
    assert [one.sentence for one in reviewed(app, nothing).findings] == [
        "is create, which no limit of any tier counts",
        "is search, which no limit of any tier counts",
    ]
    held = '[tiers.anonymous]\nlimits = [{ name = "tokens", rate = "1/minute", cost = 0, hold = true }]'
    assert codes(app, held) == []


def test_no_limiter() -> None:
    """An app that nothing is around is told, and its routes are as they would be."""
    app = Starlette(routes=[Route("/loans", endpoint)])
    assert codes(app) == ["no-limiter"]
    assert len(reviewed(app).routes) == 1


def test_no_routes() -> None:
    """So is one whose routes can't be seen."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    assert codes(limited(app)) == ["no-routes"]
    assert codes(limited(lambda scope, receive, send: app(scope, receive, send)), RULES + TIERS + KEY) == ["no-routes"]
    assert codes(app) == ["no-routes", "no-limiter"]


def test_a_part_of_the_app() -> None:
    """What is outside of the limiter is told, route by route, and is not in the list."""
    inner = Starlette(routes=[Route("/loans", endpoint)])
    app = Starlette(
        routes=[
            Mount("/v1", limited(inner)),
            Mount("/v2", inner, middleware=[Middleware(limited)]),
            Route("/v12", endpoint, methods=["POST", "GET"]),
            Route("/own", endpoint, middleware=[Middleware(limited)]),
            Host("limited.example.com", limited(inner)),
            Host("api.example.com", inner),
            Host("made.example.com", Router([Route("/loans", endpoint)], middleware=[Middleware(limited)])),
            WebSocketRoute("/live", endpoint),
            Mount("/any", lambda scope, receive, send: None),
        ]
    )
    routes, findings = reviewed(app)
    assert [(row.host, row.path) for row in routes] == [
        (None, "/v1/loans"),
        (None, "/v2/loans"),
        (None, "/own"),
        ("limited.example.com", "/loans"),
        ("made.example.com", "/loans"),
    ]
    assert [f"{one.code} {one.where}" for one in findings] == [
        "outside GET,HEAD,POST /v12",
        "outside GET,HEAD /loans of api.example.com",
        "outside WEBSOCKET /live",
        "outside * /any",
    ]


@pytest.mark.parametrize(
    ("app", "identifies", "classifies"),
    [
        (lambda: limited(FastAPI()), False, False),
        (lambda: limited(FastAPI(), identify=deferred()), True, False),
        (lambda: limited(FastAPI(), classify=lambda scope: "search"), False, True),
        (lambda: GZipMiddleware(limited(FastAPI(), identify=lambda scope: None)), True, False),
        (lambda: starlette(identify=None), False, False),
        (lambda: Starlette(middleware=[Middleware(partial(RateLimitMiddleware, identify=len))]), True, False),
        (lambda: starlette(identify=deferred(), classify=len), True, True),
    ],
)
def test_what_the_limiter_was_told(app: Callable[[], Any], identifies: bool, classifies: bool) -> None:
    """Whether the app says itself who calls, and what for, is seen wherever the limiter was made."""
    [found] = limiters_of(app())
    assert (found.identifies, found.classifies) == (identifies, classifies)


def test_an_older_starlette() -> None:
    """Its Middleware has options, and one may be of anything that makes an app."""
    app = Starlette()
    older = type("Older", (), {"cls": RateLimitMiddleware, "options": {"identify": len}})()
    app.user_middleware[:] = [older, Middleware(limited)]
    assert [one.identifies for one in limiters_of(app)] == [True]


def test_apps_within_each_other() -> None:
    """Apps without end are looked through as far as the limiter itself does."""
    app = Starlette()
    app.mount("/again", app)
    assert limiters_of(app) == ()
    wrapped: Any = None
    for _ in range(100):
        wrapped = GZipMiddleware(wrapped)
    assert limiters_of(wrapped) == ()


def test_a_classify_of_its_own() -> None:
    """Where the app names operations itself, rules of the file are not asked, and it is not told that none matches."""
    app = starlette(Route("/loans", endpoint), classify=lambda scope: "search")
    assert codes(app, RULES + TIERS + KEY) == ["own-classify"]


def test_rules_that_no_route_matches() -> None:
    """Each with its line, and what was meant where that is near."""
    app = starlette(Route("/v2/invoices", endpoint), Route("/health", endpoint))
    export = 'export = [\n  "GET /v2/invoice",\n  "POST /nowhere",\n  "GET /v2/invoices",\n]\n'
    rules = f'[operations]\n{export}exempt = ["GET /health"]\n'
    findings = reviewed(app, rules + TIERS.replace('"write"]', '"write", "export"]') + KEY).findings
    assert [(one.code, one.line, one.sentence, one.hint) for one in findings] == [
        ("rule-without-route", 3, '"GET /v2/invoice" matches no route of the app, did you mean "/v2/invoices"?', ""),
        ("rule-without-route", 4, '"POST /nowhere" matches no route of the app', "mend it, or leave it out"),
    ]


def test_overrides_of_limits_that_nobody_declares() -> None:
    """An override may be of a limit that an endpoint declares: whether one does is known with the app."""
    override = '[[overrides]]\norganization = "acme"\nlimits = { exports = "10/hour", "not there" = "1/hour" }\n'
    app = FastAPI(openapi_url=None)
    app.add_api_route("/exports", endpoint, dependencies=[Depends(limit("5/hour", name="exports"))])
    app.add_middleware(RateLimitMiddleware, policy="x.toml")
    text = TIERS + KEY + override
    [finding] = reviewed(app, text).findings
    assert (finding.code, finding.where) == ("override-of-nothing", 'overrides[0].limits."not there"')
    assert text.splitlines()[(finding.line or 0) - 1].startswith("limits = { exports")


def test_limits_that_contradict_each_other() -> None:
    """One name with two numbers is an error, as it is when the server starts."""
    app = FastAPI(openapi_url=None)
    for path, amount in (("/a", "5/hour"), ("/b", "6/hour")):
        app.add_api_route(path, endpoint, dependencies=[Depends(limit(amount, name="exports"))])
    app.add_middleware(RateLimitMiddleware, policy="x.toml")
    [finding] = reviewed(app).findings
    assert (finding.severity, finding.code) == ("error", "limits-contradict")
    assert "one name is one counter" in finding.sentence


def test_a_limit_on_an_exempt_route() -> None:
    """What declares a limit and is exempt by a rule is told: the limit is charged for nobody."""
    app = FastAPI(openapi_url=None)
    app.add_api_route("/health", endpoint, dependencies=[Depends(limit("5/hour", name="checks"))])
    app.add_middleware(RateLimitMiddleware, policy="x.toml")
    rules = '[operations]\nexempt = ["GET /health"]\n'
    assert codes(app, rules + TIERS + KEY) == ["exempt-but-limited GET /health"]


def test_nothing_is_started() -> None:
    """The app's lifespan does not run, and no request is made."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> Any:
        raise NotImplementedError
        yield

    app = Starlette(routes=[Route("/", endpoint)], lifespan=lifespan)
    assert codes(limited(app)) == []
