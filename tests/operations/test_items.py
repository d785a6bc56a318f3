"""What is an item, where nothing in the process is marked: other tests may have marked something in theirs."""

from __future__ import annotations

import gc

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router

from ratelimit import operation
from ratelimit.operations import ClassifyByRules, Rule, classify
from ratelimit.operations.items import COLLECTION, ITEM, Items
from ratelimit.routes import marks
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

UUID = "0b1c9a2e-7d3b-4c5e-9f60-1a2b3c4d5e6f"
STARTS = ["", "/", "//", "/items/", "/items//", "/Items/", "/a.b/", "/items;/", "/items/x/../", "/nothing/", "items/"]


async def plain(request: object) -> PlainTextResponse:
    return PlainTextResponse("")


def test_a_mounted_app_that_grows() -> None:
    """It is read again when no route took a path and there are more of them by now."""
    inner = Router()
    inner.add_route("/other", plain)
    app = Starlette(routes=[Mount("/inner", app=inner)])
    items = Items((), app)
    asked = {"type": "http", "app": app}, None, "/inner/name", ["inner", "name"], ["inner", "name"]
    assert [items.operation(*asked) for _ in range(2)] == [COLLECTION] * 2
    inner.add_route("/{name}", plain)
    assert [items.operation(*asked) for _ in range(2)] == [ITEM] * 2


@pytest.fixture
def unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing in the process were marked."""
    monkeypatch.setattr(classify, "MADE", [])


def asked(path: str, **more: object) -> dict[str, object]:
    return {"type": "http", "method": "GET", "path": path, "headers": [], **more}


def app_of(*paths: str) -> Starlette:
    return Starlette(routes=[Route(path, plain) for path in paths])


def of(app: Starlette, *rules: Rule) -> ClassifyByRules:
    """Of an app that has been read."""
    made = ClassifyByRules(rules).for_app(app)
    made(asked("/nowhere"))
    return made


@pytest.mark.usefixtures("unmarked")
@pytest.mark.parametrize("spelled", ["/items/{id}", "/items/2024", f"/items/{UUID}", f"/items/{UUID.upper()}"])
def test_what_is_told_at_a_glance_is_what_the_routes_say(spelled: str) -> None:
    """Numbers are told without a look at the routes, unless one of them spells one out."""
    app = app_of("/", "/items/{id}", "/items", "/{name}/{id}/parts")
    app.routes.insert(0, Route(spelled, plain))
    at_a_glance, by_routes = of(app), of(app)
    by_routes._items.ends_in_number = None
    ends = ["2024", "17", "٣", "0" * 9000, UUID, UUID.upper(), UUID[:-1], UUID + "0", "a1f", "abc", "v2", "1-2", "f"]
    paths = [f"{start}{end}{tail}" for start in STARTS for end in ends for tail in ("", "/", "//", "\n", "/parts")]
    for path in ["", *paths]:
        for root in ("", "/items", "/items/17"):
            scope = asked(path, root_path=root)
            assert at_a_glance(scope) == by_routes(scope), (path, root)
    assert at_a_glance(asked("/items/2024")) == (COLLECTION if spelled == "/items/2024" else ITEM)
    assert at_a_glance(asked("/items/17", root_path="/items/17")) == COLLECTION  # the app itself
    assert (at_a_glance(asked(f"/items/{UUID}")) == ITEM) is (UUID not in spelled.lower())


@pytest.mark.usefixtures("unmarked")
@pytest.mark.parametrize(
    ("rule", "expected", "glanced"),
    [
        ("GET /items/17", "ours", False),
        ("* /items/{id}", "ours", False),
        ("HEAD /items/17", ITEM, True),
        ("POST /items/17", ITEM, True),
    ],
)
def test_rules_that_take_a_get_are_asked_first(rule: str, expected: str, *, glanced: bool) -> None:
    """Those of other methods cost a GET nothing."""
    made = of(app_of("/items/{id}"), Rule.parse(rule, "ours"))
    assert made(asked("/items/17")) == expected
    assert (made._items.ends_in_number is not None) is glanced


@pytest.mark.usefixtures("unmarked")
def test_a_number_that_is_spelled_out_later() -> None:
    """It is known when the routes are read again, which a path of another kind brings about."""
    app = app_of("/items/{id}")
    made = of(app)
    app.routes.insert(0, Route("/items/2024", plain))
    assert made(asked("/items/other")) == made(asked("/items/17")) == ITEM
    assert made(asked("/items/2024")) == COLLECTION


@pytest.mark.usefixtures("unmarked")
def test_a_uuid_that_is_spelled_out_later() -> None:
    """It is known at once, as what is no number has the app asked whether it has more routes."""
    app = app_of("/items/{id}")
    made = of(app)
    assert made(asked(f"/items/{UUID}")) == ITEM
    app.routes.insert(0, Route(f"/items/{UUID}", plain))
    assert made(asked(f"/items/{UUID}")) == COLLECTION


@pytest.mark.usefixtures("unmarked")
def test_an_app_that_is_gone() -> None:
    """A request without one in its scope comes after the last that had one."""
    made = ClassifyByRules()
    made(asked("/items", app=app_of("/items")))
    gc.collect()
    assert made(asked("/items")) == COLLECTION


@pytest.mark.usefixtures("unmarked")
def test_an_app_in_the_scope_is_asked_each_time() -> None:
    """Only the app that the limiter wraps is told at a glance: of others there may be several in turn."""
    years, items = app_of("/items/2024"), app_of("/items/{id}")
    made = ClassifyByRules()
    said = [made(asked("/items/2024", app=app)) for app in (items, years, items, years)]
    assert said == [ITEM, COLLECTION, ITEM, COLLECTION]


def test_a_mark_that_is_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on the endpoint is asked, also of an item."""
    monkeypatch.setattr(classify, "MADE", [])
    app = app_of("/items/{id}")
    made = of(app)
    assert made(asked("/items/17")) == ITEM
    app.routes[:] = [Route("/items/{id}", operation("export")(plain_too))]
    monkeypatch.setattr(classify, "MADE", marks.MADE)
    assert made(asked("/items/17")) == "export"


def test_what_was_told_at_a_glance_is_forgotten_with_the_routes() -> None:
    """Where anything in them has changed."""
    items = of(app_of("/items/{id}"))._items
    items.routes(asked("/items"))
    assert items.ends_in_number is not None
    items.as_of(1)
    assert items.ends_in_number is None


async def plain_too(request: object) -> PlainTextResponse:
    return PlainTextResponse("")
