"""What an app's routes say, at the edges: bounds, objects of unknown make, and what is kept."""

from __future__ import annotations

import functools
import pickle
import re
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute

from ratelimit import as_operation, operation
from ratelimit.model import Readings
from ratelimit.operations import ClassifyByRules, classify_for
from ratelimit.routes.app import APPS, METHODS, AppRoutes
from ratelimit.routes.marks import Mark, mark_of
from ratelimit.routes.paths import Wild
from ratelimit.routes.routed import Endpoint, Routed
from ratelimit.routes.tree import index_of, path_at
from tests.routes import marks_forgotten
from tests.routes.test_tree import Marker, scope_of, starlette_routes

__all__ = ["marks_forgotten"]


def endpoint(name: str, units: Any = 1) -> Any:
    @operation(name, units=units)
    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse(name)

    return answer


def test_without_an_app() -> None:
    """Rules that are not bound to an app know nothing of endpoints; one without routes has none to tell of."""
    endpoint("export")
    classify = ClassifyByRules()
    app = Starlette(routes=[Route("/x", endpoint("export"))])
    assert classify({**scope_of("/x", "GET", None), "app": app}) == "search"
    assert list(classify.routes.nodes()) == []
    assert classify_for(classify, app)(scope_of("/x", "GET", None)) == "export"


def test_methods_without_number() -> None:
    """What an endpoint that takes any method says to made-up ones is not kept for more than some."""

    class View:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    routes = AppRoutes(Starlette(routes=[Route("/x", operation("export")(View))]))
    for number in range(METHODS + 5):
        found = routes.endpoint(scope_of("/x", f"M{number}", None))
        assert found is not None
        assert found.operation == "export"
    (node,) = routes.nodes()
    assert len(node.said) == METHODS


def test_names_without_number() -> None:
    """Nor is what a classify of the user's own names without number."""
    made = Endpoint(Mark("export", 2), "decorator")
    assert made.named("a") is made.named("a")
    for number in range(300):
        assert made.named(f"n{number}") == f"n{number}×2"  # noqa: RUF001
    assert made.named("late") is not made.named("late")
    assert made.named("late") == made.named("late")


def test_wrappers_without_end() -> None:
    """Thirty wrappers are looked through, and what wraps itself ends."""

    def function() -> None: ...

    for _ in range(40):
        function = functools.wraps(function)(lambda: None)
    assert mark_of(function) is None
    function.__wrapped__ = function  # type: ignore[attr-defined]
    assert mark_of(function) is None

    class Loop:
        @property
        def app(self) -> Loop:
            return self

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    endpoint("export")
    assert AppRoutes(Starlette(routes=[Mount("/x", Loop())])).endpoint(scope_of("/x/y", "GET", None)) is None


def test_mounts_without_end() -> None:
    """An app that is mounted in itself is read to a depth."""
    app = Starlette(routes=[Route("/x", endpoint("export"))])
    app.router.routes.append(Mount("/again", app))
    found = AppRoutes(app).endpoint(scope_of("/again" * 3 + "/x", "GET", None))
    assert found is not None
    assert found.operation == "export"
    assert AppRoutes(app).endpoint(scope_of("/again" * 40 + "/x", "GET", None)) is None


def test_websockets_and_requests() -> None:
    """A route for WebSockets takes no request, nor the other way."""
    app = Starlette(routes=[WebSocketRoute("/x", endpoint("live")), Route("/x", endpoint("export"))])
    routes = AppRoutes(app)
    request = scope_of("/x", "GET", None)
    socket = {key: value for key, value in request.items() if key != "method"} | {"type": "websocket"}
    for scope, expected in ((request, "export"), (socket, "live")):
        found = routes.endpoint(scope)
        assert found is not None
        assert found.operation == expected


def test_a_route_without_a_pattern() -> None:
    """It is asked itself; of its parameters nothing is known but what is there."""
    seen: list[Any] = []

    class Own(BaseRoute):
        endpoint = staticmethod(endpoint("export", lambda request: seen.append(request.path_params) or 3))
        methods = None

        def matches(self, scope: Any) -> Any:
            return Match.FULL, {}

    found = AppRoutes(Router([Own()])).endpoint(scope_of("/x", "GET", None))
    assert found is not None
    routed = found.named("export")
    assert isinstance(routed, Routed)
    assert routed.of({**scope_of("/x", "GET", None), "path_params": {"a": 1}}).units == 3
    assert seen == [{"a": 1}]


def test_hosts_without_a_header() -> None:
    """A request without a host is for none that is named."""
    app = Router([Host("{name}", Router([Route("/x", endpoint("export"))]))])
    assert AppRoutes(app).endpoint(scope_of("/x", "GET", None)) is None
    assert AppRoutes(app).endpoint(scope_of("/x", "GET", "red")) is not None


