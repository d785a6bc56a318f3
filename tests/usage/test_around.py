"""A caller's own usage with what else there may be: several policies, limits in code, a switch, loops, FastAPI."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Header
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from ratelimit import Identity, Rate, RateLimitMiddleware, RedisStore, as_operation, operation, parse_policy
from ratelimit.fastapi import decide, deferred, document, limit, usage_router
from ratelimit.routes.marks import MADE
from ratelimit.testing import limited_client
from ratelimit.usage import reading
from tests.routes import marks_forgotten
from tests.usage import ANA, BEN, LIMITS, Asked, Read, app_of, policy

__all__ = ["marks_forgotten"]

ANONYMOUS = '[tiers.anonymous]\nlimits = [{ name = "ip", rate = "2/minute" }]\n'
OUTER = (
    ANONYMOUS + '[tiers.known]\nlimits = [{ name = "requests", rate = "2/minute" }, { name = "all", rate = "50/hour" }]'
)


def identify(scope: Any) -> Identity | None:
    """Ana, by her key."""
    return Identity(user="ana", tier="known") if (b"authorization", b"Bearer sk_live_ana") in scope["headers"] else None


def fastapi_app(**options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/items")
    async def items() -> list[str]:
        return []

    app.include_router(usage_router(**options))
    return app


def test_two_policies(monkeypatch: Any) -> None:
    """Limits of all policies on the request are told, of a name that both have the tighter one; neither is charged."""
    outer = parse_policy(OUTER, "outer")
    inner = Asked(monkeypatch)
    store = Read(lambda: inner.now)
    client = TestClient(RateLimitMiddleware(inner.limited, outer, store=store, identify=identify))
    key = {"authorization": f"Bearer {ANA}"}
    client.get("/items", headers=key)
    told = client.get("/rate_limit", headers=key).json()["resources"]
    assert {name: (one["used"], one["limit"]) for name, one in told.items()} == {
        "requests": (1, 2),
        "all": (1, 50),
        "monthly": (1, 100),
        "writes": (0, 9),
        "in flight": (0, 4),
    }
    assert (store.charged[1], inner.store.charged[1]) == ((), ())
    only_inner = client.get("/rate_limit", headers={"authorization": f"Bearer {BEN}"}).json()["resources"]
    assert "all" not in only_inner
    assert only_inner["requests"]["limit"] == 5
    assert store.charged[-1] == ("ip",)  # who is nobody to a policy is charged there, whoever it is to another


def test_two_policies_in_one_store(monkeypatch: Any) -> None:
    """An inner policy is read from its own counters, where it shares the store with one around it."""
    outer = parse_policy(OUTER, "outer")
    asked = Asked(monkeypatch)
    client = TestClient(RateLimitMiddleware(asked.limited, outer, store=asked.store, identify=identify))
    key = {"authorization": f"Bearer {ANA}"}
    client.get("/items", headers=key)
    told = client.get("/rate_limit", headers=key).json()["resources"]
    assert (told["requests"]["used"], told["requests"]["limit"]) == (1, 2)


@pytest.mark.parametrize(("mode", "status", "names"), [("off", 200, set()), ("shadow", 200, set())])
def test_mode(monkeypatch: Any, mode: str, status: int, names: set[str]) -> None:
    """With RATELIMIT_MODE nothing is limited, and so nothing is told; and nothing fails."""
    monkeypatch.setenv("RATELIMIT_MODE", mode)
    asked = Asked(monkeypatch)
    response = asked.get()
    assert (response.status_code, set(response.json()["resources"])) == (status, names)


def test_declared(monkeypatch: Any) -> None:
    """Limits that endpoints declare are told as well, once."""
    app = fastapi_app()

    @app.get("/exports", dependencies=[Depends(limit("5/hour", name="exports", per="user"))])
    async def exports() -> str:
        return "done"

    asked = Asked(monkeypatch, app=app)
    assert asked.used()["exports"] == 0
    asked.get("/exports")
    asked.now += 1_000
    assert asked.used()["exports"] == 1


def test_formulas(monkeypatch: Any) -> None:
    """Maxes are those of the caller: by its attributes, and by an override."""
    text = """
      [tiers.anonymous]
      limits = [{ name = "ip", rate = "2/minute" }]
      [tiers.known]
      limits = [{ name = "seats", rate = "10 * seats/minute" }, { name = "daily", quota = "7/day" }]
      [[overrides]]
      user = "ana"
      limits = { daily = "70/day" }"""

    def seated(scope: Any) -> Identity:
        return Identity(user="ana", tier="known", attributes={"seats": 3})

    told = Asked(monkeypatch, parse_policy(text), identify=seated).get().json()["resources"]
    assert {name: one["limit"] for name, one in told.items()} == {"seats": 30, "daily": 70}


def test_short_window(monkeypatch: Any) -> None:
    """A window of a part of a second is told as that."""
    known = policy()
    (one,) = known.tiers["basic"]
    tiers = {**known.tiers, "basic": (replace(one, kind=Rate(1_500, 3)),)}
    told = Asked(monkeypatch, replace(known, tiers=tiers)).get().json()["resources"]
    assert told["requests"]["window"] == 1.5


class Slow(Read):
    """As a store elsewhere: an answer takes a turn of the loop."""

    at_once = False

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.go: asyncio.Event | None = None

    async def peek(self, charges: Any, units: int = 1) -> Any:
        self.peeks.append(())
        if self.go is not None:
            await self.go.wait()
        return await super(Read, self).peek(charges, units)


def slow(monkeypatch: Any) -> Asked:
    asked = Asked(monkeypatch)
    asked.store = Slow(lambda: asked.now)
    asked.limited = RateLimitMiddleware(app_of(), policy(LIMITS), store=asked.store)
    return asked


async def ask(asked: Asked) -> int:
    transport = httpx2.ASGITransport(asked.limited)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        return (await client.get("/rate_limit", headers={"authorization": f"Bearer {ANA}"})).status_code


def test_at_the_same_time(monkeypatch: Any) -> None:
    """Who asks while a reading is under way waits for that one; who hangs up takes it from nobody."""
    asked = slow(monkeypatch)

    async def main() -> list[Any]:
        asked.store.go = asyncio.Event()
        first, *others = [asyncio.ensure_future(ask(asked)) for _ in range(20)]
        for _ in range(20):
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        asked.store.go.set()
        return [first.cancelled() or await asyncio.wait([first]), *[await other for other in others]]

    assert asyncio.run(main())[1:] == [200] * 19
    assert len(asked.store.peeks) == 1


def test_each_loop(monkeypatch: Any) -> None:
    """A reading that a loop did not end is nobody's; one that was ended is another loop's as well."""
    asked = slow(monkeypatch)

    async def leave() -> None:
        asked.store.go = asyncio.Event()
        task = asyncio.ensure_future(ask(asked))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(asked.store.peeks) == 1
        task.cancel()

    asyncio.run(leave())
    asked.store.go = None
    assert asyncio.run(ask(asked)) == 200
    assert len(asked.store.peeks) == 2
    assert asyncio.run(ask(asked)) == 200
    assert len(asked.store.peeks) == 2


def test_an_error_of_a_store(monkeypatch: Any) -> None:
    """An error of the app's own store is the app's: raised as it is, once, and not remembered."""
    asked = slow(monkeypatch)

    async def broken(charges: Any, units: int = 1) -> Any:
        asked.store.peeks.append(())
        await asyncio.sleep(0)
        raise KeyError("broken")

    monkeypatch.setattr(asked.store, "peek", broken)

    async def main() -> list[Any]:
        return await asyncio.gather(*[ask(asked) for _ in range(3)], return_exceptions=True)

    for number in (1, 2):
        errors = asyncio.run(main())
        assert [type(error) for error in errors] == [KeyError, RuntimeError, RuntimeError]
        assert len(asked.store.peeks) == number


def test_a_reading_is_cancelled(monkeypatch: Any) -> None:
    """Where the loop cancels the reading itself, who waits for it is cancelled too, and nothing hangs."""
    asked = slow(monkeypatch)

    async def main() -> bool:
        asked.store.go = asyncio.Event()
        waiting = asyncio.ensure_future(ask(asked))
        for _ in range(20):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {waiting, asyncio.current_task()}:
            task.cancel()
        await asyncio.wait([waiting])
        return waiting.cancelled()

    assert asyncio.run(main())


def test_fastapi(monkeypatch: Any) -> None:
    """The router answers as the route does, and is in the OpenAPI document with what it answers."""
    app = fastapi_app(tags=["limits"])
    document(app, policy())
    asked = Asked(monkeypatch, app=app)
    asked.get("/items")
    assert asked.used()["requests"] == 1
    assert asked.store.charged[1] == ()
    assert asked.get(key=None).status_code == 401
    assert asked.get(if_none_match=asked.get().headers["etag"]).status_code == 304
    assert asked.get(method="HEAD").status_code == 200
    assert asked.used()["requests"] == 1
    assert [*app.openapi()["paths"]["/rate_limit"]] == ["get"]
    described = app.openapi()["paths"]["/rate_limit"]["get"]
    assert described["tags"] == ["limits"]
    assert set(described["responses"]) >= {"200", "304", "401", "429", "503"}
    schema = described["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(asked.get().json(), schema)
    jsonschema.validate(described["responses"]["200"]["content"]["application/json"]["example"], schema)


def test_fastapi_exempt(monkeypatch: Any) -> None:
    """Where a rule exempts it, the document has none of the limiter's answers for it but its own."""
    exempting = policy(LIMITS, more='[operations]\nexempt = ["GET /rate_limit"]')
    app = fastapi_app()
    document(app, exempting)
    asked = Asked(monkeypatch, exempting, app)
    assert asked.get().status_code == 200
    assert set(app.openapi()["paths"]["/rate_limit"]["get"]["responses"]) == {"200", "304", "401", "503"}


