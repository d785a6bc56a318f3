"""A limit that is declared at an endpoint is charged with those of the tier in one step, and told as they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from starlette.routing import Mount
from starlette.testclient import TestClient, WebSocketDenialResponse

from ratelimit import (
    Identity,
    MemoryStore,
    PolicyError,
    RateLimitMiddleware,
    StoreUnavailable,
    hash_api_key,
    open_store,
    operation,
    parse_policy,
    routes_of,
)
from ratelimit.fastapi import RateLimit, limit
from ratelimit.model import Concurrency, Quota, Rate
from ratelimit.policy import Policy
from tests import servers
from tests.acceptance import ANA, BEN, T, ask, scope_of
from tests.routes import marks_forgotten
from tests.stores.clock import script_calls

__all__ = ["marks_forgotten"]


def policy_of(more: str = "", rules: str = "", origin: str = "policy") -> Policy:
    keys = "".join(
        f'[[keys]]\nsha256 = "{hash_api_key(key)}"\ntier = "basic"\norganization = "acme"\nuser = "{user}"\n'
        f"attributes = {{ seats = 2 }}\n"
        for key, user in ((ANA, "ana"), (BEN, "ben"))
    )
    limits = (
        '{ name = "requests", rate = "20/minute" }, { name = "searches", rate = "10/minute", operations = ["search"] }'
    )
    return parse_policy(
        f'style = "ietf"\n{rules}\n{keys}\n[tiers.anonymous]\nlimits = [{{ name = "ip", rate = "9/minute" }}]\n'
        f'[tiers.basic]\nlimits = [{limits}, {{ name = "monthly", quota = "500/month" }}]\n{more}',
        origin,
    )


def states(request: Request) -> dict[str, int]:
    return {state.limit.name: state.used for state in request.scope["ratelimit"].states}


def app_of(*limits: Any, path: str = "/exports", **options: Any) -> FastAPI:
    app = FastAPI(**options)
    app.add_api_route(path, states, dependencies=[Depends(one) for one in limits])
    app.add_api_route("/others", states)
    return app


def client_of(app: Any, policy: Policy | None = None, **options: Any) -> TestClient:
    store = options.pop("store", None) or MemoryStore(clock=lambda: T)
    limited = RateLimitMiddleware(app, policy or policy_of(), store=store, **options)
    return TestClient(limited)


def get(client: TestClient, path: str = "/exports", api_key: str | None = ANA) -> Any:
    return client.get(path, headers={"authorization": f"Bearer {api_key}"} if api_key else {})


def test_charged_with_the_tier() -> None:
    """After the tier's limits in their order, with headers; the routes without it are not."""
    client = client_of(app_of(limit("5/hour", name="exports")))
    response = get(client)
    assert response.json() == {"requests": 1, "searches": 1, "monthly": 1, "exports": 1}
    policies = '"requests";q=20;w=60, "searches";q=10;w=60, "monthly";q=500;w=2678400, "exports";q=5;w=3600'
    assert response.headers["ratelimit-policy"] == policies
    assert get(client, "/others").json() == {"requests": 2, "searches": 2, "monthly": 2}
    assert get(client, api_key=None).json() == {"ip": 1, "exports": 1}


def test_denied_by_it_charges_none() -> None:
    """All or nothing: over a declared limit none of the tier's is charged, nor the other way."""
    client = client_of(app_of(limit("2/hour", name="exports")))
    assert [get(client).status_code for _ in range(4)] == [200, 200, 429, 429]
    response = get(client)
    assert response.status_code == 429
    assert '"violated-policies":["exports"]' in response.text.replace(" ", "")
    assert get(client, "/others").json() == {"requests": 3, "searches": 3, "monthly": 3}
    other = client_of(app_of(limit("15/hour", name="exports")))
    assert [get(other).status_code for _ in range(12)] == [200] * 10 + [429] * 2  # by searches
    assert get(other, "/others").status_code == 429


def test_per() -> None:
    """It is counted per what it says, below the caller's root, with the fall-backs of a tier's limit."""
    client = client_of(app_of(limit("5/hour", name="exports", per="user")))
    assert [get(client, api_key=key).json()["exports"] for key in (ANA, ANA, BEN, None)] == [1, 2, 1, 1]
    shared = client_of(app_of(limit("5/hour", name="exports")))
    assert [get(shared, api_key=key).json()["exports"] for key in (ANA, ANA, BEN, None)] == [1, 2, 3, 1]
    listed = client_of(app_of(limit("5/hour", name="exports", per=("organization", "ip"))))
    assert [get(listed, api_key=key).json()["exports"] for key in (ANA, BEN)] == [1, 2]


