"""Each request is counted once, by names that the policy has: what became of it, and by which limit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from ratelimit import Identity, MemoryStore, RateLimitMiddleware, operation, parse_policy
from ratelimit.control.control import Control
from ratelimit.fastapi import deferred, limit
from ratelimit.model import Classify, Readings, Scope
from ratelimit.telemetry.hook import Near
from ratelimit.telemetry.tally import Names
from ratelimit.testing import limited_client
from tests.acceptance import ANA, BEN, T, ask, limited, plain, policy, run, scope_of
from tests.control import COMPLETION, Away, app, limiter, status
from tests.telemetry import Told, told
from tests.waiting import Asked, SteppedLoop
from tests.websockets import connect, echo, settled, text

ALLOWED = ("detail_read", "basic", "", "allowed")


def test_allowed_and_denied() -> None:
    """By operation, tier, and the limit that denies; a caller is nowhere in it."""

    async def test() -> None:
        limiter = limited(plain, telemetry=Told())
        for api_key in (ANA, ANA, ANA, ANA, BEN, None, None, None):
            await ask(limiter, api_key=api_key)
        assert told(limiter).outcomes() == {
            ALLOWED: 4,
            ("detail_read", "basic", "requests", "denied"): 1,
            ("detail_read", "anonymous", "", "allowed"): 2,
            ("detail_read", "anonymous", "ip", "denied"): 1,
        }

    run(test())


def test_the_longest_wait_is_the_limit() -> None:
    """Of several limits that deny, the one that the client is told of."""

    async def test() -> None:
        limits = '{ name = "short", rate = "1/second" }, { name = "long", rate = "1/hour" }'
        limiter = limited(plain, limits, telemetry=Told())
        for _ in range(2):
            await ask(limiter)
        assert told(limiter).outcomes() == {ALLOWED: 1, ("detail_read", "basic", "long", "denied"): 1}

    run(test())


def test_shadow() -> None:
    """Let through, and counted by the limit in shadow with the longest wait; each that would deny is counted too."""

    async def test() -> None:
        limits = ", ".join(f'{{ name = "{name}", rate = "1/{name}", mode = "shadow" }}' for name in ("second", "hour"))
        limiter = limited(plain, limits, telemetry=Told())
        for _ in range(3):
            await ask(limiter)
        found = told(limiter)
        assert found.outcomes() == {ALLOWED: 1, ("detail_read", "basic", "hour", "shadow"): 2}
        assert found.shadow_denials == {("basic", "second"): 2, ("basic", "hour"): 2}

    run(test())


@pytest.mark.parametrize(
    ("on_failure", "limit", "verdict", "answered"),
    [("allow", "", "allowed", 200), ("deny", "", "refused", 503)],
)
def test_degraded(on_failure: str, limit: str, verdict: str, answered: int) -> None:
    """Decided without the store, whatever that comes to; and what it came to."""

    async def test() -> None:
        store = Away(lambda: T)
        store.away = {"acquire"}
        text = policy(more=f'[store]\non_failure = "{on_failure}"')
        limiter = RateLimitMiddleware(plain, text, store=store, telemetry=Told())
        assert (await ask(limiter))[0]["status"] == answered
        found = told(limiter)
        assert found.outcomes() == {("detail_read", "basic", limit, "degraded"): 1}
        assert found.without_store == {verdict: 1}

    run(test())


def test_degraded_and_decided_here() -> None:
    """A limit that this process enforces by itself is named where it denies."""

    async def test() -> None:
        text = policy('{ name = "requests", rate = "1/minute" }', '[store]\non_failure = "local"')
        limiter = RateLimitMiddleware(plain, text, store="redis://127.0.0.1:1", telemetry=Told())
        for _ in range(2):
            await ask(limiter)
        found = told(limiter)
        degraded = {("detail_read", "basic", "", "degraded"): 1, ("detail_read", "basic", "requests", "degraded"): 1}
        assert found.outcomes() == degraded
        assert found.without_store == {"local": 2}
        await limiter._close()

    run(test())


def test_exempt_and_refused() -> None:
    """Where no limit was asked there is no name: neither operation nor tier."""

    async def test() -> None:
        limiter = limited(plain, more='[operations]\nexempt = ["GET /health"]', telemetry=Told())
        await ask(limiter, "/health")
        both = scope_of()
        both["headers"].append((b"x-api-key", BEN.encode()))
        assert (await ask(limiter, scope=both))[0]["status"] == 400
        assert told(limiter).outcomes() == {("", "", "", "exempt"): 1, ("", "", "", "refused"): 1}

    run(test())


def classified(classify: Classify, more: str = "", **rest: Any) -> RateLimitMiddleware:
    return limited(
        plain, '{ name = "requests", rate = "9/minute" }', more=more, classify=classify, telemetry=Told(), **rest
    )


def test_what_the_policy_does_not_declare() -> None:
    """A thousand names that an app makes up are one label; those that the policy knows are their own."""

    async def test() -> None:
        names = iter([*[f"made-up-{number}" for number in range(1_000)], "search", "declared"])
        more = "[operations]\ndeclared = []"
        limiter = classified(lambda scope: next(names), more)
        for number in range(1_002):
            await ask(limiter, api_key=None, scope={**scope_of(api_key=None), "client": (f"192.0.2.{number % 250}", 1)})
        operations = [one[0] for one in told(limiter).outcomes()]
        assert set(operations) == {"other", "search", "declared"}

    run(test())


def test_operations_of_endpoints() -> None:
    """By its operation, whatever else its endpoint says; its units and limits make no other name. The limits that it
    declares are named where they deny."""
    api = FastAPI()

    @api.get("/exports", dependencies=[Depends(limit("2/hour", name="exports"))])
    @operation("search", units=lambda request: int(request.query_params["units"]))
    async def exports() -> None: ...

    telemetry = Told()
    api.add_middleware(
        RateLimitMiddleware, policy=policy(anonymous="100/minute"), store=MemoryStore(lambda: T), telemetry=telemetry
    )
    with TestClient(api) as client:
        assert [client.get(f"/exports?units={units}").status_code for units in (2, 1, 2)] == [200, 429, 429]
    assert telemetry.outcomes() == {
        ("search", "anonymous", "", "allowed"): 1,
        ("search", "anonymous", "exports", "denied"): 2,
    }


def test_several_readings() -> None:
    """A request that may be read as one of several operations is none of them."""

    async def test() -> None:
        limiter = classified(lambda scope: Readings(("search", "create")))
        await ask(limiter)
        assert told(limiter).outcomes() == {("several", "basic", "", "allowed"): 1}

    run(test())


@pytest.mark.parametrize(
    ("default", "tier", "counted"),
    [("basic", None, "basic"), ("basic", "gone", "basic"), (None, "gone", "anonymous"), (None, "basic", "basic")],
)
def test_tiers(default: str | None, tier: str | None, counted: str) -> None:
    """The tier that counts: of one that the policy does not have, the one in its place."""

    async def test() -> None:
        made = policy(more=f'[identity]\ndefault_tier = "{default}"' if default else "")
        who = Identity(user="ana", tier=tier)
        limiter = RateLimitMiddleware(
            plain, made, store=MemoryStore(lambda: T), identify=lambda _: who, telemetry=Told()
        )
        await ask(limiter)
        assert told(limiter).outcomes() == {("detail_read", counted, "", "allowed"): 1}

    run(test())


def test_a_policy_of_one_tier() -> None:
    """Without a default and an anonymous tier, whatever has no name of the policy's is "other"."""
    made = policy()
    assert Names(replace(made, tiers={"basic": made.tiers["basic"]})).tier(None) == "other"