@pytest.mark.parametrize("pattern", [r"^Red\.example\.com$", r"^red\.example\.com$"])
def test_hosts_with_capitals(pattern: str) -> None:
    """Units are computed with the parameters of the route, also where Starlette compares hosts as they are written."""
    seen: list[Any] = []

    def units(asked: Any) -> int:
        seen.append(asked.path_params["a"])
        return 3

    route = Route("/{a:int}", endpoint("export", units))
    one = Host("red.example.com", Router([route]))
    one.host_regex = re.compile(pattern)
    one.matches = lambda scope: (Match.FULL, {})  # type: ignore[method-assign] - as before Starlette 1.0
    scope = scope_of("/7", "GET", "Red.example.com")
    found = AppRoutes(Router([one])).endpoint(scope)
    assert found is not None
    routed = found.named("export")
    assert isinstance(routed, Routed)
    assert routed.of(scope).units == 3
    assert seen == [7]


def test_what_is_read_is_forgotten() -> None:
    """And read again where it is asked for."""
    routes = AppRoutes(Starlette(routes=[Route("/x", endpoint("export"))]))
    before = routes.tree()
    assert routes.tree() is before
    routes.forget()
    assert routes.tree() is not before


def test_routes_that_are_made_anew() -> None:
    """An app that makes its routes anew whenever it is asked is read once."""

    class Making:
        @property
        def routes(self) -> list[Any]:
            return [Route("/x", say)]

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    say = endpoint("export")
    routes = AppRoutes(Making())
    assert routes.endpoint(scope_of("/x", "GET", None)) is not None
    assert routes.tree() is routes.tree()


def test_a_route_that_depends_on_more() -> None:
    """A route that is replaced by one of the same endpoint, which depends on something else, is read again."""

    def function() -> None: ...

    app = FastAPI()
    app.add_api_route("/x", function)
    routes = AppRoutes(app)
    endpoint("made")
    assert routes.endpoint(scope_of("/x", "GET", None)) is None
    app.router.routes[-1] = APIRoute("/x", function, dependencies=[Depends(as_operation("export"))])
    found = routes.endpoint(scope_of("/x", "GET", None))
    assert found is not None
    assert (found.operation, found.why) == ("export", "dependency")


def test_long_paths() -> None:
    """A path of 64 kB, and one of 32,000 segments, are found in some milliseconds."""
    some = starlette_routes(Marker())
    routes = AppRoutes(Starlette(routes=[*some[:-2], some[-1]]))  # without the mount that takes any path
    for path in ("/" + "a" * 64_000, "/a" * 32_000, "/m/" + "x/" * 30_000, "/f/" * 20_000, "/a/" + "-" * 60_000):
        assert (routes.endpoint(scope_of(path, "GET", None)) is None) is path.startswith("/m/")  # which is a 404


def test_a_part_of_several_apps() -> None:
    """A limiter of a route knows the routes of the apps that have it, of not more than some."""
    part = AppRoutes(PlainTextResponse("ok"))
    route = Route("/x", endpoint("export"))
    apps = [Starlette(routes=[Mount(f"/{number}", routes=[route])]) for number in range(APPS + 2)]
    for _ in range(2):
        for number, app in enumerate(apps):
            found = part.endpoint({**scope_of(f"/{number}/x", "GET", None), "app": app})
            assert found is not None
            assert found.operation == "export"
    assert len(part._others) == APPS
    kept = part._others[0].tree()
    assert part.endpoint({**scope_of(f"/{APPS + 1}/x", "GET", None), "app": apps[-1]}) is not None
    assert part._others[0].tree() is kept


def test_copies() -> None:
    """In another process an operation of an endpoint is what it may be read as, and nothing more."""
    routed = Endpoint(Mark("export", 2), "decorator").named(Readings(("export", "search")))
    assert isinstance(routed, Routed)
    copy = pickle.loads(pickle.dumps(routed))  # noqa: S301
    assert (type(copy), copy.operations) == (Readings, ("export", "search"))


class Convertor:
    def __init__(self, regex: str) -> None:
        self.regex = regex


@pytest.mark.parametrize(
    ("path", "regex", "expected"),
    [
        ("/a/{x}/b", "[^/]+", ("a", Wild.ONE, "b")),
        ("/a/{x}/b", "[0-9]+", ("a", Wild.ONE, "b")),
        ("/a/{x}-b/c", "[0-9a-f]{8}-?", ("a", Wild.ONE, "c")),
        ("/a/{x}/b", ".*", ("a", Wild.REST)),
        ("/a/{x}/b", "[0-9]*", ("a", Wild.REST)),  # which may be nothing
        ("/a/{x}/b", "[a-z/]+", ("a", Wild.REST)),
        ("/a/{x}/b", "[A-Z]{2}/[0-9]+", ("a", Wild.REST)),
    ],
)
def test_what_leads_to_a_route(path: str, regex: str, expected: tuple[Any, ...]) -> None:
    """Takes all that the route takes, and of a pattern that may take several segments all that begins so."""
    assert index_of(path, {"x": Convertor(regex)}) == expected


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [("/a/b", "", "/a/b"), ("/a/b", "/a", "/b"), ("/a", "/a", ""), ("/ab", "/a", "/ab"), ("/x", "/a", "/x")],
)
def test_below_a_root_path(path: str, root: str, expected: str) -> None:
    """As Starlette's own get_route_path has it."""
    assert path_at(path, root) == expected
