"""The routes of the app: what they know of a path, for real apps of Starlette and FastAPI."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from ratelimit.model import Readings
from ratelimit.operations import ClassifyByRules, Rule
from ratelimit.operations.routes import read
from ratelimit.routes.declared import owner_of
from ratelimit.routes.paths import split_path

ITEM, COLLECTION = "detail_read", "search"


async def endpoint(request: Any) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def live(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


class Spy:
    """A middleware that keeps what each request was classified as."""

    def __init__(self, app: Any, classify: Callable[[Any], str | None], seen: list[str | None]) -> None:
        self.app, self.classify, self.seen = app, classify, seen

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self.seen.append(self.classify(scope))
        await self.app(scope, receive, send)


def operation(app: Any, path: str, *rules: Rule, method: str = "GET", **client: Any) -> str | None:
    """What a request through the app is, seen by a middleware that is added to it."""
    seen: list[str | None] = []
    app.middleware_stack = None  # so that one can be added to an app that has run
    app.add_middleware(Spy, classify=ClassifyByRules(rules), seen=seen)
    TestClient(app, **client).request(method, path)
    return seen[-1]


def operations_of(operation: str | None) -> tuple[str | None, ...]:
    return operation.operations if isinstance(operation, Readings) else (operation,)


class LettersConvertor(Convertor[str]):
    regex = "[a-z]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class SlashesConvertor(LettersConvertor):
    regex = "[a-z/]+"


register_url_convertor("letters", LettersConvertor())
register_url_convertor("slashes", SlashesConvertor())


def starlette_app() -> Starlette:
    inner = [Route("/", endpoint), Route("/members", endpoint), Route("/{name}", endpoint)]
    return Starlette(
        routes=[
            Route("/", endpoint),
            Route("/customers", endpoint),
            Route("/customers/search", endpoint),
            Route("/customers/{id}", endpoint),
            Route("/customers/late", endpoint),
            Route("/customers/{id}/orders", endpoint),
            Route("/numbers/{id:int}", endpoint),
            Route("/words/{id:letters}", endpoint),
            Route("/names/{a}-{b}.json", endpoint),
            Route("/deep-{a:slashes}", endpoint),
            Route("/files/{path:path}", endpoint),
            Route("/trees/{path:slashes}/leaf", endpoint),
            Route("/only/search", endpoint, methods=["POST"]),
            Route("/only/{id}", endpoint),
            Route("/posts/{id}", endpoint, methods=["POST"]),
            Route("/class/{id}", HTTPEndpoint),
            WebSocketRoute("/only/live", live),
            WebSocketRoute("/live/{room}", live),
            Mount("/teams/{team}", routes=inner),
            Mount("/wrapped", app=GZipMiddleware(GZipMiddleware(Router(inner)))),
            Mount("/with", routes=inner, middleware=[Middleware(GZipMiddleware)]),
            Mount("/opaque", app=PlainTextResponse("ok")),
            Host("{tenant}.example.com", app=Router(inner)),
            Route("/{page:path}", endpoint),
        ]
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", COLLECTION),
        ("/customers", COLLECTION),
        ("/customers/", COLLECTION),
        ("/customers/search", COLLECTION),  # declared before the parameter
        ("/customers/acme", ITEM),
        ("/customers/acme/", ITEM),
        ("/customers/late", ITEM),  # declared after it
        ("/customers/v2", ITEM),  # a version elsewhere, an identifier in a parameter
        ("/customers/acme/orders", COLLECTION),
        ("/words/acme", ITEM),
        ("/names/a-b.json", ITEM),
        ("/deep-a/b/c", COLLECTION),  # what takes any path says nothing
        ("/files/a/b", COLLECTION),
        ("/files/a/7", ITEM),  # guessed
        ("/trees/a/b/leaf", COLLECTION),
        ("/only/search", ITEM),  # the literal one is for POST
        ("/only/live", ITEM),  # the literal one is for WebSocket
        ("/class/acme", ITEM),
        ("/teams/red", COLLECTION),
        ("/teams/red/members", COLLECTION),
        ("/teams/red/ana", ITEM),
        ("/wrapped/members", COLLECTION),
        ("/wrapped/ana", ITEM),
        ("/with/members", COLLECTION),
        ("/with/ana", ITEM),
        ("/opaque/ana", COLLECTION),  # nobody knows, and the last route is never asked
        ("/members", COLLECTION),
        ("/ana", ITEM),
        ("/any/page", COLLECTION),
        ("/any/page.3f9c1.js", ITEM),
    ],
)
def test_starlette(path: str, expected: str) -> None:
    """The first route of the app that takes the path decides whether it ends in a parameter."""
    assert operation(starlette_app(), path) == expected
    assert operation(starlette_app(), path, method="HEAD") == expected


ODD_SEGMENTS = ["a", "b1", "7", "\n", "a\n", " ", "\r", "\x85", "\u2028", "\x00", ".", "..", "%0A", "é", ";x", ""]
ODD_ENDS = ["", "/", "\n", "/\n", "\n\n", "\r"]
ODD_PATHS = st.builds(
    lambda segments, end: "/" + "/".join(segments) + end,
    st.lists(st.sampled_from(ODD_SEGMENTS), max_size=4),
    st.sampled_from(ODD_ENDS),
)
# Routes, and the rule that takes the same
RULES_OF_ROUTES = {
    "/": "/",
    "/a": "/a",
    "/a/": "/a",
    "/a/b1": "/a/b1",
    "/a/b1/": "/a/b1/",
    "/{x}": "/{x}",
    "/a/{x}": "/a/*",
    "/a/{x}/": "/a/*",
    "/{x}/b1": "/*/b1",
    "/a/{n:int}": "/a/{n}",
    "/a/{x:path}": "/a/**",
    "/{x:path}": "/**",
    "/a/{x:path}/b1": "/a/**/b1",
}


@given(path=ODD_PATHS, routes=st.lists(st.sampled_from(sorted(RULES_OF_ROUTES)), min_size=1, max_size=3))
@example(path="/a\n", routes=["/a"])
@example(path="/a/\n", routes=["/a/"])
@example(path="/a/\n", routes=["/a/{x}"])
@example(path="/a/b1/\n", routes=["/{x}/b1", "/a/b1/"])
@example(path="/\n", routes=["/"])
def test_no_path_leads_around_a_rule(path: str, routes: list[str]) -> None:
    """Whatever path Starlette's router takes to a route, the rule for that route takes as well."""
    served: list[str] = []

    def serving(route: str) -> Callable[[Any], Any]:
        async def serve(request: Any) -> PlainTextResponse:
            served.append(route)
            return PlainTextResponse("ok")

        return serve

    request = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    app = Router([Route(route, serving(route), methods=["POST"]) for route in routes], redirect_slashes=False)
    asyncio.run(app(dict(request), _nothing, _nowhere))
    for route in served:
        classify = ClassifyByRules([Rule.parse(f"POST {RULES_OF_ROUTES[route]}", "ruled")])
        assert "ruled" in operations_of(classify(request))