def test_fastapi_elsewhere(monkeypatch: Any) -> None:
    """At another path, under a prefix, in an app that is mounted."""
    app = FastAPI()
    app.include_router(usage_router("/usage"), prefix="/v2")
    asked = Asked(monkeypatch, app=Starlette(routes=[Mount("/api", app)]))
    assert asked.used(path="/api/v2/usage")["requests"] == 0
    assert asked.store.charged == [()]


def test_deferred(monkeypatch: Any) -> None:
    """Where the app says later who asks, its usage is told, and what the address gave at the door goes back."""

    async def who(x_user: Annotated[str | None, Header()] = None) -> Identity | None:
        return Identity(user=x_user, tier="basic") if x_user else None

    app = fastapi_app(dependencies=[Depends(decide(who))])
    asked = Asked(monkeypatch, app=app, identify=deferred())
    assert asked.get(key=None).status_code == 401
    for _ in range(5):
        assert asked.used(key=None, x_user="ana")["requests"] == 0


def test_in_tests(monkeypatch: Any) -> None:
    """With limited_client it goes by the clock of the test, and nothing of another test is told."""
    app = fastapi_app()
    app.add_middleware(RateLimitMiddleware, policy=policy(LIMITS))
    for _ in range(2):
        with limited_client(app, headers={"authorization": f"Bearer {ANA}"}) as client:
            assert client.get("/rate_limit").json()["resources"]["requests"]["used"] == 0
            client.get("/items")
            client.clock.advance("1s")
            told = client.get("/rate_limit").json()["resources"]["requests"]
            assert (told["used"], told["reset"]) == (1, 1_772_445_661)


