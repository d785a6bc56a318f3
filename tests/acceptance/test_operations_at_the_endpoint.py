"""What is said at an endpoint is what its requests are counted as: by a rule of the file, else by the endpoint, else by
what is around it, else by the shape."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Match, Mount, Route, Router
from starlette.testclient import TestClient

from ratelimit import MemoryStore, RateLimitMiddleware, as_operation, operation, parse_policy, routes_of
from ratelimit.policy import Policy
from tests.acceptance import T, ask, scope_of
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

OPERATIONS = ("detail_read", "search", "create", "write", "heavy_write", "export", "outer", "ruled")


def policy_of(rules: str = "", origin: str = "policy") -> Policy:
    """Each operation has a limit of its own, so that what is charged tells what the request was."""
    limits = ",\n".join(f'{{ name = "{name}", rate = "1000/minute", operations = ["{name}"] }}' for name in OPERATIONS)
    text = f"[operations]\nexport = []\nouter = []\n{rules}\n[tiers.anonymous]\nlimits = [\n{limits}\n]\n"
    return parse_policy(text if "ruled" in rules else text.replace("[tiers", "ruled = []\n[tiers", 1), origin)


def endpoint() -> Any:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    return answer


class Charged:
    """A client that tells what a request was charged as, over HTTP."""

    def __init__(self, app: Any, rules: str = "", **rest: Any) -> None:
        self.store = MemoryStore(clock=lambda: T)
        self.seen: list[tuple[str, ...]] = []
        acquire = self.store.acquire

        async def noted(charges: Any) -> Any:
            self.seen.append(tuple(charge.limit.name for charge in charges))
            return await acquire(charges)

        self.store.acquire = noted  # type: ignore[method-assign]
        self.limited = RateLimitMiddleware(app, policy_of(rules), store=self.store, **rest)
        self.client = TestClient(self.limited)

    def __call__(self, path: str, method: str = "GET", **headers: str) -> str:
        self.seen.clear()
        self.client.request(method, path, headers=headers)
        return "·".join(name for names in self.seen for name in names) or "exempt"

    def by_path(self, path: str) -> list[str]:
        """Of a path as a server decodes it."""
        self.seen.clear()
        asyncio.run(ask(self.limited, scope=scope_of(path, api_key=None)))
        return [name for names in self.seen for name in names]


def test_precedence() -> None:
    """A rule of the file, then the decorator, then the nearest dependency, then the shape."""
    app = FastAPI(dependencies=[Depends(as_operation("outer"))])
    router = APIRouter(dependencies=[Depends(as_operation("search"))])
    router.add_api_route("/near/{id}", endpoint())
    router.add_api_route("/own/{id}", endpoint(), dependencies=[Depends(as_operation("write"))])
    router.add_api_route("/said/{id}", operation("heavy_write")(endpoint()))

    async def parameter(_: None = Depends(as_operation("export"))) -> str:
        return "ok"

    router.add_api_route("/parameter/{id}", parameter, dependencies=[Depends(as_operation("write"))])
    app.include_router(router, prefix="/in", dependencies=[Depends(as_operation("create"))])
    app.add_api_route("/at/{id}", endpoint())
    app.add_route("/plain/{id}", endpoint())  # one of Starlette's, which has no dependencies
    charged = Charged(app, 'ruled = ["GET /in/said/ruled", "GET /at/ruled"]\nexempt = ["GET /in/own/exempt"]')
    assert {path: charged(path) for path in EXPECTED} == EXPECTED


EXPECTED = {
    "/in/near/7": "search",
    "/in/own/7": "write",
    "/in/said/7": "heavy_write",
    "/in/parameter/7": "export",
    "/at/7": "outer",
    "/plain/7": "detail_read",
    "/in/said/ruled": "ruled",
    "/at/ruled": "ruled",
    "/in/own/exempt": "exempt",
    "/nowhere/7": "detail_read",
}


def test_what_is_served() -> None:
    """A mark of an app that is served is for all that it answers and that says nothing itself, 404s included."""
    inner = Starlette(routes=[Route("/own", operation("create")(endpoint())), Route("/none", endpoint())])
    app = Starlette(
        routes=[
            Mount("/files", operation("detail_read")(PlainTextResponse("file"))),
            Mount("/inner", operation("export")(inner)),
            Host("api.example.com", operation("heavy_write")(Router([Route("/own", endpoint())]))),
            Mount("/not", inner),
        ]
    )
    charged = Charged(app)
    assert charged("/files/a/list") == "detail_read"
    assert charged("/inner/own") == "create"
    assert charged("/inner/none") == "export"
    assert charged("/inner/nowhere") == "export"
    assert charged("/own", host="api.example.com") == "heavy_write"
    assert charged("/own", host="www.example.com") == "search"
    assert charged("/not/own") == "create"
    assert charged("/not/none") == "search"
    whole = Charged(operation("export")(app))
    assert (whole("/not/none"), whole("/not/own"), whole("/own", host="x.org")) == ("export", "create", "export")
    assert Charged(operation("export")(PlainTextResponse("ok")))("/any/7", "DELETE") == "export"


def test_apps_that_are_endpoints() -> None:
    """An app that a Route serves, and not a Mount, is what it is marked as; also one of a class that is marked."""

    class App:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await PlainTextResponse("ok")(scope, receive, send)

    @operation("export")
    class Marked(App): ...

    one = Route("/one", operation("heavy_write")(App()))
    charged = Charged(Starlette(routes=[one, Route("/other", Marked())]))
    assert (charged("/one"), charged("/other")) == ("heavy_write", "export")


def test_methods_and_preflights() -> None:
    """The endpoint of the method counts; what would be a 405 or a 404 goes by its shape, and a preflight is exempt."""

    class View(HTTPEndpoint):
        async def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("ok")

        @operation("heavy_write")
        async def post(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("ok")

    routes = [
        Route("/v", View),
        Route("/x", operation("export")(endpoint()), methods=["POST"]),
        Route("/x", operation("outer")(endpoint()), methods=["GET", "OPTIONS"]),
    ]
    charged = Charged(Starlette(routes=routes))
    assert [charged("/v", method) for method in ("GET", "POST", "HEAD")] == ["search", "heavy_write", "search"]
    asked = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
    assert [charged("/x", method) for method in asked] == ["outer", "outer", "export", "write", "outer"]
    assert charged("/X") == "search"
    preflight = {"origin": "https://example.com", "access-control-request-method": "POST"}
    assert charged("/x", "OPTIONS", **preflight) == "exempt"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/items/José", "export"),  # one way to read it, another to write it
        ("/items//7", "detail_read·export"),  # no route takes it, but one behind a proxy that joins slashes
        ("/x/../items/7", "detail_read·export"),
        ("/items/7\n", "export"),
        ("/items/a%2Fb", "export·search"),
        ("/items/a;b", "export"),
        ("/ITEMS/7", "detail_read"),  # that is a 404
        ("/cheap/../items/7", "outer·export"),
    ],
)
def test_paths_with_several_readings(path: str, expected: str) -> None:
    """What any reading reaches is charged, and what the endpoint says that runs: no way of writing makes it cheaper."""
    routes = [
        Route("/items/{id}", operation("export")(endpoint())),
        Route("/cheap/{p:path}", operation("outer")(endpoint())),
    ]
    charged = Charged(Starlette(routes=routes))
    assert set(charged.by_path(path)) == set(expected.split("·"))


def test_too_many_readings() -> None:
    """A path with more readings than are looked at is charged as all that its method may be, and as what runs."""
    charged = Charged(Starlette(routes=[Route("/{p:path}", operation("export")(endpoint()))]))
    assert set(charged.by_path("/%" + "25" * 99)) == {"detail_read", "search", "export"}


def added(app: Any) -> Any:
    app.add_middleware(RateLimitMiddleware, policy=policy_of(), store=MemoryStore(clock=lambda: T))
    return app


def test_where_the_limiter_is() -> None:
    """Around the app, added to it, in a mount, of a mount, of a route: the endpoint is found."""
    seen: list[Any] = []

    @operation("export")
    async def noted(request: Request) -> PlainTextResponse:
        seen.append([state.limit.name for state in request.scope["ratelimit"].states])
        return PlainTextResponse("ok")

    routes = [Route("/items/{id}", noted)]
    limits = Middleware(RateLimitMiddleware, policy=policy_of())
    for app, path in (
        (RateLimitMiddleware(Starlette(routes=routes), policy_of()), "/items/7"),
        (Starlette(routes=routes, middleware=[limits]), "/items/7"),
        (Starlette(routes=[Mount("/api", Starlette(routes=routes, middleware=[limits]))]), "/api/items/7"),
        (Starlette(routes=[Mount("/api", routes=routes, middleware=[limits])]), "/api/items/7"),
        (Starlette(routes=[Route("/items/{id}", noted, middleware=[limits])]), "/items/7"),
        (
            Starlette(routes=[Mount("/api", routes=[Route("/items/{id}", noted, middleware=[limits])])]),
            "/api/items/7",
        ),
        (Router([Route("/items/{id}", noted, middleware=[limits])]), "/items/7"),
        (Router([Mount("/api", Starlette(routes=[Route("/items/{id}", noted, middleware=[limits])]))]), "/api/items/7"),
        (
            Starlette(
                routes=[Mount("/api", Starlette(routes=[Route("/items/{id}", noted, middleware=[limits])]))],
            ),
            "/api/items/7",
        ),
    ):
        for root in ("", "/v2"):
            assert TestClient(app, root_path=root).get(root + path).status_code == 200
    assert seen == [["export"]] * 18


def test_where_the_outer_app_hides_an_inner_one() -> None:
    """A limiter in the inner one, around what has no routes itself, finds the endpoint by the inner app."""
    seen: list[Any] = []

    @operation("export")
    async def noted(request: Request) -> PlainTextResponse:
        seen.append([state.limit.name for state in request.scope["ratelimit"].states])
        return PlainTextResponse("ok")

    limits = Middleware(RateLimitMiddleware, policy=policy_of())
    plain = endpoint()
    inner = Starlette(
        routes=[Route(f"/{at}/{{id}}", of, middleware=[limits]) for at, of in {"items": noted, "plain": plain}.items()]
    )

    async def hiding(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    client = TestClient(Router([Route("/other", noted), Host("testserver", hiding)]))
    assert [client.get(path).status_code for path in ("/items/7", "/plain/7")] == [200, 200]
    assert seen == [["export"]]


def test_root_path_of_fastapi() -> None:
    """An app that says its root_path itself routes by that, whether the limiter is around it or added to it."""
    for add in (lambda app: RateLimitMiddleware(app, policy_of()), added):
        app = FastAPI()
        app.root_path = "/api"
        seen: list[Any] = []

        @operation("export")
        async def noted(request: Request) -> str:
            seen.append([state.limit.name for state in request.scope["ratelimit"].states])  # noqa: B023
            return "ok"

        app.add_api_route("/items/{id}", noted)
        client = TestClient(add(app))
        assert [client.get(path).status_code for path in ("/items/7", "/api/items/7")] == [200, 200]
        assert seen == [["export"], ["export"]]


def test_another_root_path_than_the_servers() -> None:
    """An app that routes by a root_path of its own, behind a server that says another: also for a path that may be read
    in several ways."""
    app = FastAPI()
    app.root_path = "/api"
    app.post("/caf\xe9")(operation("heavy_write")(endpoint()))
    charged = Charged(app)
    charged.client = TestClient(charged.limited, root_path="/elsewhere")
    assert charged("/caf\xe9", "POST") == "heavy_write"


def test_routes_that_change() -> None:
    """A route that is added, taken away or replaced counts at once, in whatever router, and so does another app in a
    mount."""
    app, router, inner, sub = FastAPI(), APIRouter(), APIRouter(), Starlette()
    inner.add_api_route("/first", operation("create")(endpoint()))
    router.include_router(inner, prefix="/inner")
    app.include_router(router, prefix="/in")
    app.mount("/sub", sub)
    charged = Charged(app)
    assert [charged(path) for path in ("/in/inner/first", "/in/inner/late", "/sub/late")] == ["create"] + ["search"] * 2
    inner.add_api_route("/late", operation("export")(endpoint()))
    router.add_api_route("/late", operation("outer")(endpoint()))
    sub.router.routes.append(Route("/late", operation("write")(endpoint())))
    app.add_api_route("/late", operation("heavy_write")(endpoint()))
    tree = hasattr(app.routes[-2], "effective_route_contexts") or hasattr(app.routes[4], "effective_route_contexts")
    late = ("/in/inner/late", "/in/late", "/sub/late", "/late")
    kept = ["search", "search", "write", "heavy_write"]  # an older FastAPI has copied the routes that were there
    assert [charged(path) for path in late] == (["export", "outer", "write", "heavy_write"] if tree else kept)
    app.router.routes[-1] = Route("/late", operation("create")(endpoint()))
    sub.router.routes[0] = Route("/late", endpoint())
    assert [charged(path) for path in ("/late", "/sub/late")] == ["create", "search"]
    sub.router.routes = []
    app.router.routes = [route for route in app.router.routes if getattr(route, "path", "") != "/late"]
    mount = next(route for route in app.router.routes if isinstance(route, Mount))
    mount.app = operation("outer")(PlainTextResponse("ok"))
    assert [charged(path) for path in ("/late", "/sub/late")] == ["search", "outer"]


def test_marks_that_are_made_later() -> None:
    """An endpoint that is marked after its first request counts as that from then on."""
    function = endpoint()
    charged = Charged(Starlette(routes=[Route("/x", function)]))
    assert charged("/x") == "search"
    operation("export")(function)
    assert charged("/x") == "export"


def test_shapes_are_read_again_too() -> None:
    """With marks in the process, the shape of a path goes by the routes as they are, too."""
    sub = Starlette(routes=[Route("/{id}", endpoint())])
    charged = Charged(Starlette(routes=[Mount("/sub", sub), Route("/x", operation("export")(endpoint()))]))
    assert (charged("/sub/late"), charged("/x")) == ("detail_read", "export")
    sub.router.routes.insert(0, Route("/late", endpoint()))
    assert charged("/sub/late") == "search"


def test_a_classify_of_ones_own() -> None:
    """It comes before what endpoints say, be it async; an error of it names it still."""

    async def late(scope: Any) -> str | None:
        return None if scope["path"] == "/free" else "outer"

    async def wrong(scope: Any) -> Any:
        return 5

    def once(scope: Any) -> str:
        return "outer"

    app = Starlette(routes=[Route("/x", operation("export")(endpoint()))])
    assert Charged(app, classify=once)("/x") == "outer"
    assert Charged(app, classify=late)("/x") == "outer"
    assert Charged(app, classify=late)("/free") == "exempt"
    with pytest.raises(TypeError, match=r"classify, which is .*wrong, returned 5"):
        Charged(app, classify=wrong)("/x")


def test_operations_that_the_policy_does_not_know(caplog: pytest.LogCaptureFixture) -> None:
    """A slip in a name is told, with what may have been meant."""
    app = Starlette(
        routes=[
            Route("/x", operation("exports")(endpoint())),
            Route("/y", operation("serach", units=2)(endpoint())),
        ]
    )
    charged = Charged(app)
    assert (charged("/x"), charged("/y")) == ("exempt", "exempt")
    told = sorted(record.getMessage() for record in caplog.records if "does not know" in record.getMessage())
    assert ['did you mean "export"?' in told[0], 'did you mean "search"?' in told[1]] == [True, True]


@pytest.mark.skipif(not hasattr(APIRouter, "frontend"), reason="an older FastAPI serves no frontends")
class OfVersionTwo(APIRoute):
    def matches(self, scope: Any) -> Any:
        match, child = super().matches(scope)
        return (match, child) if (b"x-version", b"2") in scope["headers"] else (Match.NONE, {})


def test_included_routes_with_a_way_of_their_own() -> None:
    """A route of a class that looks at more than the path is asked, also where it is included with a prefix."""
    new, old, app = APIRouter(route_class=OfVersionTwo), APIRouter(), FastAPI()
    new.get("/things")(operation("export")(endpoint()))
    old.get("/things")(operation("heavy_write")(endpoint()))
    between = APIRouter()
    between.include_router(new, prefix="/b")
    between.include_router(old, prefix="/b")
    app.include_router(between, prefix="/a")
    charged = Charged(app)
    assert charged("/a/b/things", **{"x-version": "2"}) == "export"
    assert charged("/a/b/things") == "heavy_write"


@pytest.mark.skipif(not hasattr(APIRouter, "frontend"), reason="an older FastAPI has none")
def test_frontends(tmp_path: Path) -> None:
    """The files of a frontend are asked for where no route takes a path, and have the dependencies of their router."""
    (tmp_path / "index.html").write_text("ok")
    app, router = FastAPI(), APIRouter(dependencies=[Depends(as_operation("export"))])
    router.frontend("/ui", directory=tmp_path)
    app.include_router(router, prefix="/in")
    app.add_api_route("/in/ui/own", endpoint())
    charged = Charged(app)
    assert [charged(path) for path in ("/in/ui/index.html", "/in/ui/own", "/ui")] == ["export", "search", "search"]
    assert {"/{frontend:path}": "dependency"}.items() <= {
        row.path: row.why for row in routes_of(app, policy_of())
    }.items()


class Unreadable:
    @property
    def routes(self) -> Any:
        raise RuntimeError("no routes today")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("ok")(scope, receive, send)


def test_a_mount_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """What the other routes say is known, and it is told of which nothing is."""
    app = Starlette(routes=[Mount("/x", Unreadable()), Route("/y", operation("export")(endpoint()))])
    assert Charged(app)("/y") == "export"
    assert "the routes of Unreadable at /x can't be read" in caplog.text


def test_an_app_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is known of it, which is told."""
    operation("export")(endpoint())
    assert Charged(Unreadable())("/y") == "search"
    assert "the routes of Unreadable can't be read: what is said at endpoints is not known" in caplog.text


class Breaking:
    routes: Any = ()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("ok")(scope, receive, send)


def test_routes_that_cannot_be_read_any_more() -> None:
    """A mounted app that stops to tell its routes costs the others nothing."""
    broken = Breaking()
    charged = Charged(Starlette(routes=[Mount("/x", broken), Route("/y", operation("export")(endpoint()))]))
    assert charged("/y") == "export"
    Breaking.routes = property(lambda _: 1 / 0)
    assert [charged(path) for path in ("/y", "/y", "/x/a")] == ["export", "export", "search"]


def test_routes_that_raise() -> None:
    """A route of unknown make that raises is the app's own error."""

    class Raising(Route):
        def matches(self, scope: Any) -> Any:
            raise RuntimeError("no match today")

    charged = Charged(Starlette(routes=[Raising("/x", operation("export")(endpoint()))]))
    with pytest.raises(RuntimeError, match="no match today"):
        charged("/x")
    assert charged.seen == [("search",)]