@given(path=ODD_PATHS, routes=st.lists(st.sampled_from(sorted(RULES_OF_ROUTES)), min_size=1, max_size=3))
@example(path="/a\n", routes=["/a", "/{x}"])
@example(path="/a/\n", routes=["/a/", "/a/{x}"])
def test_what_the_router_takes_is_known(path: str, routes: list[str]) -> None:
    """A path that Starlette's router takes to one of the routes is never unknown here, unless that takes any path."""
    app = Starlette(routes=[Route(route, endpoint) for route in routes])
    request = {"type": "http", "method": "GET", "path": path, "headers": [], "app": app}
    taken = next((route.path for route in app.routes if route.matches(request)[0] is Match.FULL), "{x:path}")
    segments = split_path(path)
    exact, any_case = read(app, watched=False).verdicts(request, "", path, segments, segments)
    assert exact is not None or taken.endswith(":path}")
    assert any_case == exact


def test_a_newline_at_the_end_over_http() -> None:
    """`POST /v2/invoices%0A` is served as `/v2/invoices`, and limited as such."""
    rule = Rule.parse("POST /v2/invoices", "heavy_write")
    app = Starlette(routes=[Route("/v2/invoices", endpoint, methods=["POST"])])
    assert TestClient(app).post("/v2/invoices%0A").status_code == 200
    assert operation(app, "/v2/invoices%0A", rule, method="POST") == "heavy_write"
    app = Starlette(routes=[Route("/customers/search", endpoint), Route("/customers/{id}", endpoint)])
    assert operation(app, "/customers/search%0A") == COLLECTION
    assert operation(app, "/customers/acme%0A") == ITEM
    assert operations_of(operation(app, "/customers/%0A")) == (ITEM, COLLECTION)  # for whom drops it


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _nowhere(message: Any) -> None:
    pass


def test_other_routes_decide_where_none_answers() -> None:
    """A route for other methods still tells what a path means, behind those that answer a GET."""
    routes = [Route("/posts/{id}", endpoint, methods=["POST"]), Route("/posts/new", endpoint)]
    assert operation(Starlette(routes=routes), "/posts/acme") == ITEM
    assert operation(Starlette(routes=routes), "/posts/new") == COLLECTION


