"""The list by route says what each request is really charged, for an app with everything in it; the log tells it."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from ratelimit import (
    MemoryStore,
    RateLimitMiddleware,
    RouteLimits,
    as_operation,
    hash_api_key,
    operation,
    parse_policy,
    routes_of,
)
from ratelimit.fastapi import limit
from ratelimit.policy import Policy
from tests.acceptance import ANA, T
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

NAMES = ("detail_read", "search", "create", "write", "heavy_write", "export")
RULES = """[operations]
export = ["GET /v2/exports"]
exempt = ["GET /health", "* /internal/**"]
heavy_write = ["POST /v2/invoices/bulk"]
"""


def policy_of(origin: str = "policy") -> Policy:
    limits = ", ".join(f'{{ name = "{name}", rate = "9999/minute", operations = ["{name}"] }}' for name in NAMES)
    key = f'[[keys]]\nsha256 = "{hash_api_key(ANA)}"\ntier = "basic"\nuser = "ana"\n'
    tiers = (
        f'[tiers.anonymous]\nlimits = [{limits}]\n[tiers.basic]\nlimits = [{{ name = "all", rate = "9999/minute" }}]'
    )
    return parse_policy(f"{RULES}\n{key}\n{tiers}\n", origin)


def fresh() -> Any:
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    return endpoint


def resource() -> APIRouter:
    router = APIRouter()
    router.add_api_route("", fresh(), methods=["GET"])
    router.add_api_route("", fresh(), methods=["POST"])
    router.add_api_route("/{id}", fresh(), methods=["GET"])
    router.add_api_route("/{id}", fresh(), methods=["PATCH"])
    router.add_api_route("/{id}", fresh(), methods=["DELETE"])
    return router


class View(HTTPEndpoint):
    async def get(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    async def post(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")


def everything() -> FastAPI:
    """Sixty routes and more."""
    marked = type("Marked", (View,), {"post": operation("heavy_write")(fresh_method())})
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_api_route("/health", fresh())
    v2 = APIRouter(prefix="/v2")
    for name in ("invoices", "customers", "products", "receipts", "catalogs", "webhooks", "keys"):
        v2.include_router(resource(), prefix=f"/{name}")
    v2.add_api_route("/exports", fresh(), dependencies=[Depends(limit("99/hour", name="exports"))])
    v2.add_api_route("/bulk", operation("heavy_write", units=lambda request: 2)(fresh()), methods=["POST"])
    reports = APIRouter(prefix="/reports", dependencies=[Depends(as_operation("search"))])
    reports.add_api_route("/daily/{day}", fresh())
    reports.add_api_route("/build", operation("heavy_write")(fresh()), methods=["POST"])
    years = APIRouter()
    years.add_api_route("/{year:int}", fresh())
    years.add_api_route("/{year:int}/pdf", fresh(), dependencies=[Depends(as_operation("export"))])
    reports.include_router(years, prefix="/years")
    v2.include_router(reports)
    app.include_router(v2)
    app.include_router(reports, prefix="/v1")
    app.router.routes += [
        Route("/view", View),
        Route("/marked/{id}", marked),
        Mount("/team/{team}", routes=[Route("/", fresh()), Route("/members", fresh()), Route("/{name}", fresh())]),
        Mount("/files", operation("detail_read")(StaticFiles(directory="."))),
        Mount("/opaque", PlainTextResponse("ok")),
        Mount("/internal", routes=[Route("/state", fresh())]),
        Host("api.example.com", app=Router([Route("/own/{id}", operation("export")(fresh())), Route("/own", fresh())])),
    ]
    own = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    own.add_api_route("/items/{id}", operation("write")(fresh()))
    own.add_middleware(
        RateLimitMiddleware,
        policy=parse_policy('[tiers.anonymous]\nlimits = [{ name = "own", rate = "99/minute" }]', "own"),
    )
    app.mount("/sub", own)
    app.router.routes.append(Route("/{page:path}", fresh()))
    return app


def fresh_method() -> Any:
    async def post(self: Any, request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    return post


RESOURCE = """
GET /v2/{name} search shape
POST /v2/{name} create shape
GET /v2/{name}/{{id}} detail_read shape
PATCH /v2/{name}/{{id}} write shape
DELETE /v2/{name}/{{id}} write shape"""

REPORTS = """
GET {0}/reports/daily/{{day}} search dependency
POST {0}/reports/build heavy_write decorator
GET {0}/reports/years/{{year:int}} search dependency
GET {0}/reports/years/{{year:int}}/pdf export dependency"""

EXPECTED = (
    "GET /health exempt rule"
    + "".join(
        RESOURCE.format(name=name)
        for name in ("invoices", "customers", "products", "receipts", "catalogs", "webhooks", "keys")
    )
    + "\nGET /v2/exports export rule +exports\nPOST /v2/bulk heavy_write decorator units"
    + REPORTS.format("/v2")
    + REPORTS.format("/v1")
    + """
