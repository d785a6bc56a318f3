"""An endpoint says how many units a request is: that multiplies what it costs, in each rate and quota."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.testclient import TestClient

from ratelimit import MemoryStore, RateLimitMiddleware, operation, parse_policy
from ratelimit.routes.units import connection
from tests.acceptance import T, ask, scope_of
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

LIMITS = """style = "{style}"
{rules}
[tiers.anonymous]
limits = [
  {{ name = "units", rate = "100/minute" }},
  {{ name = "costly", quota = "1000/month", cost = 3 }},
  {{ name = "requests", rate = "50/minute", counts = "requests", cost = 2 }},
  {{ name = "at once", concurrency = 5 }},
  {{ name = "by hand", rate = "10/minute", operations = [] }},
]
"""


def batch(request: Any) -> int:
    return int(request.headers.get("x-batch-size", 1))


def served(units: Any, path: str = "/invoices", **options: Any) -> Any:
    """A client of an app with one endpoint of so many units, which tells what was used of each limit."""

    @operation("heavy_write", units=units)
    async def endpoint(request: Request) -> PlainTextResponse:
        states = request.scope["ratelimit"].states
        return PlainTextResponse(" ".join(f"{state.limit.name}={state.used}" for state in states))

    app = Starlette(routes=[Route(path, endpoint, methods=["GET", "POST"])])
    return client_of(app, **options)


def client_of(app: Any, style: str = "ietf", rules: str = "", raising: bool = True) -> TestClient:
    policy = parse_policy(LIMITS.format(style=style, rules=rules))
    limited = RateLimitMiddleware(app, policy, store=MemoryStore(clock=lambda: T))
    return TestClient(limited, raise_server_exceptions=raising)


def used(client: TestClient, path: str = "/invoices", **headers: str) -> str:
    response = client.post(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert response.status_code == 200
    return response.text


def test_units_multiply() -> None:
    """The cost in each rate and quota, but not of what counts requests, and not slots. By hand nothing is charged."""
    client = served(batch)
    assert used(client) == "units=1 costly=3 requests=2 at once=1"
    assert used(client, x_batch_size="25") == "units=26 costly=78 requests=4 at once=1"
    assert used(client, x_batch_size="0") == "units=26 costly=78 requests=6 at once=1"
    assert used(served(7)) == "units=7 costly=21 requests=2 at once=1"
    assert used(served(0)) == "units=0 costly=0 requests=2 at once=1"


def test_a_rule_names_the_operation_alone() -> None:
    """A rule of the file comes before the decorator's name, and the units stay; what it exempts is exempt."""
    client = served(batch, rules='[operations]\nsearch = ["POST /invoices"]\nexempt = ["GET /invoices"]')
    assert used(client, x_batch_size="5") == "units=5 costly=15 requests=2 at once=1"
    with pytest.raises(KeyError, match="ratelimit"):
        client.get("/invoices", headers={"x-batch-size": "none"})


@pytest.mark.parametrize("units", ["many", "-1", "1.5", ""])
@pytest.mark.parametrize(
    ("style", "envelope"),
    [
        ("ietf", '"title":"The number of units'),
        ("lendworks", '{"errors":[{"code":'),
        ("facturapi", '"status":400'),
        ("lightspeed", '"message":"The number of units'),
    ],
)
def test_what_the_client_got_wrong(units: str, style: str, envelope: str) -> None:
    """It is answered with 400 in the envelope of the style, and nothing is charged."""
    client = served(batch, style=style)
    response = client.post("/invoices", headers={"x-batch-size": units})
    assert response.status_code == 400
    assert envelope in response.text or "number of units" in response.text
    assert used(client) == "units=1 costly=3 requests=2 at once=1"