def near(limits: str, requests: int) -> dict[tuple[str, float], int]:
    async def test() -> None:
        limiter = limited(plain, limits, telemetry=found)
        for _ in range(requests):
            await ask(limiter)
        told(limiter)

    found = Told()
    run(test())
    assert {one.tier for one in found.near} <= {"basic"}
    return {(one.limit, one.threshold): count for one, count in found.near.items()}


@pytest.mark.parametrize(
    ("limits", "requests", "expected"),
    [
        ('{ name = "all", rate = "20/minute" }', 15, {}),
        ('{ name = "all", rate = "20/minute" }', 16, {("all", 0.8): 1}),
        ('{ name = "all", rate = "20/minute" }', 25, {("all", 0.8): 5, ("all", 0.95): 2}),
        ('{ name = "all", rate = "20/minute", mode = "shadow" }', 25, {("all", 0.8): 5, ("all", 0.95): 2}),
        ('{ name = "one", quota = "1/day" }', 3, {("one", 0.8): 1, ("one", 0.95): 1}),
        ('{ name = "free", rate = "1/day", cost = 0 }', 9, {}),
        ('{ name = "closed", rate = "0/day", cost = 0 }', 9, {}),
        ('{ name = "a", rate = "5/day" }, { name = "b", rate = "100/day", cost = 16 }', 5,
         {("a", 0.8): 2, ("a", 0.95): 1, ("b", 0.8): 1}),
    ],
)  # fmt: skip
def test_near_a_limit(limits: str, requests: int, expected: dict[tuple[str, float], int]) -> None:
    """What was let through and left a limit with so much of its max used; what costs nothing left nothing."""
    assert near(limits, requests) == expected