GET,HEAD /view search shape
POST /view create shape
GET,HEAD /marked/{id} detail_read shape
POST /marked/{id} heavy_write decorator
GET,HEAD /team/{team}/ search shape
GET,HEAD /team/{team}/members search shape
GET,HEAD /team/{team}/{name} detail_read shape
* /files detail_read decorator
* /opaque search guess
GET,HEAD /internal/state exempt rule
GET,HEAD /own/{id} export decorator api.example.com
GET,HEAD /own search shape api.example.com
GET /sub/items/{id} write decorator
GET,HEAD /{page:path} search guess"""
).splitlines()


def told(row: RouteLimits) -> str:
    parts = [",".join(row.methods or "*"), row.path, row.operation or "exempt", row.why]
    declared = [f"+{one.name}" for one in row.limits.get("basic", ()) if one.name != "all"]
    return " ".join([*parts, *filter(None, [row.host, "units" if row.units else None]), *declared])


class Asked:
    """What a request is charged, by whom, over HTTP."""

    def __init__(self, app: Any, policy: Policy) -> None:
        self.seen: list[tuple[str, ...]] = []
        store = MemoryStore(clock=lambda: T)
        acquire = store.acquire

        async def noted(charges: Any) -> Any:
            self.seen.append(tuple(charge.limit.name for charge in charges))
            return await acquire(charges)

        store.acquire = noted  # type: ignore[method-assign]
        self.client = TestClient(RateLimitMiddleware(app, policy, store=store), raise_server_exceptions=False)

    def __call__(self, method: str, path: str, host: str | None, tier: str) -> tuple[str, ...]:
        self.seen.clear()
        headers = {"host": host} if host else {}
        if tier == "basic":
            headers["authorization"] = f"Bearer {ANA}"
        self.client.request(method, path, headers=headers)
        return self.seen[0] if self.seen else ()


def example(row: RouteLimits) -> str:
    return re.sub(r"\{[a-z]+:int\}", "7", re.sub(r"\{[a-z]+(:path)?\}", "acme", row.path)) + (
        "/acme" if row.methods is None else ""
    )


def test_the_list_is_as_expected_and_as_charged() -> None:
    """Route, methods, host, operation and why; and each limit of each tier, as a request of it is really charged."""
    app, policy = everything(), policy_of()
    rows = routes_of(app, policy)
    assert [told(row) for row in rows] == EXPECTED
    assert len(rows) >= 60
    asked = Asked(app, policy)
    for row in rows:
        for method in row.methods or ("GET",):
            for tier in policy.tiers:
                charged = tuple(one.name for one in row.limits.get(tier, ()))
                assert asked(method, example(row), row.host, tier) == charged, (told(row), method, tier)


def test_a_route_that_is_added_at_run_time() -> None:
    """It is on the list and is charged so, also in a router that is included already."""
    app, policy, router = FastAPI(), policy_of(), APIRouter(prefix="/in")
    router.add_api_route("/first", fresh())
    app.include_router(router)
    asked = Asked(app, policy)
    assert asked("GET", "/late", None, "anonymous") == ("search",)
    app.add_api_route("/late", operation("export")(fresh()))
    router.add_api_route("/late", operation("export")(fresh()), dependencies=[Depends(limit("9/hour", name="own"))])
    assert asked("GET", "/late", None, "anonymous") == ("export",)
    rows = {row.path: row for row in routes_of(app, policy)}
    in_tree = "/in/late" in rows  # an older FastAPI copies the routes that are there when it includes a router
    assert asked("GET", "/in/late", None, "anonymous") == (("export", "own") if in_tree else ("search",))
    assert rows["/late"].why == "decorator"


def test_websockets_and_a_classify_of_ones_own() -> None:
    """A WebSocket has no methods; of a classify of the user's own the list knows what the endpoints say."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.websocket("/live")
    @operation("export")
    async def live(websocket: Any) -> None: ...

    (row,) = routes_of(app, policy_of())
    assert (row.methods, row.websocket, row.operation) == (None, True, "export")
    policy = policy_of()
    own = Policy(policy.tiers, policy.identify, lambda scope: "search", policy.style, policy.address)
    assert routes_of(app, own)[0].operation == "export"
    assert routes_of(Starlette(), own) == ()
    assert routes_of(operation("export")(PlainTextResponse("ok")), policy)[0].why == "decorator"


def test_the_log_at_start(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each route at DEBUG, and a warning for each that only a guess classifies, once."""
    caplog.set_level(logging.DEBUG, "ratelimit")
    asked = Asked(everything(), policy_of())
    with asked.client:
        asked("GET", "/health", None, "basic")
        asked("GET", "/view", None, "basic")
        asked("GET", "/view", None, "basic")
    lines = [record.getMessage() for record in caplog.records if record.name == "ratelimit"]
    debug = [line for line in lines if " is " in line and " by " in line and "basic:" in line]
    assert "POST /v2/bulk is heavy_write by decorator with units: anonymous: heavy_write; basic: all" in debug
    assert "GET /v2/exports is export by rule: anonymous: export, exports; basic: all, exports" in debug
    assert any(line.startswith("GET /health is exempt by rule") for line in lines)
    assert len([line for line in lines if " by " in line and " is " in line]) >= 60
    warned = [line for line in lines if "goes by a guess" in line]
    assert [line.partition(" goes")[0] for line in warned] == ["* /opaque", "GET,HEAD /{page:path}"]


def test_what_cannot_be_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails while it is told costs no request."""
    monkeypatch.setattr("ratelimit.endpoints.start.wrong_in", lambda routes: 1 / 0)
    assert Asked(everything(), policy_of())("GET", "/view", None, "basic") == ("all",)
    assert "what the routes are can't be told" in caplog.text