def test_who_does_not_use_it() -> None:
    """To import it marks nothing: requests of an app without it are asked for no endpoint."""
    before = MADE[:]
    import ratelimit.fastapi.usage
    import ratelimit.usage  # noqa: F401

    assert before == MADE


def test_many_callers(monkeypatch: Any) -> None:
    """What is kept of readings is bounded, however many callers ask."""
    asked = Asked(monkeypatch, identify=lambda scope: Identity(user=f"u{len(asked.store.peeks)}", tier="basic"))
    monkeypatch.setattr(reading, "CALLERS", 8)
    for _ in range(100):
        assert asked.get().status_code == 200
    assert len(reading._readers[asked.limited._account]._recent) <= 2 * reading.CALLERS


def test_mark_beside_others(monkeypatch: Any) -> None:
    """What else is marked in the app goes its own way."""

    async def heavy(request: Any) -> PlainTextResponse:
        return PlainTextResponse("done")

    app = app_of(Route("/heavy", operation("create")(heavy)))
    asked = Asked(monkeypatch, app=app)
    asked.get("/heavy")
    assert asked.used()["writes"] == 1


def test_operation_around_it(monkeypatch: Any) -> None:
    """What is around it says what its requests are, for those who are charged."""
    text = """
      [tiers.anonymous]
      limits = [{ name = "ip", rate = "9/minute", operations = ["odd"] }]
      [operations]
      odd = []"""
    app = FastAPI(dependencies=[Depends(as_operation("odd"))])
    app.include_router(usage_router())
    asked = Asked(monkeypatch, parse_policy(text), app, identify=identify_known)
    assert asked.get(key=None).status_code == 401
    assert asked.get().status_code == 200
    assert asked.store.charged == [("ip",), ()]