def test_near_by_the_unit() -> None:
    """No float loses one: 0.95 of 2^53 - 2 is where it is."""
    most = 2**53 - 2
    least = -(-most * 95 // 100)
    for cost, expected in ((least, 1), (least - 1, 0)):
        found = near(f'{{ name = "all", quota = "{most}/day", cost = {cost} }}', 1)
        assert found.get(("all", 0.95), 0) == expected


def test_who_waits() -> None:
    """A request that is held a moment is counted once, by what became of it."""

    async def test() -> None:
        limits = '{ name = "requests", rate = "1/second", precision = 1 }'
        made = policy(f'{limits} ]\nwait = {{ up_to = "3s", queue = 20 }}\n#')
        limiter = RateLimitMiddleware(plain, made, store=Asked(), telemetry=Told())
        answers = await asyncio.gather(*(ask(limiter) for _ in range(3)))
        assert sorted(sent[0]["status"] for sent in answers) == [200, 200, 429]
        denied = ("detail_read", "basic", "requests", "denied")
        assert told(limiter).outcomes() == {ALLOWED: 2, denied: 1}

    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        runner.run(test())


def test_holds() -> None:
    """Each hold is a decision of its own; its kind tells it from the request, which is counted once."""

    async def handle(control: Control, send: Any) -> None:
        for units in (600, 300, 200):
            async with control.hold(units, limit="tokens", deny=False) as held:
                held.settle(units)

    async def test() -> None:
        made = limiter(app(handle), telemetry=Told())
        assert status(await ask(made, **COMPLETION)) == 200
        found = told(made)
        assert found.outcomes() == {("completion", "anonymous", "", "allowed"): 1}
        assert found.outcomes("hold") == {
            ("completion", "anonymous", "", "allowed"): 2,
            ("completion", "anonymous", "tokens", "denied"): 1,
        }
        assert found.near[Near("anonymous", "tokens", 0.8)] == 1

    run(test())


def test_handshakes_and_messages() -> None:
    """A handshake is a request; each message is counted, the one that closes the connection too."""

    async def test() -> None:
        limits = '{ name = "messages", rate = "2/minute", operations = ["message"] }'
        for on_excess, denied in (("close", 1), ("drop", 2)):
            table = f'[websocket]\nmessages = "message"\non_excess = "{on_excess}"'
            limiter = limited(echo, limits, more=table, telemetry=Told())
            await connect(limiter, *[text(str(number)) for number in range(4)])
            found = told(limiter)
            assert found.outcomes() == {("connect", "basic", "", "allowed"): 1}
            assert found.outcomes("message") == {
                ("message", "basic", "", "allowed"): 2,
                ("message", "basic", "messages", "denied"): denied,
            }

    run(test())


def test_callers_who_are_known_later() -> None:
    """One request is one decision: of its caller once the app has said who that is, else of the address."""
    anonymous, caller = ("detail_read", "anonymous", "", "allowed"), Identity(user="ana", tier="basic")

    async def inside(scope: Scope, receive: Any, send: Any) -> None:
        if scope["path"] == "/items/8":
            await scope["ratelimit.control"].decide(caller)
        await plain(scope, receive, send)

    async def test() -> None:
        limiter = limited(inside, '{ name = "requests", rate = "1/minute" }', identify=deferred(), telemetry=Told())
        for path in ("/items/7", "/items/8", "/items/8", "/items/7", "/items/7"):
            await ask(limiter, path)
            await settled()  # what the address gave has gone back
        assert told(limiter).outcomes() == {
            anonymous: 2,
            ALLOWED: 1,
            ("detail_read", "basic", "requests", "denied"): 1,
            ("detail_read", "anonymous", "ip", "denied"): 1,
        }

    run(test())


def test_who_waits_and_is_known_later() -> None:
    """An address that has waited is no decision yet: the one for its caller counts."""

    async def inside(scope: Scope, receive: Any, send: Any) -> None:
        await scope["ratelimit.control"].decide(Identity(user="ana", tier="basic"))
        await plain(scope, receive, send)

    async def test() -> None:
        made = parse_policy(
            'style = "ietf"\n[tiers.basic]\nlimits = [ { name = "requests", rate = "9/minute" } ]\n[tiers.anonymous]\n'
            'limits = [ { name = "ip", rate = "1/second", precision = 1 } ]\nwait = { up_to = "3s", queue = 20 }\n',
            "patient",
        )
        limiter = RateLimitMiddleware(inside, made, store=Asked(), identify=deferred(), telemetry=Told())
        answers = await asyncio.gather(*(ask(limiter, api_key=None) for _ in range(2)))
        assert [sent[0]["status"] for sent in answers] == [200, 200]
        assert told(limiter).outcomes() == {ALLOWED: 2}

    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        runner.run(test())


def test_in_the_tests_of_an_app() -> None:
    """Under `limited_client` it is told the same, whatever store the app has, also of units that are held."""
    telemetry = Told()

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(5, limit="tokens"):
            pass

    made = limiter(app(handle), store="redis://127.0.0.1:1", telemetry=telemetry)
    with limited_client(made, lifespan=False) as client:
        assert client.post("/completions").status_code == 200
    allowed = {("completion", "anonymous", "", "allowed"): 1}
    assert (told(made).outcomes(), telemetry.outcomes("hold")) == (allowed, allowed)


def test_off() -> None:
    """Without a telemetry there is nothing of it, not even where somebody would be told."""

    async def test() -> None:
        limiter = limited(plain)
        await ask(limiter)
        assert limiter._telling is None
        assert limiter._noted is None

    run(test())
