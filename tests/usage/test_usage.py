"""What a caller is told of its own usage, and what that costs: nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from ratelimit import RateLimitMiddleware, StoreUnavailable
from ratelimit.usage.endpoint import Usage
from tests.routes import marks_forgotten
from tests.usage import ANA, BEN, LIMITS, Asked, app_of, policy, well

__all__ = ["marks_forgotten"]


def test_all_limits(monkeypatch: Any) -> None:
    """All limits of the caller's tier, also those that this request would not reach: used, left, when it is whole
    again. None in shadow, none that is off."""
    asked = Asked(monkeypatch)
    for _ in range(2):
        assert asked.get("/items").status_code == 200
    response = asked.get()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "private, no-cache"
    assert response.json() == {
        "resources": {
            "requests": {
                "kind": "rate",
                "limit": 5,
                "used": 2,
                "remaining": 3,
                "reset": 1_772_445_661,
                "window": 60,
            },
            "monthly": {
                "kind": "quota",
                "limit": 100,
                "used": 2,
                "remaining": 98,
                "reset": 1_775_001_600,
                "period": "month",
            },
            "writes": {
                "kind": "rate",
                "limit": 9,
                "used": 0,
                "remaining": 9,
                "reset": None,
                "window": 3600,
            },
            "in flight": {
                "kind": "concurrency",
                "limit": 4,
                "used": 0,
                "remaining": 4,
                "reset": None,
            },
        }
    }


def test_it_is_free(monkeypatch: Any) -> None:
    """A known caller may ask as often as it likes, also over its limits: no limit counts it. Each asks for itself."""
    asked = Asked(monkeypatch)
    for _ in range(5):
        asked.get("/items")
    assert asked.get("/items").status_code == 429
    for _ in range(20):
        assert asked.get().status_code == 200
    assert asked.store.charged[6:] == [()] * 20
    assert asked.used()["requests"] == 5
    assert asked.used(key=BEN)["requests"] == 0


def test_once_a_second(monkeypatch: Any) -> None:
    """The store is read at most once a second for each caller, however often it asks; then it is told what is new."""
    asked = Asked(monkeypatch)
    assert asked.used()["requests"] == 0
    asked.get("/items")
    asked.now += 999
    assert asked.used()["requests"] == 0
    assert len(asked.store.peeks) == 1
    assert asked.used(key=BEN)["requests"] == 0
    assert len(asked.store.peeks) == 2
    asked.now += 1
    assert asked.used()["requests"] == 1
    assert len(asked.store.peeks) == 3
    asked.now -= 5_000  # a clock that goes back does not keep it for longer
    assert asked.used()["requests"] == 1
    assert len(asked.store.peeks) == 4


def test_not_modified(monkeypatch: Any) -> None:
    """Who has it already gets a 304 without a body, until something has changed; time alone changes nothing."""
    asked = Asked(monkeypatch)
    asked.get("/items")
    first = asked.get()
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    asked.now += 3_000
    for given in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = asked.get(if_none_match=given)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-length" not in again.headers
    assert asked.get(if_none_match='"other"').status_code == 200
    asked.get("/items")
    asked.now += 1_000
    assert asked.get(if_none_match=tag).status_code == 200
    assert asked.get(if_none_match=tag).headers["etag"] != tag


def test_anonymous(monkeypatch: Any) -> None:
    """Who is known by nothing but an address is charged as for any request, and gets a 401 in the style's envelope."""
    asked = Asked(monkeypatch)
    for _ in range(2):
        response = asked.get(key=None)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["errors"][0]["code"] == "UNAUTHORIZED"
        assert asked.store.charged[-1] == ("ip",)
    assert asked.get(key=None).status_code == 429
    assert asked.get(key="sk_live_unknown").status_code == 429
    assert asked.store.peeks == []
    assert asked.get().status_code == 200


def test_challenge_of_basic(monkeypatch: Any) -> None:
    """Where API keys come as a user name, a 401 asks for that."""
    asked = Asked(monkeypatch, policy(LIMITS, more='[identity]\napi_key = ["basic"]', style="ietf"))
    assert asked.get(key=None).headers["www-authenticate"] == 'Basic realm="API"'


@pytest.mark.parametrize("style", ["facturapi", "lightspeed", "lendworks", "ietf"])
def test_each_style(monkeypatch: Any, style: str) -> None:
    """In each style 200 tells the limits, 401 and 405 are in its envelope, and a log id is told once."""
    asked = Asked(monkeypatch, policy(LIMITS, style=style))
    assert "requests" in asked.get().json()["resources"]
    for response, status in ((asked.get(key=None), 401), (asked.get(method="POST"), 405)):
        assert response.status_code == status
        assert response.json()
        ids = [name for name in response.headers if "request-id" in name or "log-id" in name]
        assert len(ids) == len(set(ids))
    assert asked.get(method="POST").headers["allow"] == "GET, HEAD"