def identify_known(scope: Any) -> Identity | None:
    return Identity(user="ana", tier="anonymous") if identify(scope) else None


def test_on_a_server(monkeypatch: Any, valkey: Any) -> None:
    """On Redis the same, slots too; however many ask at once, it is read once."""
    asked = Asked(monkeypatch)

    async def main() -> None:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def slow(request: Any) -> PlainTextResponse:
            entered.set()
            await leave.wait()
            return PlainTextResponse("done")

        store = RedisStore(valkey.url, prefix="usage", timeout=5)
        peek, peeks = store.peek, []

        async def counted(charges: Any, units: int = 1) -> Any:
            peeks.append(units)
            return await peek(charges, units)

        store.peek = counted  # type: ignore[method-assign]
        limited = RateLimitMiddleware(app_of(Route("/slow", slow)), policy(LIMITS), store=store)
        transport = httpx2.ASGITransport(limited)
        key = {"authorization": f"Bearer {ANA}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=key) as client:
            running = asyncio.ensure_future(client.get("/slow"))
            await entered.wait()
            answers = await asyncio.gather(*[client.get("/rate_limit") for _ in range(50)])
            told = answers[0].json()["resources"]
            assert (told["requests"]["used"], told["in flight"]["used"], told["writes"]["used"]) == (1, 1, 0)
            assert told["monthly"]["reset"] % 86_400 == 0  # the end of the month, to the second
            assert {answer.headers["etag"] for answer in answers} == {answers[0].headers["etag"]}
            assert peeks == [0]
            leave.set()
            await running
            asked.now += 1_000
            told = (await client.get("/rate_limit")).json()["resources"]
            assert (told["requests"]["used"], told["in flight"]["used"]) == (1, 0)
        await store.close()

    asyncio.run(main())


def test_nothing_is_left() -> None:
    """What was read goes with its limiter."""

    def once() -> weakref.ref[Any]:
        limited = RateLimitMiddleware(app_of(), policy(LIMITS), store=Read())
        key = {"authorization": f"Bearer {ANA}"}
        assert TestClient(limited).get("/rate_limit", headers=key).status_code == 200
        return weakref.ref(limited._account)

    account = once()
    gc.collect()
    assert account() is None