def test_every_kind_and_field() -> None:
    """A rate, a quota, a cap of requests at a time, formulas and every other field, written as in a file."""
    kinds = [
        limit("10 * seats/5 minutes", name="a", precision=10, cost=2, counts="requests", reserve=True),
        limit(quota="100/month", name="b", timezone="Europe/Berlin", anchor_day=15, hold=True),
        limit(concurrency=3, name="c", lease="30s"),
        limit(concurrency="2 * seats", name="d", mode="shadow"),
        limit("5/minute", name="e", mode="off"),
        limit("1/hour", name="f", enforce_from=datetime(2030, 1, 1, tzinfo=UTC)),
    ]
    made = {one.limit.name: one.limit for one in kinds}
    assert (made["a"].kind, made["a"].max({"seats": 2})) == (Rate(300_000, 10), 20)
    assert (made["a"].cost, made["a"].counts, made["a"].reserve) == (2, "requests", True)
    assert (made["b"].kind, made["b"].hold) == (Quota("month", "Europe/Berlin", 15), True)
    assert (made["c"].kind, made["d"].max({"seats": 2})) == (Concurrency(30_000), 4)
    client = client_of(app_of(*kinds))
    for number in (1, 2):
        response = get(client)
        assert response.json() == {
            "requests": number,
            "searches": number,
            "monthly": number,
            "a": 2 * number,
            "b": number,
            "c": 1,
            "d": 1,
            "f": 1,
        }


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: limit("5/hours ago", name="a"), 'limit "a": rate: "5/hours ago" is not a rate; write a whole number'),
        (lambda: limit("5/hour", name=""), 'limit "": name: "" can\'t be used'),
        (lambda: limit(name="a"), 'limit "a": limits nothing; write one of rate, quota and concurrency'),
        (lambda: limit("5/hour", quota="5/month", name="a"), 'limit "a": has rate, quota; write one of them'),
        (lambda: limit("5/hour", name="a", per="organisation"), 'limit "a": per: "organisation" can\'t be counted by'),
        (lambda: limit("5/hour", name="a", cost=-1), 'limit "a": cost: -1 is too small; the least is 0'),
        (lambda: limit("5/hour", name="a", cost=6), 'limit "a": cost: 6 is above the max of "5/hour"'),
        (lambda: limit("5/hour", name="a", lease="5s"), 'limit "a": lease: is for concurrency alone'),
        (lambda: limit(concurrency=-1, name="a"), 'limit "a": concurrency: -1 is too small; the least is 0'),
        (lambda: limit(concurrency=1, name="a", hold=True), 'limit "a": hold: is not for concurrency'),
        (lambda: limit("5/hour", name=5), "limit 5: name: 5 is not a text in quotes"),  # type: ignore[arg-type]
        (lambda: limit("5/hour", name="a", enforce_from=datetime(2030, 1, 1)), "has no offset"),
    ],
)
def test_mistakes_raise_where_they_are_written(make: Callable[[], object], expected: str) -> None:
    """In the words that a policy file with the same mistake is told."""
    with pytest.raises(PolicyError) as refusal:
        make()
    assert expected in str(refusal.value)


def test_found_wherever_it_is_declared() -> None:
    """On a route, a router, an inclusion, an app, as a parameter, below another dependency; once, however often."""
    exports = limit("50/hour", name="exports")

    def nested(_: None = Depends(exports)) -> str:
        return "ana"

    def endpoint(request: Request, _: str = Depends(nested)) -> dict[str, int]:
        return states(request)

    app = FastAPI(dependencies=[Depends(limit("50/hour", name="of the app"))])
    router = APIRouter(prefix="/in", dependencies=[Depends(limit("50/hour", name="of the router"))])
    router.add_api_route("/a", endpoint, dependencies=[Depends(exports)])
    router.add_api_route("/b", states)
    app.include_router(router, dependencies=[Depends(limit("50/hour", name="of the inclusion"))])
    sub = FastAPI()
    sub.add_api_route("/c", states, dependencies=[Depends(exports)])
    app.mount("/sub", sub)
    client = client_of(app)
    around = ["of the app", "of the inclusion", "of the router"]
    assert [*get(client, "/in/a").json()][3:] == [*around, "exports"]
    assert [*get(client, "/in/b").json()][3:] == around
    assert get(client, "/sub/c").json()["exports"] == 2  # one name is one counter
    again = limit("50/hour", name="exports")
    app.add_api_route("/again", states, dependencies=[Depends(again)])
    assert get(client, "/again").json()["exports"] == 3


