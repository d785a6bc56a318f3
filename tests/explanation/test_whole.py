"""A call, explained: which rule, which limits, at what max and why, in which counter; and what a store says of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from ratelimit import MemoryStore, as_operation, operation
from ratelimit.explanation.caller import by_key, by_pairs
from ratelimit.explanation.limits import steps
from ratelimit.explanation.operation import WrongCall, classified
from ratelimit.explanation.told import as_json, decided, sentences
from ratelimit.explanation.verdict import usage_of, verdict_of
from ratelimit.explanation.whole import Explanation, explain, of_tier
from ratelimit.model import FOREVER, Limit, Rate
from ratelimit.policy import Policy
from tests.explanation import NOW, policy
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]


def of(method: str, path: str, key: bytes = b"one", at_ms: int = NOW, known: Policy | None = None) -> Explanation:
    known = known or policy()
    return explain(known, by_key(known, key), method, path, at_ms)


@pytest.mark.parametrize(
    ("method", "path", "operation", "source", "why"),
    [
        ("GET", "/health", None, "rule", '/health is exempt by the rule "GET /health", operations.exempt[0]'),
        ("HEAD", "/docs/a", None, "rule", '/docs/a is exempt by the rule "* /docs/**", operations.exempt[1]'),
        (
            "delete",
            "/v2/invoices/7?x=1#y",
            "heavy",
            "rule",
            '/v2/invoices/7 is heavy by the rule "DELETE /v2/invoices/{id}", operations.heavy[1]',
        ),
        ("WEBSOCKET", "/feed/a", "odd", "rule", '/feed/a is odd by the rule "WEBSOCKET /feed/**", operations.odd[0]'),
        ("WEBSOCKET", "/other", "connect", "shape", "no rule takes it, and a handshake is connect"),
        ("PUT", "/a", "write", "shape", "no rule takes it, and PUT is write"),
        (
            "GET",
            "/loans/7",
            "detail_read",
            "guess",
            "no rule takes it, and a GET of an item is detail_read, by a guess",
        ),
        ("GET", "/loans", "search", "guess", "no rule takes it, and a GET of a collection is search, by a guess"),
        ("OPTIONS", "/loans", "search", "shape", "no rule takes it, and OPTIONS is search"),
    ],
)
def test_operations(method: str, path: str, operation: str | None, source: str, why: str) -> None:
    """A call is what the limiter takes it for; it is said which rule says so, and where that stands."""
    call = classified(policy(), method, path)
    assert (call.operation, call.source) == (operation, source)
    assert call.why[0].startswith(why)


def test_readings() -> None:
    """A path that may be read in several ways is told with each of them."""
    call = classified(policy(), "POST", "/docs/%2e%2e/v2/invoices")
    assert (call.operation, call.source) == ("heavy", "readings")
    assert [one.rule for one in call.readings] == ["* /docs/**", "POST /v2/invoices"]
    assert "each limit that one of them reaches is charged" in call.why[0]
    both = classified(policy(), "GET", "/docs/..;/x")
    assert both.operation == "search"
    assert "/x is search by its shape" in both.why
    assert len(classified(policy(), "GET", "/docs//a").readings) == 1  # the doubled slash is no other way to read it
    several = classified(policy(), "POST", "/a/%2e%2e/v2/invoices")
    assert (several.operation, several.operations) == ("create·heavy", ("create", "heavy"))
    many = classified(policy(), "GET", "/" + "%25252525252e/" * 40)
    assert many.source == "readings"


@pytest.mark.parametrize(
    ("method", "path"), [("GET ME", "/"), ("", "/"), ("1", "/"), ("GET", "a"), ("GET", "/\x1b[31m")]
)
def test_wrong_calls(method: str, path: str) -> None:
    """What no client can send is refused, and not repeated."""
    with pytest.raises(WrongCall) as error:
        classified(policy(), method, path)
    assert "31m" not in str(error.value)


def test_own_classify() -> None:
    """A classify of the policy's own is asked; one that is async can't be."""

    async def later(scope: Any) -> str:
        return "search"

    call = classified(replace(policy(), classify=lambda scope: "odd"), "GET", "/x")
    assert (call.operation, call.source) == ("odd", "classify")
    with pytest.raises(WrongCall, match="that is async"):
        classified(replace(policy(), classify=later), "GET", "/x")


def test_app() -> None:
    """With the app it is what its endpoint says, or its routes; and its units are told."""
    app = FastAPI()

    @app.get("/top10")
    async def top() -> str:
        return ""

    @app.post("/many")
    @operation("heavy", units=3)
    async def many() -> str:
        return ""

    @app.post("/computed", dependencies=[Depends(as_operation("odd"))])
    async def depends() -> str:
        return ""

    @app.post("/counted")
    @operation("heavy", units=lambda request: 4)
    async def counted() -> str:
        return ""

    def told(method: str, path: str) -> tuple[Any, ...]:
        call = classified(policy(), method, path, app)
        return call.operation, call.source, call.why[-1]

    assert told("GET", "/top10")[:2] == ("search", "shape")
    assert told("POST", "/many") == ("heavy", "decorator", "its cost is times 3")
    assert told("POST", "/counted")[2] == "its cost is times the units that its endpoint computes, 1 here"
    assert told("POST", "/computed") == (
        "odd",
        "dependency",
        "no rule takes it, and its endpoint says so, by a dependency",
    )
    costs = explain(policy(), by_key(policy(), b"one"), "POST", "/many", NOW, app)
    assert [one.charge.cost for one in costs.limits][:2] == [15, 3]


def test_limits() -> None:
    """Each limit that counts the call, with its max as it is computed, by an override until when, in its counter."""
    found = of("POST", "/v2/invoices")
    told = [(one.limit.name, one.allows, one.charge.cost, one.mode, one.key) for one in found.limits]
    assert told == [
        ("requests", "31/5 minutes", 5, "enforced", "{organization=acme}:requests:300000/60"),
        ("monthly", "900/month", 1, "enforced", "{organization=acme}:monthly:month:user=ana"),
        ("at once", "2 at a time", 1, "enforced", "{organization=acme}:at%20once:c"),
        ("soon", "1/minute", 1, "in shadow until 2026-03-03T00:00:00Z", "{organization=acme}:soon:60000/60"),
        ("tried", "1/minute", 1, "in shadow", "{organization=acme}:tried:60000/60"),
    ]
    assert [one.why for one in found.limits[:3]] == [
        "(10 * seats + 1), with seats = 3",
        "by overrides[1], for organization = acme, mode = test until 2026-03-10T00:00:00Z, instead of 500/month",
        "as its tier has it",
    ]
    assert steps(found.limits[1]) == [(1_773_100_800_000, "700/month"), (1_775_001_600_000, "500/month")]
    assert steps(found.limits[0]) == []
    assert [(one.name, one.why) for one in found.others] == [("gone", "off"), ("hand", "charged by hand only")]


def test_at() -> None:
    """As of another time other overrides hold, and a limit is in shadow no more."""
    later = of("POST", "/v2/invoices", at_ms=1_773_100_800_000)
    assert [later.limits[1].allows, later.limits[3].mode] == ["700/month", "enforced"]
    last = of("POST", "/v2/invoices", at_ms=FOREVER)
    assert (last.limits[1].allows, last.limits[1].later) == ("500/month", ())


def test_what_is_not_known() -> None:
    """What a limit counts apart and nobody said is told; so is an attribute that is missing or no number."""
    known = policy()
    found = explain(known, by_pairs(known, ["organization=x", "tier=basic", 'seats="3"']), "GET", "/x", NOW)
    assert [one.without for one in found.limits] == [(), ("user",), ()]
    assert found.limits[0].why == "(10 * seats + 1), with seats = 0, as it is no number"
    found = explain(known, by_pairs(known, ["organization=x", "tier=basic"]), "GET", "/x", NOW)
    assert found.limits[0].why == "(10 * seats + 1), with seats = 0, as it is missing"
    assert [(one.name, one.why) for one in found.others][:2] == [("soon", "counts heavy"), ("tried", "counts heavy")]


def test_exempt() -> None:
    """What is exempt is counted by nothing."""
    found = of("GET", "/health")
    assert (found.limits, found.charges) == ((), ())
    assert {one.why for one in found.others} == {"the call is exempt", "off"}
    assert sentences(found, None) == ["GET /health is exempt from every limit"]


def test_own_usage() -> None:
    """At an endpoint of its own usage a known caller is charged nothing."""
    from ratelimit.fastapi import usage_router

    app = FastAPI()
    app.include_router(usage_router())
    found = explain(policy(), by_key(policy(), b"one"), "GET", "/rate_limit", NOW, app)
    assert found.limits == ()
    assert found.others[0].why == "known callers are not charged there"


def test_limit_of_a_program() -> None:
    """A max that a program computes is told as it comes out."""
    made = policy()
    limit = Limit("own", Rate(1_500, 3), lambda attributes: 7)
    found = of("GET", "/x", known=replace(made, tiers={**made.tiers, "basic": (limit,)}, overrides=()))
    assert (found.limits[0].allows, found.limits[0].why) == ("7/1500 ms", "as its tier has it")


def run(store: MemoryStore, *calls: Any) -> list[Any]:
    async def main() -> list[Any]:
        return [await call() for call in calls]

    return asyncio.run(main())


def test_verdict() -> None:
    """What is left, and what would be decided now: as acquire then decides it, and nothing is taken."""
    store = MemoryStore(lambda: NOW)
    found = of("POST", "/v2/invoices")
    [first] = run(store, lambda: verdict_of(store, found.charges))
    assert (first.allowed, first.denied_by, decided(first)) == (True, None, "now it would be allowed")
    assert [(one.used, one.left) for one in first.usage] == [(0, 31), (0, 900), (0, 2), (0, 1), (0, 1)]
    for number in range(2):
        [verdict, decision] = run(store, lambda: verdict_of(store, found.charges), lambda: store.acquire(found.charges))
        assert verdict.allowed == decision.allowed
        assert [one.used for one in verdict.usage][:3] == [5 * number, number, number]
    [full] = run(store, lambda: verdict_of(store, found.charges))
    assert (full.allowed, full.denied_by, full.retry_after_ms) == (False, "at once", 1_000)
    assert decided(full) == "now it would be denied by at once, and would pass in 1 s"
    assert [one.exceeded for one in full.usage] == [False, False, True, True, True]
    assert [one.shadow for one in full.usage] == [False, False, False, True, True]
    assert sentences(found, full)[-1] == decided(full)
    [usage] = run(store, lambda: usage_of(store, found.charges))
    assert [(one.used, one.left) for one in usage.usage] == [(10, 21), (2, 898), (2, 0), (1, 0), (1, 0)]


def test_never() -> None:
    """What can never pass is told as that, slots too."""
    text = """
    [tiers.anonymous]
    limits = [{ name = "shut", concurrency = 0 }, { name = "ip", rate = "0/minute" }]"""
    known = policy(text=text)
    store = MemoryStore(lambda: NOW)
    found = explain(known, by_pairs(known, ["ip=192.0.2.7"]), "GET", "/x", NOW)
    [verdict] = run(store, lambda: verdict_of(store, found.charges))
    assert decided(verdict) == "now it would be denied by ip, and can never pass"
    assert verdict.usage[0].exceeded


def test_denied_by_a_rate() -> None:
    """Where a rate denies, what was used is told without this call."""
    known = policy()
    store = MemoryStore(lambda: NOW)
    found = explain(known, by_pairs(known, ["ip=192.0.2.7"]), "GET", "/x", NOW)
    run(store, *[lambda: store.acquire(found.charges)] * 2)
    [verdict] = run(store, lambda: verdict_of(store, found.charges))
    assert (verdict.denied_by, verdict.retry_after_ms, verdict.usage[0].used) == ("ip", 61_000, 2)
    assert decided(verdict) == "now it would be denied by ip, and would pass in 1 min 1 s"


def test_json() -> None:
    """All of it is plain data, with no API key and no whole hash of one."""
    found = of("POST", "/v2/invoices")
    store = MemoryStore(lambda: NOW)
    [verdict] = run(store, lambda: verdict_of(store, found.charges))
    told = json.loads(json.dumps(as_json(found, verdict, "pre")))
    assert told["call"]["operation"] == "heavy"
    assert told["caller"]["api_key"] == found.caller.identity.api_key[:8] + "…"  # type: ignore[index]
    assert told["limits"][1]["later"] == [
        {"from": "2026-03-10T00:00:00Z", "allows": "700/month"},
        {"from": "2026-04-01T00:00:00Z", "allows": "500/month"},
    ]
    assert told["limits"][0]["counter"] == "pre:{organization=acme}:requests:300000/60"
    assert told["decision"] == {
        "at": "2026-03-02T10:00:00Z",
        "allowed": True,
        "denied_by": None,
        "retry_after_ms": 0,
    }
    assert as_json(found, None, "pre")["decision"] is None
    assert sentences(found, None) == [
        "POST /v2/invoices is heavy for tier basic: requests (31/5 minutes), monthly (900/month), at once (2 at a"
        " time), soon (1/minute), tried (1/minute)"
    ]


def test_no_limit() -> None:
    """A call that no limit counts is told so."""
    known = policy(text="[tiers.anonymous]\nlimits = []")
    found = explain(known, by_pairs(known, ["ip=192.0.2.7"]), "GET", "/x", NOW)
    assert sentences(found, None) == ["GET /x is search for tier anonymous: no limit"]


def test_of_tier() -> None:
    """All limits of a caller, whatever it calls, but those that are off."""
    known = policy()
    names = [one.limit.name for one in of_tier(known, by_key(known, b"one"), NOW)]
    assert names == ["requests", "monthly", "at once", "soon", "tried", "hand"]