def test_numbers_only() -> None:
    """A parameter takes what its convertor takes, whatever the case, and nothing else."""
    app = Starlette(routes=[Route("/numbers/{id:int}/{name}", endpoint), Route("/words/{id:letters}", endpoint)])
    for path, expected in (("/numbers/17/acme", ITEM), ("/numbers/x/acme", COLLECTION), ("/words/ACME", ITEM)):
        assert operation(app, path) == expected
    assert operation(Starlette(routes=[Route("/{a}-{b}", endpoint)]), "/" + "-" * 300) == COLLECTION


def test_an_empty_path_parameter_is_no_identifier() -> None:
    """`/files/` of a route `/files/{path:path}` names no file."""
    assert operation(Starlette(routes=[Route("/files/{path:path}", endpoint)]), "/files/") == COLLECTION


def test_websocket() -> None:
    """A handshake is no GET: it is `connect`, whatever the routes say of its path."""
    for app, paths in ((starlette_app(), ("/only/live", "/live/lobby")), (fastapi_app(), ("/invoices/a/live/lobby",))):
        seen: list[str | None] = []
        app.add_middleware(Spy, classify=ClassifyByRules(), seen=seen)
        for path in paths:
            with TestClient(app).websocket_connect(path):
                pass
        assert seen == ["connect"] * len(paths)


def fastapi_app(root_path: str = "") -> FastAPI:
    app = FastAPI()
    app.root_path = root_path
    leaf, branch = APIRouter(prefix="/lines"), APIRouter(prefix="/{invoice}")
    plain = APIRouter(routes=[Mount("/mounted", routes=[Route("/{name}", endpoint)])])

    async def read() -> str:
        return "ok"

    for router, path in (
        (leaf, "/search"),
        (leaf, "/{line}"),
        (branch, "/search"),
        (branch, "/{part}/{piece}"),
        (app, "/customers/search"),
        (app, "/customers/{id}"),
    ):
        router.add_api_route(path, read)

    branch.add_api_websocket_route("/live/{room}", live)
    branch.include_router(leaf)
    app.include_router(branch, prefix="/invoices")
    app.include_router(plain, prefix="/plain")
    return app


FASTAPI = [
    ("/customers/search", COLLECTION),
    ("/customers/acme", ITEM),
    ("/invoices/acme/search", COLLECTION),
    ("/invoices/acme/lines/last", ITEM),  # {part}/{piece} comes first
    ("/invoices/acme/lines", COLLECTION),
    ("/plain/mounted/acme", ITEM),
    ("/nowhere/acme", COLLECTION),
]


@pytest.mark.parametrize(("path", "expected"), FASTAPI)
def test_fastapi(path: str, expected: str) -> None:
    """Routers that FastAPI includes, with their prefixes and in one another, are known."""
    assert operation(fastapi_app(), path) == expected


@pytest.mark.parametrize(("path", "expected"), FASTAPI)
def test_fastapi_under_a_root_path(path: str, expected: str) -> None:
    """Behind a proxy the routes are known with the prefix in the path and without."""
    assert operation(fastapi_app(root_path="/api"), path) == expected
    assert operation(fastapi_app(root_path="/api"), "/api" + path) == expected
    assert operation(fastapi_app(), path, root_path="/api") == expected


@pytest.mark.parametrize(("path", "expected"), FASTAPI)
def test_a_mounted_fastapi_app(path: str, expected: str) -> None:
    """A mounted app is known to a middleware of the outer app, and to one of its own."""
    inner, outer = fastapi_app(), FastAPI()
    outer.mount("/sub", inner)
    assert operation(outer, "/sub" + path) == expected
    inner.middleware_stack = None
    seen: list[str | None] = []
    inner.add_middleware(Spy, classify=ClassifyByRules([Rule.parse("GET /sub/**/search", "ours")]), seen=seen)
    TestClient(outer).get("/sub" + path)
    assert seen == ["ours" if path.endswith("/search") else expected]


def test_a_middleware_of_a_mount() -> None:
    """A middleware that belongs to a mount sees the root_path of the mount and the outer app, and knows its routes."""
    seen: list[str | None] = []
    spy = Middleware(Spy, classify=ClassifyByRules(), seen=seen)
    mount = Mount("/sub", routes=[Route("/a/search", endpoint), Route("/a/{id}", endpoint)], middleware=[spy])
    client = TestClient(Starlette(routes=[mount]))
    client.get("/sub/a/acme")
    client.get("/sub/a/search")
    assert seen == [ITEM, COLLECTION]


def test_the_app_knows_better_than_a_rule() -> None:
    """A literal route of the app is no item, even where a rule ends in a parameter; the rule decides elsewhere."""
    app = Starlette(routes=[Route("/customers/search", endpoint)])
    rule = Rule.parse("DELETE /customers/{id}", "heavy_write")
    assert operation(app, "/customers/search", rule) == COLLECTION
    assert operation(app, "/customers/acme", rule) == ITEM