def test_units_and_rules() -> None:
    """The units of an endpoint multiply what it declares, and a rule of the file changes nothing of it."""

    @operation("create", units=lambda request: int(request.query_params["n"]))
    def endpoint(request: Request) -> dict[str, int]:
        return states(request)

    app = FastAPI()
    exports = limit("50/hour", name="exports", cost=2)
    calls = limit("50/hour", name="calls", counts="requests")
    app.add_api_route("/exports", endpoint, dependencies=[Depends(exports), Depends(calls)])
    client = client_of(app, policy_of(rules='[operations]\nsearch = ["GET /exports"]'))
    expected = {"requests": 3, "searches": 3, "monthly": 3, "exports": 6, "calls": 1}
    assert get(client, "/exports?n=3").json() == expected


def test_overrides() -> None:
    """An override may name a declared limit, which the file does not know."""
    raised = '[[overrides]]\norganization = "acme"\nlimits = { exports = "3/hour" }\n'
    client = client_of(app_of(limit("1/hour", name="exports")), policy_of(raised))
    assert [get(client).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert [get(client, api_key=None).status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("override", "declared", "expected"),
    [
        ('exports = "3/hour"', "5/hour", None),
        (
            'bulk = "3/hour"',
            "5/hour",
            "overrides[0].limits.bulk: no tier has such a limit, and no endpoint declares one",
        ),
        ('exprts = "3/hour"', "5/hour", 'did you mean "exports"?'),
        ('exports = "3/minute"', "5/hour", 'overrides[0].limits.exports: "3/minute" does not fit the limit'),
        ("exports = 3", "5/hour", "3 does not fit the limit that an endpoint declares"),
        ('exports = "3/month"', "5/hour", '"3/month" does not fit'),
        ('exports = "3/month"', {"quota": "5/month"}, None),
        ('exports = "3/day"', {"quota": "5/month"}, '"3/day" does not fit'),
        ("exports = 3", {"concurrency": 5}, None),
        ('exports = "3/hour"', {"concurrency": 5}, '"3/hour" does not fit'),
    ],
)
def test_overrides_are_checked_with_the_routes(
    override: str, declared: Any, expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that the file does not know is looked for among the declared limits when the routes are read; one that is
    nearly a name of the file is a mistake of the file, as before."""
    exports = limit(declared, name="exports") if isinstance(declared, str) else limit(name="exports", **declared)
    policy = policy_of(f'[[overrides]]\norganization = "acme"\nlimits = {{ {override} }}\n')
    get(client_of(app_of(exports), policy), "/others")
    told = [record.getMessage() for record in caplog.records if "overrides" in record.getMessage()]
    assert len(told) == (expected is not None)
    assert (expected or "") in "".join(told)
    with pytest.raises(PolicyError, match='did you mean "requests"'):
        policy_of('[[overrides]]\norganization = "acme"\nlimits = { request = "5/minute" }\n')


def test_names_that_look_like_two() -> None:
    """An endpoint with one limit is no other's with two, whatever is in their names."""
    app = FastAPI()
    app.add_api_route("/one", lambda: "ok", dependencies=[Depends(limit("9/hour", name="a+b"))])
    two = [Depends(limit("9/hour", name=name)) for name in "ab"]
    app.add_api_route("/two", lambda: "ok", dependencies=two)
    client = client_of(app)
    policies = [get(client, path).headers["ratelimit-policy"] for path in ("/one", "/two")]
    assert [['"a+b"' in policy, '"a"' in policy] for policy in policies] == [[True, False], [False, True]]


def test_one_name_is_one_counter() -> None:
    """The same name with other numbers raises, naming both places; so does the name of a limit of a tier."""
    app = app_of(limit("5/hour", name="exports"))
    app.add_api_route("/more", states, dependencies=[Depends(limit("6/hour", name="exports"))])
    app.add_api_route("/taken", states, dependencies=[Depends(limit("6/hour", name="monthly"))])
    policy = policy_of()
    client = client_of(app, policy)
    assert get(client).status_code == 200  # who is not concerned is served
    with pytest.raises(Exception, match=r"another one than at .*test_limits_in_code\.py:\d+") as other:
        get(client, "/more")
    assert 'limit "exports" of GET /more, declared at ' in str(other.value)
    with pytest.raises(Exception, match=r'limit "monthly" of GET /taken, .* is a limit of the tier "basic" too'):
        get(client, "/taken")
    with pytest.raises(ValueError, match="one name is one counter") as both:
        routes_of(app, policy)
    assert "rename one" in str(both.value)


def test_a_server_does_not_start_with_it(caplog: pytest.LogCaptureFixture) -> None:
    """Where limits contradict each other, the server is told at start that the app can't be used."""
    app = app_of(limit("5/hour", name="monthly"))
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup" if not sent else "lifespan.shutdown"}

    async def send(message: Any) -> None:
        sent.append(message)

    limited = RateLimitMiddleware(app, policy_of(), store=MemoryStore(clock=lambda: T))
    with pytest.raises(Exception, match="rename one"):
        asyncio.run(limited({"type": "lifespan", "asgi": {}, "state": {}}, receive, send))
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert 'limit "monthly" of GET /exports' in sent[0]["message"]
    assert 'limit "monthly" of GET /exports' in caplog.text
    sent.clear()
    good = RateLimitMiddleware(app_of(limit("5/hour", name="exports")), policy_of(), store=MemoryStore())
    asyncio.run(good({"type": "lifespan", "asgi": {}, "state": {}}, receive, send))
    assert sent[0]["type"] == "lifespan.startup.complete"


def test_exempt_stays_exempt(caplog: pytest.LogCaptureFixture) -> None:
    """A rule that exempts an endpoint exempts it from what it declares too, and this is told at start."""
    client = client_of(
        app_of(limit("1/hour", name="exports")), policy_of(rules='[operations]\nexempt = ["GET /exports"]')
    )
    client.get("/others")
    told = 'GET /exports is exempt by a rule: the limits that it declares are not charged: "exports"'
    assert told in caplog.text
    with pytest.raises(KeyError, match="ratelimit"):
        client.get("/exports")


def test_two_policies() -> None:
    """Of two limiters on a request the outer one charges what is declared; where it exempts the request, the inner."""
    inner = app_of(limit("2/hour", name="exports"))
    second = parse_policy('[tiers.anonymous]\nlimits = [{ name = "inner", rate = "9/minute" }]', "inner")
    app = FastAPI()
    app.mount("/in", RateLimitMiddleware(inner, second, store=(store := MemoryStore(clock=lambda: T))))
    outer = client_of(app, policy_of(), store=store)
    assert get(outer, "/in/exports", None).json() == {"inner": 1}
    assert [get(outer, "/in/exports", None).status_code for _ in range(2)] == [200, 429]
    exempting = client_of(app, policy_of(rules='[operations]\nexempt = ["GET /in/**"]'), store=MemoryStore())
    assert get(exempting, "/in/exports", None).status_code == 429
    assert isinstance(app.routes[-1], Mount)


def test_a_classify_of_ones_own() -> None:
    """It names the operation; what the endpoint declares is charged all the same."""
    client = client_of(app_of(limit("1/hour", name="exports")), classify=lambda scope: "create")
    assert get(client).json() == {"requests": 1, "monthly": 1, "exports": 1}
    assert get(client).status_code == 429


def test_the_dependency_does_nothing_itself() -> None:
    """An app without a limiter, as in a unit test, serves the endpoint; WebSockets have it too."""
    app = app_of(limit("1/hour", name="exports"))

    @app.websocket("/live", dependencies=[Depends(limit("1/hour", name="exports"))])
    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    app.add_api_route("/free", lambda: "ok", dependencies=[Depends(limit("1/hour", name="exports"))])
    client = TestClient(app)
    assert [client.get("/free").status_code for _ in range(3)] == [200] * 3
    with client.websocket_connect("/live"):
        pass


def test_charged_by_the_status() -> None:
    """A declared limit may count by what the request came to, though none of the policy does."""
    app = FastAPI()

    def login(request: Request, password: str) -> str:
        if password != "right":
            raise HTTPException(401)
        return "ana"

    guesses = limit("3/minute", name="guesses", charge_on=("401",))
    app.add_api_route("/login", login, dependencies=[Depends(guesses)])
    client = client_of(app)
    asked = ["right"] * 5 + ["wrong"] * 4
    found = [get(client, f"/login?password={password}").status_code for password in asked]
    assert found == [200] * 5 + [401] * 3 + [429]


def test_units_held_of_it() -> None:
    """Units of a declared limit are held and settled; where they do not fit, the whole 429 is answered."""
    app = FastAPI()

    async def stream(request: Request, units: int, rate_limit: RateLimit) -> dict[str, int]:
        async with rate_limit.hold(units, limit="tokens") as held:
            held.settle(units // 2)
        return rate_limit.left()

    app.add_api_route("/stream", stream, dependencies=[Depends(limit("100/minute", name="tokens", cost=0, hold=True))])
    client = client_of(app)
    assert get(client, "/stream?units=80").json()["tokens"] == 60
    response = get(client, "/stream?units=70")
    assert (response.status_code, response.headers["content-type"]) == (429, "application/problem+json")


def test_handshakes() -> None:
    """The handshake of a WebSocket is charged what its endpoint declares, as the operation that it says, per unit."""
    app, seen = FastAPI(), []

    @app.websocket("/live/{room}", dependencies=[Depends(limit("3/hour", name="rooms"))])
    @operation("search", units=lambda connection: len(connection.path_params["room"]))
    async def live(websocket: WebSocket) -> None:
        seen.append({state.limit.name: state.used for state in websocket.scope["ratelimit"].states})
        await websocket.accept()
        await websocket.close()

    client = client_of(app)
    with client.websocket_connect("/live/ab", headers={"authorization": f"Bearer {ANA}"}):
        pass
    assert seen == [{"requests": 2, "searches": 2, "monthly": 2, "rooms": 2}]
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect("/live/cd", headers={"authorization": f"Bearer {ANA}"}),
    ):
        pass
    assert denied.value.status_code == 429
    rows = {row.path: row for row in routes_of(app, policy_of()) if row.websocket}
    assert (rows["/live/{room}"].operation, rows["/live/{room}"].units) == ("search", True)


@pytest.mark.parametrize(("mode", "expected"), [("shadow", [200] * 4), ("off", [200] * 4), ("enforce", [200, 429] * 2)])
def test_switched_by_the_environment(mode: str, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """In shadow a declared limit denies nobody, seen or not; off, nothing is charged, whatever is wrong with it."""
    monkeypatch.setenv("RATELIMIT_MODE", mode)
    exports = limit("1/hour", name="exports")
    app = hidden(exports)
    app.add_api_route("/exports", lambda: "ok", dependencies=[Depends(exports)])
    app.add_api_route("/free", lambda: "ok", dependencies=[Depends(limit("1/hour", name="ip"))])
    client = client_of(app, policy_of("[tiers.free]\nlimits = []\n"))
    with pytest.raises(Exception, match="rename one") if mode != "off" else nullcontext(), client:
        pass
    paths = ["/exports", "/exports", *(["/sub/exports"] * 2 if mode == "shadow" else [])]
    assert [get(client, path).status_code for path in paths] == expected[: len(paths)]
    if mode == "off":
        assert get(client, "/free").status_code == 200


class Hiding:
    """An app around another that says nothing of it."""

    def __init__(self, app: Any) -> None:
        self._hidden = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._hidden(scope, receive, send)


def hidden(*limits: Any) -> FastAPI:
    app = FastAPI()
    app.mount("/sub", Hiding(app_of(*limits)))
    return app


def test_a_route_that_the_limiter_cannot_see(caplog: pytest.LogCaptureFixture) -> None:
    """It is charged by the dependency, all or nothing with what the request took before, and told once."""
    client = client_of(hidden(limit("2/hour", name="exports"), limit("2/hour", name="exports")))
    for number in (1, 2):
        assert get(client, "/sub/exports").json() == {"requests": number, "searches": number, "monthly": number}
    responses = [get(client, "/sub/exports") for _ in range(3)]
    assert [(one.status_code, one.headers["content-type"]) for one in responses] == [
        (429, "application/problem+json")
    ] * 3
    assert '"violated-policies":["exports"]' in responses[0].text.replace(" ", "")
    assert "retry-after" in responses[0].headers
    assert get(client, "/sub/others").json() == {"requests": 3, "searches": 3, "monthly": 3}
    told = [record.getMessage() for record in caplog.records if "a second trip to the store" in record.getMessage()]
    assert len(told) == 1
    assert 'the limit "exports", declared at ' in told[0]


def test_several_that_the_limiter_cannot_see() -> None:
    """Denied by one of them, a request gives back what it took of the others, too."""
    client = client_of(hidden(limit("3/hour", name="exports"), limit("1/hour", name="each"), limit("9/hour", name="c")))
    store = client.app.store  # type: ignore[attr-defined]
    taken: list[str] = []
    refund = store.refund

    async def noted(spent: Any) -> None:
        taken.extend(state.limit.name for state in spent.states)
        await refund(spent)

    store.refund = noted
    assert [get(client, "/sub/exports").status_code for _ in range(2)] == [200, 429]
    assert taken[-1:] == ["exports"]
    assert len(taken) == len(set(taken))


def test_denied_at_its_first_request() -> None:
    """Before the limiter knows that such routes are there, the answer to a denial is FastAPI's own 429."""
    client = client_of(hidden(limit("5/hour", name="exports", cost=5), limit("0/hour", name="off", mode="off")))
    assert get(client, "/sub/exports").status_code == 200
    first = client_of(hidden(limit("0/hour", name="exports")))
    assert [get(first, "/sub/exports").status_code for _ in range(2)] == [429, 403]


def test_what_is_not_charged_there() -> None:
    """Not to a request that is exempt, nor one without a limiter; a slot is not taken, and this is told."""
    exports = limit("1/hour", name="exports")
    exempting = client_of(hidden(exports), policy_of(rules='[operations]\nexempt = ["GET /sub/**"]'))
    for _ in range(2):
        with pytest.raises(KeyError, match="ratelimit"):
            get(exempting, "/sub/exports")


def test_a_slot_there(caplog: pytest.LogCaptureFixture) -> None:
    """A cap of requests at a time can't be kept by a dependency: it is told loudly."""
    client = client_of(hidden(limit(concurrency=1, name="at once")))
    assert [get(client, "/sub/exports").status_code for _ in range(2)] == [200, 200]
    assert [record.getMessage() for record in caplog.records if "is not enforced on" in record.getMessage()]


def test_a_wrong_name_there() -> None:
    """The name of a limit of a tier is refused there too."""
    with pytest.raises(Exception, match=r"is a limit of the tier \"basic\" too"):
        get(client_of(hidden(limit("1/hour", name="monthly"))), "/sub/exports")


@pytest.mark.parametrize(("on_failure", "expected"), [("allow", 200), ("local", 200), ("deny", 503)])
def test_without_a_store_there(on_failure: str, expected: int) -> None:
    """The policy's `on_failure` says what becomes of it; there is no local count of it."""
    store = MemoryStore(clock=lambda: T)
    acquire = store.acquire

    async def failing(charges: Any) -> Any:
        if charges[0].limit.name == "exports":
            raise StoreUnavailable("no answer")
        return await acquire(charges)

    store.acquire = failing  # type: ignore[method-assign]
    policy = policy_of(rules=f'[store]\non_failure = "{on_failure}"')
    client = client_of(hidden(limit("1/hour", name="exports")), policy, store=store)
    get(client, "/sub/exports")
    assert get(client, "/sub/exports").status_code == expected


def test_one_trip_to_the_store(valkey: servers.Server) -> None:
    """Three limits of the tier and a declared one are one call of the script; denied by that one charges none."""

    async def test() -> None:
        store = open_store(valkey.unix_url, prefix="declared", timeout=10)
        limited = RateLimitMiddleware(app_of(limit("2/hour", name="exports")), policy_of(), store=store)

        async def status() -> int:
            started: int = (await ask(limited, scope=scope_of("/exports")))[0]["status"]
            return started

        assert await status() == 200
        before = script_calls(valkey)
        assert await status() == 200
        assert script_calls(valkey) == before + 1
        assert [await status() for _ in range(3)] == [429] * 3
        caller = Identity(organization="acme", user="ana", tier="basic", attributes={"seats": 2})
        peeked = await store.peek(limited.policy.charges(caller, "search"))
        assert [state.used for state in peeked.states] == [3, 3, 3]  # with the one that is asked for
        await store.close()

    asyncio.run(test())


def test_what_tells_callers_apart() -> None:
    """Two users whom no limit of a tier tells apart are told apart by a declared one, also with attributes."""
    client = client_of(app_of(limit("9/hour", name="exports", per=["user", "seats"])))
    assert [get(client, api_key=key).json()["exports"] for key in (ANA, BEN, ANA, BEN)] == [1, 1, 2, 2]


def test_nothing_at_start_for_a_quiet_app(caplog: pytest.LogCaptureFixture) -> None:
    """An app whose routes say everything is told of at level DEBUG alone."""
    caplog.set_level(logging.INFO, "ratelimit")
    get(client_of(app_of(limit("5/hour", name="exports"))))
    assert [record for record in caplog.records if "client's address" not in record.getMessage()] == []