def test_in_shadow_nobody_is_refused(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A process in shadow counts a request whose units are no number as one, and tells whom it would refuse."""
    caplog.set_level(logging.INFO, "ratelimit")
    monkeypatch.setenv("RATELIMIT_MODE", "shadow")
    client = served(batch)
    assert used(client, x_batch_size="many") == "units=1 costly=3 requests=2 at once=1"
    assert used(client, x_batch_size="2") == "units=3 costly=9 requests=4 at once=1"
    assert "would refuse" in caplog.text


@pytest.mark.parametrize("value", [True, 2.0, None, "5"])
def test_what_is_no_whole_number(value: Any) -> None:
    """What else a function may return is refused as well."""
    assert served(lambda request: value).post("/invoices").status_code == 400


@pytest.mark.parametrize("units", ["101", str(2**60), "9" * 4000])
def test_more_than_the_max_never_passes(units: str) -> None:
    """A request of more units than a limit has is told that it can never pass, and charged nothing."""
    client = served(batch)
    response = client.post("/invoices", headers={"x-batch-size": units})
    assert (response.status_code, "retry-after" in response.headers) == (403, False)
    assert used(client) == "units=1 costly=3 requests=2 at once=1"


def test_all_or_nothing() -> None:
    """Units that do not fit now are denied as a whole, and pass when they do."""
    client = served(batch)
    used(client, x_batch_size="60")
    assert client.post("/invoices", headers={"x-batch-size": "41"}).status_code == 429
    assert used(client, x_batch_size="40") == "units=100 costly=300 requests=4 at once=1"


def test_errors_of_the_app(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else that the function raises is the app's, a 500: logged once a minute for each endpoint."""
    now = [1_000.0]
    monkeypatch.setattr("ratelimit.routes.units.monotonic", lambda: now[0])

    def broken(request: Any) -> int:
        raise KeyError("x-batch-size")

    client = served(broken, raising=False)

    def told() -> int:
        return sum("units of the endpoint POST /invoices raised" in record.getMessage() for record in caplog.records)

    for _ in range(3):
        assert client.post("/invoices").status_code == 500
    assert told() == 1
    now[0] += 60
    assert client.post("/invoices").status_code == 500
    assert told() == 2
    with pytest.raises(KeyError, match="x-batch-size"):
        served(broken).post("/invoices")


def test_a_function_that_returns_something_to_await() -> None:
    """What looks plain and is not raises a TypeError that says so."""

    async def late() -> int:
        return 1

    with pytest.raises(TypeError, match="units returned something to await"):
        served(lambda request: late()).post("/invoices")

    class Awaited:
        def __await__(self) -> Any:
            yield

    with pytest.raises(TypeError, match="units returned something to await"):
        served(lambda request: Awaited()).post("/invoices")


def test_the_body_is_never_read() -> None:
    """The function has the request without its body."""

    def peeking(request: Any) -> int:
        with pytest.raises(RuntimeError, match="Receive channel"):
            request.body().send(None)
        return 2

    assert used(served(peeking)) == "units=2 costly=6 requests=2 at once=1"


def seen_of(app_of: Callable[[Any], Any], path: str, **headers: str) -> Any:
    seen: list[Any] = []

    def units(request: Any) -> int:
        seen.append((dict(request.path_params), request.url.path, dict(request.query_params)))
        return 1

    @operation("heavy_write", units=units)
    async def endpoint(request: Request) -> PlainTextResponse:
        assert seen[-1][0] == request.path_params
        return PlainTextResponse("ok")

    client = client_of(app_of(endpoint))
    assert client.get(path, headers=headers).status_code == 200
    return seen[-1]


def test_what_the_function_sees() -> None:
    """The path with the parameters of its route, converted, also below mounts and hosts, the query and the headers."""
    routes: Callable[[Any], list[Any]] = lambda e: [Route("/lists/{id:int}", e)]  # noqa: E731
    assert seen_of(lambda e: Starlette(routes=routes(e)), "/lists/7?size=3") == ({"id": 7}, "/lists/7", {"size": "3"})

    def mounted(endpoint: Any) -> Any:
        inner = Starlette(routes=[Mount("/{team}", routes=routes(endpoint))])
        return Starlette(routes=[Host("{tenant}.example.com", Router([Mount("/api", inner)]))])

    found = seen_of(mounted, "/api/red/lists/7", host="acme.example.com:8000")
    assert found[0] == {"tenant": "acme", "team": "red", "id": 7}

    def of_fastapi(endpoint: Any) -> Any:
        app = FastAPI()
        app.root_path = "/up"
        app.mount("/sub", sub := FastAPI())
        sub.root_path = "/sub"
        sub.router.routes += routes(endpoint)
        return app

    assert seen_of(of_fastapi, "/sub/lists/7")[0] == {"id": 7}


def test_a_parameter_that_cannot_be_converted() -> None:
    """It is the app's own error, as without units."""
    client = served(lambda request: len(request.path_params), path="/invoices/{id:int}")
    with pytest.raises(ValueError, match="Exceeds the limit"):
        client.get("/invoices/" + "7" * 5_000)


def test_an_app_that_is_served() -> None:
    """Units of an app have its path below the mount."""
    app = operation("search", units=lambda request: 5)(PlainTextResponse("ok"))
    client = client_of(Starlette(routes=[Mount("/files/{kind}", app)]))
    assert client.get("/files/a/b").headers["ratelimit"].startswith('"units";r=95')


def test_without_starlette(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Starlette is not there, the function is given the scope; of a WebSocket a connection."""
    scope = {"type": "websocket", "headers": [(b"x-a", b"1")], "path": "/"}
    assert connection(scope).headers["x-a"] == "1"
    monkeypatch.setitem(sys.modules, "starlette.requests", None)
    assert connection(scope) is scope
    app = operation("search", units=lambda scope: len(scope["path"]))(PlainTextResponse("ok"))
    limited = RateLimitMiddleware(app, parse_policy(LIMITS.format(style="ietf", rules="")))
    scope = scope_of("/12345", api_key=None)
    asyncio.run(ask(limited, scope=scope))
    assert scope["ratelimit"].states[0].used == 6


def test_the_same_charges_again() -> None:
    """A caller with the same units gets the same charges again, so that what a store keeps of them is used."""
    policy = parse_policy(LIMITS.format(style="ietf", rules=""))
    app = operation("search", units=lambda scope: 5)(PlainTextResponse("ok"))
    store = MemoryStore(clock=lambda: T)
    seen: list[Any] = []
    acquire = store.acquire

    async def noted(charges: Any) -> Any:
        seen.append(charges)
        return await acquire(charges)

    store.acquire = noted  # type: ignore[method-assign]
    limited = RateLimitMiddleware(app, policy, store=store)
    for _ in range(4):
        asyncio.run(ask(limited, scope=scope_of("/x", api_key=None)))
    assert seen[2] is seen[3]
    assert [charge.cost for charge in seen[0]] == [5, 15, 2, 1]


def test_the_log_tells_the_units(caplog: pytest.LogCaptureFixture) -> None:
    """A denial names the operation with its units."""
    caplog.set_level(logging.INFO, "ratelimit")
    client = served(batch)
    client.post("/invoices", headers={"x-batch-size": "99"})
    client.post("/invoices", headers={"x-batch-size": "9"})
    assert "denied operation=heavy_write×9 limit=units" in caplog.text  # noqa: RUF001


def test_two_policies() -> None:
    """Units multiply in both."""
    seen: list[str] = []

    @operation("search", units=4)
    async def endpoint(request: Request) -> PlainTextResponse:
        seen.append(" ".join(str(state.used) for state in request.scope["ratelimit"].states))
        return PlainTextResponse("ok")

    policy = parse_policy('[tiers.anonymous]\nlimits = [{ name = "inner", rate = "10/minute" }]', "inner")
    inner = RateLimitMiddleware(Starlette(routes=[Route("/x", endpoint)]), policy)
    client = client_of(Starlette(routes=[Mount("/in", inner)]))
    response = client.get("/in/x")
    assert (response.status_code, seen) == (200, ["4"])
    assert '"units";r=96' in response.headers["ratelimit"] or '"inner";r=6' in response.headers["ratelimit"]