def test_an_app_is_read_once_and_again_when_it_grows() -> None:
    """Routes are read for each app, once, and again when their number has changed."""
    app, classify = fastapi_app(), ClassifyByRules()
    other = Starlette(routes=[Route("/customers/search", endpoint), Route("/customers/acme", endpoint)])
    request = {"type": "http", "method": "GET", "path": "/customers/acme", "headers": [], "app": app}
    assert classify(request) == ITEM
    first = classify._items._known[app]
    assert classify(request | {"app": other}) == COLLECTION
    assert classify(request | {"path": "/new/acme"}) == COLLECTION
    assert classify._items._known[app] is first
    app.add_api_route("/new/{id}", lambda: "ok")
    assert classify(request | {"path": "/new/acme"}) == ITEM
    assert classify._items._known[app] is not first


def test_apps_in_turn() -> None:
    """Each of several apps goes by its own routes, also where they have as many."""
    classify = ClassifyByRules()
    apps = {
        COLLECTION: Starlette(routes=[Route("/a/b", endpoint)]),
        ITEM: Starlette(routes=[Route("/a/{id}", endpoint)]),
    }
    for expected, app in [*apps.items()] * 2:
        assert classify({"type": "http", "method": "GET", "path": "/a/b", "headers": [], "app": app}) == expected


@pytest.mark.parametrize("make", [starlette_app, fastapi_app])
def test_an_app_is_not_kept_alive(make: Callable[[], Any]) -> None:
    """An app that is gone is forgotten."""
    classify = ClassifyByRules()
    classify({"type": "http", "method": "GET", "path": "/a", "headers": [], "app": make()})
    gc.collect()
    assert not classify._items._known


def test_a_path_that_case_makes_another() -> None:
    """What is a parameter as it is written and a literal route whatever the case is taken for both."""
    app = Starlette(routes=[Route("/customers/search", endpoint), Route("/customers/{id}", endpoint)])
    assert operations_of(operation(app, "/customers/SEARCH")) == (ITEM, COLLECTION)
    assert operation(app, "/customers/search") == COLLECTION
    app = Starlette(routes=[Route("/customers/Search", endpoint), Route("/customers/{id}", endpoint)])
    assert operations_of(operation(app, "/customers/search")) == (ITEM, COLLECTION)
    assert operation(app, "/customers/Search") == COLLECTION


@pytest.mark.parametrize(
    "app",
    [
        None,
        object(),
        SimpleNamespace(),
        SimpleNamespace(routes=None),
        SimpleNamespace(routes=5),
        SimpleNamespace(routes=[object()]),  # has no hash
        type("App", (), {"routes": [object()]})(),
        type("NoWeak", (), {"__slots__": (), "routes": []})(),
    ],
)
def test_an_app_of_another_make_says_nothing(app: Any) -> None:
    """An app without routes of a known kind leaves a path to its shape."""
    request = {"type": "http", "method": "GET", "path": "/customers/acme", "headers": [], "app": app}
    assert ClassifyByRules()(request) == COLLECTION


def test_routes_without_convertors() -> None:
    """The text of a route is enough to know it by."""
    route = SimpleNamespace(path="/a/{id}/{rest:path}/{last}", endpoint=None, methods=None)
    app = type("App", (), {"routes": [route]})()
    request = {"type": "http", "method": "GET", "path": "/a/b/c/d", "headers": [], "app": app}
    assert ClassifyByRules()(request) == ITEM


def test_routes_that_cannot_be_read_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Routes of unknown make cost no request: it is logged once, and paths go by their shape."""
    app = type("App", (), {"routes": [SimpleNamespace(path=5, endpoint=None)]})()
    classify = ClassifyByRules()
    with caplog.at_level(logging.WARNING, "ratelimit"):
        for _ in range(3):
            assert classify({"type": "http", "method": "GET", "path": "/a", "headers": [], "app": app}) == COLLECTION
    (record,) = caplog.records
    assert re.search("the routes of App can't be read", record.getMessage())


def test_an_app_mounted_in_itself() -> None:
    """A ring of mounts ends."""
    app = Starlette(routes=[Route("/a/{id}", endpoint)])
    app.routes.append(Mount("/again", app=app))
    assert operation(app, "/a/acme") in (ITEM, COLLECTION)


def test_an_app_that_wraps_itself() -> None:
    """What is asked for routes again and again is left at some time, and classified by the shape of its paths."""

    class Wrapper:
        @property
        def app(self) -> object:
            return self

    assert owner_of(Wrapper()) is None