def test_other_methods_are_charged(monkeypatch: Any) -> None:
    """Only reading is free: a POST is charged as any, and answered with 405. HEAD is as GET, without the body."""
    asked = Asked(monkeypatch)
    assert asked.get(method="POST").status_code == 405
    assert asked.store.charged == [("requests", "monthly", "writes", "in flight", "tried")]
    head = asked.get(method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(asked.get().content))
    assert asked.store.charged[-1] == ()


def test_log_ids(monkeypatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The id that a client is told, of a 401 and of a 503, is in the log; no API key is."""
    caplog.set_level("DEBUG", "ratelimit")
    asked = Asked(monkeypatch, policy(LIMITS, style="facturapi"))
    asked.store.fails = StoreUnavailable("nobody answers")
    for response, status in ((asked.get(), 503), (asked.get(key=None), 401)):
        assert response.status_code == status
        told = [value for name, value in response.headers.items() if "log" in name or "request-id" in name]
        assert len(told) == 1
        assert told[0] in caplog.text
    assert ANA not in caplog.text


def test_out_of_reach(monkeypatch: Any) -> None:
    """Without the store it is the style's 503, whatever on_failure says; it is not asked again within the second."""
    asked = Asked(monkeypatch)
    asked.store.fails = StoreUnavailable("nobody answers")
    for _ in range(3):
        response = asked.get()
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.json()["errors"][0]["code"] == "SERVICE_UNAVAILABLE"
    assert len(asked.store.peeks) == 1
    asked.store.fails = None
    asked.now += 1_000
    assert asked.get().status_code == 200


def test_store_without_peek(monkeypatch: Any) -> None:
    """A store that can't be read is the operator's mistake, and says so."""

    class Admits:
        async def acquire(self, charges: Any) -> Any:
            return await asked.store.acquire(charges)

    asked = Asked(monkeypatch)
    limited = RateLimitMiddleware(app_of(), policy(), store=Admits())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"peek: the store is a .*Admits, which has no such method"):
        TestClient(limited).get("/rate_limit", headers={"authorization": f"Bearer {ANA}"})


def test_no_limiter() -> None:
    """Without a limiter around there is nobody to tell who asks: that is said."""
    client = TestClient(app_of())
    with pytest.raises(RuntimeError, match="no limiter saw this request"):
        client.get("/rate_limit")


def test_what_is_no_request() -> None:
    """A WebSocket and a lifespan are not answered."""
    with pytest.raises(RuntimeError, match="usage answers requests of HTTP, and this is of websocket"):
        asyncio.run(Usage()({"type": "websocket"}, None, None))  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["GET /rate_limit", "* /**"])
def test_exempt_by_a_rule(monkeypatch: Any, rule: str) -> None:
    """A rule that exempts it exempts everybody, and still it is looked at who asks."""
    asked = Asked(monkeypatch, policy(LIMITS, more=f'[operations]\nexempt = ["{rule}"]'))
    assert asked.get().status_code == 200
    assert asked.get(key=None).status_code == 401
    assert asked.store.charged == [(), ()]


def test_exempt_and_hidden(monkeypatch: Any) -> None:
    """Exempt, and behind what hides the routes, nobody has looked who asks: that is said."""
    app = app_of()

    async def hiding(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    asked = Asked(monkeypatch, policy(LIMITS, more='[operations]\nexempt = ["GET /rate_limit"]'), hiding)
    with pytest.raises(RuntimeError, match="usage at /rate_limit: the limiter has let this request through without"):
        asked.get()


def test_hidden(monkeypatch: Any) -> None:
    """Behind what hides the routes it is charged as any other, and tells all the same."""
    app = app_of()

    async def hiding(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    asked = Asked(monkeypatch, app=hiding)
    assert asked.used()["requests"] == 1


def test_own_classify(monkeypatch: Any) -> None:
    """A classify of the user's own changes nothing of that, also where it exempts or is async."""

    async def later(scope: Any) -> str | None:
        return "search" if scope["path"] == "/items" else None

    for own in (lambda scope: "search", lambda scope: None, later):
        asked = Asked(monkeypatch, classify=own)
        assert asked.get().status_code == 200
        assert asked.get(key=None).status_code == 401
        assert asked.store.charged[0] == ()


def test_no_limits(monkeypatch: Any) -> None:
    """A tier without limits is an empty list of them."""
    asked = Asked(monkeypatch, policy(""))
    assert asked.get().json() == {"resources": {}}
    assert asked.store.peeks == []


def test_mounted(monkeypatch: Any) -> None:
    """It may be mounted; what is below its path is it too."""
    asked = Asked(monkeypatch, app=Starlette(routes=[Mount("/usage", app_of()), Route("/items", well)]))
    assert asked.get("/usage/rate_limit").json()["resources"]["requests"]["used"] == 0
    assert asked.store.charged == [()]


def test_lazy() -> None:
    """`usage` is there for who asks for it, always the same; the module has nothing else to hand out."""
    import ratelimit.usage as room

    assert room.usage is room.usage
    assert isinstance(room.usage, Usage)
    assert not hasattr(room, "other")
