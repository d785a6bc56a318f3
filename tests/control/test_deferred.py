"""Callers that the app's own authentication knows: at the door their address asks, then the decision is made."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from contextlib import suppress
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, Security
from fastapi.security import APIKeyHeader, SecurityScopes
from pydantic import BaseModel
from starlette.testclient import TestClient

from ratelimit import Decision, Identity, MemoryStore, RateLimitMiddleware, parse_policy
from ratelimit.control.control import Control
from ratelimit.fastapi import RateLimit, decide, deferred
from ratelimit.model import Message, Receive, Scope, Send
from tests.acceptance import T, ask, driven, header, scope_of
from tests.control import ADDRESS, Away, run, status, used

TEXT = """
style = "lendworks"

[operations]
exempt = ["GET /health"]

[tiers.anonymous]
limits = [{ name = "address", rate = "5/minute" }, { name = "guests", concurrency = 3 }]

[tiers.basic]
limits = [
  { name = "requests", rate = "20/minute" },
  { name = "failed", rate = "10/minute", charge_on = ["409"] },
  { name = "tokens", rate = "100/minute", cost = 0, hold = true },
  { name = "at once", concurrency = 2 },
]
"""
ANA = Identity(user="ana", tier="basic")
AT_THE_DOOR = Identity(ip="testclient", tier="anonymous")


async def current_identity(key: Annotated[str | None, Depends(APIKeyHeader(name="X-Key", auto_error=False))]) -> Any:
    if key == "wrong":
        raise HTTPException(401)
    return {None: None, "odd": "ana"}.get(key, Identity(user=key, tier="basic"))


async def scoped(scopes: SecurityScopes) -> Identity:
    return Identity(user=scopes.scope_str, tier="basic")


Read = Annotated[Control, Depends(decide(Security(scoped, scopes=["read"])))]
Charged = Annotated[Control, Depends(decide(current_identity))]
AS_ANA = {"X-Key": "ana"}


class Item(BaseModel):
    name: str


def made(store: Any = None, text: str = TEXT, **rest: Any) -> TestClient:
    api = FastAPI()

    @api.get("/items")
    async def items(request: Request, charged: Charged, rate_limit: RateLimit) -> dict[str, Any]:
        assert request.scope["ratelimit.control"] is charged
        assert rate_limit is charged
        assert request.scope["ratelimit"] is charged.decision
        assert request.scope["ratelimit.identity"] is charged.identity
        return {"left": charged.left(), "user": charged.identity.user}

    @api.post("/items")
    async def create(item: Item, charged: Charged) -> None: ...

    @api.get("/open")
    async def open_() -> None: ...

    @api.get("/health")
    async def health(charged: Charged) -> dict[str, int]:
        return charged.left()

    @api.get("/conflict", status_code=409)
    async def conflict(charged: Charged) -> None: ...

    @api.post("/tokens/{units}")
    async def tokens(units: int, charged: Charged) -> None:
        async with charged.hold(units, limit="tokens"):
            pass

    store = store or MemoryStore(clock=lambda: T)
    api.add_middleware(RateLimitMiddleware, parse_policy(text, "deferred"), store=store, identify=deferred(), **rest)
    client = TestClient(api)
    client.store = store  # type: ignore[attr-defined]
    return client


def used_of(client: Any, identity: Identity) -> dict[str, int]:
    policy = parse_policy(TEXT, "deferred")
    names = tuple(name for name in policy.limits_of(identity) if name not in ("guests", "at once"))

    async def peek() -> dict[str, int]:
        states = (await client.store.peek(policy.named(identity, names), 0)).states
        return {state.limit.name: state.used for state in states}

    return asyncio.run(peek())


def test_decided() -> None:
    """With the caller's own limits and headers; what its address gave at the door goes back, so that it may call more
    often than an address."""
    client = made()
    for left in range(19, 9, -1):
        answer = client.get("/items", headers=AS_ANA)
        assert answer.json()["user"] == "ana"
        assert answer.json()["left"] == {"requests": left, "failed": 9, "tokens": 100, "at once": 1}
        assert answer.headers["x-ratelimit-remaining"] == str(left)
    assert used_of(client, AT_THE_DOOR) == {"address": 0}
    assert used_of(client, ANA) == {"requests": 10, "failed": 0, "tokens": 0}


def test_denied() -> None:
    """Over its own limits it gets the style's whole 429, and its address has it back too."""
    client = made()
    assert Counter(client.get("/items", headers=AS_ANA).status_code for _ in range(23)) == {200: 20, 429: 3}
    answer = client.get("/items", headers=AS_ANA)
    assert answer.json()["errors"][0]["code"] == "RATE_LIMIT_EXCEEDED"
    assert (answer.headers["retry-after"], answer.headers["x-ratelimit-limit"]) == ("61", "20")
    assert used_of(client, AT_THE_DOOR) == {"address": 0}
    assert client.get("/items", headers={"X-Key": "ben"}).status_code == 200


@pytest.mark.parametrize(
    ("request_of", "expected"),
    [
        (lambda c: c.get("/items", headers={"X-Key": "wrong"}), 401),
        (lambda c: c.get("/nothing", headers=AS_ANA), 404),
        (lambda c: c.get("/open", headers=AS_ANA), 200),
        (lambda c: c.post("/items", headers={**AS_ANA, "content-type": "application/json"}, content=b"{"), 422),
        (lambda c: c.get("/items"), 200),
    ],
)
def test_what_keeps_the_unit_of_the_address(request_of: Any, expected: int) -> None:
    """A 401, a 404, a route that decides nothing, malformed JSON, and who is not known."""
    client = made()
    assert request_of(client).status_code == expected
    assert used_of(client, AT_THE_DOOR) == {"address": 1}
    assert used_of(client, ANA) == {"requests": 0, "failed": 0, "tokens": 0}


def test_what_the_endpoint_refuses() -> None:
    """Its own 422 is the caller's request, not the address's."""
    client = made()
    assert client.post("/items", headers=AS_ANA, json={}).status_code == 422
    assert used_of(client, AT_THE_DOOR) == {"address": 0}
    assert used_of(client, ANA)["requests"] == 1


def test_guesses() -> None:
    """Of many in parallel no more than an address may have get to the authentication."""
    reached: list[int] = []

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(1)
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def test() -> None:
        text = TEXT.replace("concurrency = 3", "concurrency = 300")
        limited = limiter(handle, text=text)
        seen = await asyncio.gather(*[ask(limited, api_key=None) for _ in range(100)])
        assert Counter(map(status, seen)) == {401: 5, 429: 95}
        assert len(reached) == 5

    run(test())


def limiter(app: Any, store: Any = None, text: str = TEXT) -> RateLimitMiddleware:
    store = store or MemoryStore(clock=lambda: T)
    return RateLimitMiddleware(app, parse_policy(text, "deferred"), store=store, identify=deferred())


def answering(decides: Any) -> Any:
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await decides(scope["ratelimit.control"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return handle


def test_without_fastapi() -> None:
    """Any ASGI app says it to the control of its request; what was charged by hand before stays the address's."""

    async def decides(control: Control) -> None:
        assert control.identity == ADDRESS
        await control.charge(1, limit="address")
        await control.decide(None)
        assert control.left() == {"address": 3, "guests": 2}
        await control.decide(ANA)
        await control.decide(Identity(user="ben", tier="basic"))  # it is decided once
        assert control.identity == ANA._replace(ip="192.0.2.7")
        assert control.left() == {"requests": 19, "failed": 9, "tokens": 100, "at once": 1}
        await control.charge(1, limit="requests")
        await control.refund()

    async def test() -> None:
        limited = limiter(answering(decides))
        start, _ = await ask(limited, api_key=None)
        assert start["status"] == 200
        assert header(start, "x-ratelimit-remaining") == "19"
        await _turns()
        assert await used(limited, "address") == {"address": 1}
        assert await used(limited, "requests", "failed", identity=ANA) == {"requests": 1, "failed": 0}

    run(test())


def test_security() -> None:
    """`Security(…)` with scopes is taken as it is."""
    api = FastAPI()

    @api.get("/items")
    async def items(charged: Read) -> Any:
        return {"left": charged.left(), "user": charged.identity.user}

    api.add_middleware(
        RateLimitMiddleware, parse_policy(TEXT, "x"), store=MemoryStore(clock=lambda: T), identify=deferred()
    )
    answer = TestClient(api).get("/items").json()
    assert (answer["left"]["requests"], answer["user"]) == (19, "read")


def test_known_callers_in_parallel() -> None:
    """What they take at the door may go back in a moment: who finds nothing there is told to come back in a second, and
    who guesses is told the whole wait."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        await decide_or_not(scope["ratelimit.control"])
        await _ok(send)

    async def none(control: Control) -> None: ...

    async def test() -> None:
        nonlocal decide_or_not
        limited = limiter(handle, text=TEXT.replace("concurrency = 3", "concurrency = 300"))
        for _ in range(3):
            seen = await asyncio.gather(*[ask(limited, api_key=None) for _ in range(8)])
            assert Counter(map(status, seen)) == {200: 5, 429: 3}
            assert {header(start, "retry-after") for start, _ in seen if start["status"] == 429} == {"1"}
            await _turns()
        decide_or_not = none
        await asyncio.gather(*[ask(limited, api_key=None) for _ in range(5)])
        start, _ = await ask(limited, api_key=None)
        assert (start["status"], header(start, "retry-after")) == (429, "61")
        assert limited._account.pending._of == {}

    async def decide_or_not(control: Control) -> None:
        await control.decide(ANA)

    run(test())


@pytest.mark.parametrize("text", [TEXT, TEXT.replace('  { name = "at once", concurrency = 2 },\n', "")])
def test_a_task_that_decides_too_late(text: str) -> None:
    """A slot that is given when the request has ended goes back at once, and nothing is pending."""
    asked: list[asyncio.Task[None]] = []

    class Slow(Away):
        go_on = asyncio.Event()

        async def acquire(self, charges: Any) -> Decision:
            if any("user=" in charge.key for charge in charges):
                await self.go_on.wait()
            return await super().acquire(charges)

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(asyncio.create_task(scope["ratelimit.control"].decide(ANA)))
        await _turns()
        await _ok(send)

    async def test() -> None:
        store = Slow(lambda: T)
        limited = limiter(handle, store, text)
        assert status(await ask(limited, api_key=None)) == 200
        store.go_on.set()
        await asked[0]
        await _turns()
        assert limited._account.pending._of == {}
        assert not any(one._due for one in limited._leases._held.values())
        charges = limited.policy.charges(ANA, "search")
        states = {state.limit.name: state.used for state in (await store.acquire(charges)).states}
        assert states.get("at once", 1) == 1

    run(test())


def test_a_dependency_that_is_made_here() -> None:
    """`decide` takes a dependency, or what `Security(…)` makes of one."""
    assert asyncio.iscoroutinefunction(decide(current_identity))
    assert asyncio.iscoroutinefunction(decide(Security(current_identity)))


def test_exempt() -> None:
    """It stays so, whoever asks."""
    client = made()
    assert client.get("/health", headers=AS_ANA).json() == {}
    assert used_of(client, ANA)["requests"] == 0


def who_of(client: TestClient) -> None:
    @client.app.get("/who")  # type: ignore[attr-defined]
    async def who(charged: Charged) -> str:
        await charged.decide(Identity(user="ben"))
        return f"{charged.identity.user} {charged.identity.ip} {charged.identity.tier}"


def test_exempt_and_known() -> None:
    """An endpoint asks its control who is calling: that is known also where no limit applies."""
    client = made(text=TEXT.replace('"GET /health"', '"GET /health", "GET /who"'))
    who_of(client)
    assert client.get("/who", headers=AS_ANA).json() == "ana None basic"


def test_switched_off_and_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What switches the limiter off changes nothing else in an app."""
    for mode in ("enforce", "shadow", "off"):
        monkeypatch.setenv("RATELIMIT_MODE", mode)
        client = made()
        who_of(client)
        assert client.get("/who", headers=AS_ANA).json() == "ana testclient basic"
        assert client.get("/items").json()["user"] is None


def test_what_is_no_identity() -> None:
    """It is said what it is."""
    with pytest.raises(
        TypeError, match=r"^decide needs an Identity, or None for who is not known; this is builtins.str$"
    ):
        made().get("/items", headers={"X-Key": "odd"})


def test_a_limiter_that_asks_at_the_door() -> None:
    """To decide is an error there, which says how to make the limiter."""

    async def decides(control: Control) -> None:
        with pytest.raises(RuntimeError, match=r"^decide: this limiter asks who is calling at the door; make it with"):
            await control.decide(ANA)

    async def test() -> None:
        limited = RateLimitMiddleware(answering(decides), parse_policy(TEXT, "x"), store=MemoryStore(clock=lambda: T))
        assert status(await ask(limited, api_key=None)) == 200

    run(test())


def test_after_the_request() -> None:
    """There is nothing to decide any more."""
    kept: list[Control] = []

    async def decides(control: Control) -> None:
        kept.append(control)

    async def test() -> None:
        await ask(limiter(answering(decides)), api_key=None)
        with pytest.raises(RuntimeError, match=r"^decide: the request has ended"):
            await kept[0].decide(ANA)

    run(test())


def test_slots() -> None:
    """The address has its slot back when the caller has its own, which is held until the work is done."""
    held: list[int] = []
    go_on = asyncio.Event()

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        control: Control = scope["ratelimit.control"]
        await control.decide(ANA)
        held.append(1)
        await go_on.wait()
        await _ok(send)

    async def test() -> None:
        text = TEXT.replace('"5/minute"', '"500/minute"').replace("concurrency = 3", "concurrency = 1")
        limited = limiter(handle, text=text)
        tasks = []
        for _ in range(3):
            tasks.append(asyncio.create_task(ask(limited, api_key=None)))
            for _ in range(10):
                await asyncio.sleep(0)
        assert status(await tasks[2]) == 429
        assert len(held) == 2
        go_on.set()
        assert [status(await task) for task in tasks[:2]] == [200, 200]
        assert status(await ask(limited, api_key=None)) == 200
        assert not any(one._due or one._timer for one in limited._leases._held.values())

    run(test())


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _ok(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("end", ["", "close", "drop"])
def test_broken_off(end: str) -> None:
    """A call that is cancelled or closed while its caller holds a slot gives it back."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await scope["ratelimit.control"].decide(ANA)
        await asyncio.Event().wait()

    async def called(limited: RateLimitMiddleware) -> None:
        await driven(limited(scope_of(api_key=None), _nothing, _hears), end)

    async def test() -> None:
        limited = limiter(handle)
        task = asyncio.create_task(called(limited))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        for _ in range(3):
            await asyncio.sleep(0)
        assert not any(one._due or one._timer for one in limited._leases._held.values())
        assert limited._account.pending._of == {}
        charges = limited.policy.charges(ANA, "search")
        store: Any = limited.store
        assert {s.limit.name: s.used for s in (await store.acquire(charges)).states}["at once"] == 1

    run(test())


async def _nothing() -> Message:
    return {"type": "http.request"}


async def _hears(message: Message) -> None:
    """It is sent."""


def test_a_caller_who_has_hung_up_by_then() -> None:
    """Its slot is not held for ever: it is as one whose caller hung up at once."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await scope["ratelimit.control"].decide(ANA)
        assert any(one._orphans for one in limited[0]._leases._held.values())

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    limited: list[RateLimitMiddleware] = []

    async def test() -> None:
        limited.append(limiter(handle))
        await limited[0](scope_of(api_key=None), gone, _hears)

    run(test())


def test_by_status() -> None:
    """What counts by the status goes by that of the response, of the caller's own limits."""
    client = made()
    assert client.get("/conflict", headers=AS_ANA).headers["x-ratelimit-remaining"] == "9"
    assert client.get("/items", headers=AS_ANA).status_code == 200
    assert used_of(client, ANA) == {"requests": 2, "failed": 1, "tokens": 0}


def test_a_hold() -> None:
    """It is of the caller's own limits, and what does not fit is told with its headers."""
    client = made()
    assert client.post("/tokens/60", headers=AS_ANA).status_code == 200
    answer = client.post("/tokens/60", headers=AS_ANA)
    assert (answer.status_code, answer.headers["x-ratelimit-limit"]) == (429, "100")


@pytest.mark.parametrize(("on_failure", "expected"), [("allow", 200), ("deny", 503), ("local", 200)])
def test_without_the_store(on_failure: str, expected: int) -> None:
    """on_failure decides this decision too."""

    class Fails(Away):
        async def acquire(self, charges: Any) -> Decision:
            self.away = {"acquire"} if any("user=ana" in charge.key for charge in charges) else set()
            return await super().acquire(charges)

    client = made(Fails(lambda: T), f'{TEXT}\n[store]\non_failure = "{on_failure}"')
    assert client.get("/open").status_code == 200
    answer = client.get("/items", headers=AS_ANA)
    assert answer.status_code == expected
    if on_failure == "local":
        assert answer.json()["left"] == {"requests": 19, "failed": 9, "tokens": 100, "at once": 1}
    assert client.get("/items", headers={"X-Key": "ben"}).status_code == 200


def test_without_the_store_at_all() -> None:
    """Let through twice, and nothing goes back of what nobody counted."""
    store = Away(lambda: T)
    store.away = {"acquire"}
    assert made(store).get("/items", headers=AS_ANA).json() == {"left": {}, "user": "ana"}
    assert store.asked == ["acquire"] * 2


def test_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A denial is told with the caller, and what a limit in shadow would deny as well."""
    caplog.set_level(logging.INFO, "ratelimit")
    client = made(text=TEXT.replace('rate = "20/minute"', 'rate = "1/minute"'))
    for _ in range(2):
        client.get("/items", headers=AS_ANA)
    shadow = TEXT.replace('rate = "20/minute"', 'rate = "1/minute", mode = "shadow"')
    client = made(text=shadow)
    for _ in range(2):
        assert client.get("/items", headers=AS_ANA).status_code == 200
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(" log_id=")[0] for line in lines if "operation" in line] == [
        "denied operation=search limit=requests wait=61.000s",
        "would deny operation=search limit=requests wait=61.000s",
    ]
    assert all("caller=user=ana" in line for line in lines if "operation" in line)


def test_the_rest_is_the_callers() -> None:
    """A tier that the Identity leaves open is the default one, and its address is that of the request."""

    async def decides(control: Control) -> None:
        await control.decide(Identity(user="ben"))
        assert (control.identity.tier, control.identity.ip) == ("basic", "192.0.2.7")

    async def test() -> None:
        limited = limiter(answering(decides), text=f'{TEXT}\n[identity]\ndefault_tier = "basic"')
        assert status(await ask(limited, api_key=None)) == 200

    run(test())


def test_within_another_policy() -> None:
    """It is decided with counters of its own, where the outer policy has such limits."""

    async def decides(control: Control) -> None:
        await control.decide(ANA)
        keys = {state.limit.name: state.charge.key for state in control.decision.states}
        assert keys["requests"].endswith("@2")

    async def test() -> None:
        store = MemoryStore(clock=lambda: T)
        inner = RateLimitMiddleware(answering(decides), parse_policy(TEXT, "inner"), store=store, identify=deferred())
        outer = RateLimitMiddleware(inner, parse_policy(TEXT, "outer"), store=store)
        assert status(await ask(outer, api_key=None)) == 200

    run(test())


TWICE = """
[tiers.anonymous]
limits = [{ name = "address", rate = "2/minute" }]
[tiers.basic]
limits = [{ name = "requests", rate = "%d/minute" }]
"""


@pytest.mark.parametrize(("maxes", "limit"), [((9, 4), "in"), ((4, 9), "out"), ((4, 4), "out")])
@pytest.mark.parametrize("between", [False, True])
def test_two_that_are_told(maxes: tuple[int, int], limit: str, *, between: bool) -> None:
    """Who is recognised is so by the policies around as well, and leaves no unit with its address at any of them."""
    stores = MemoryStore(clock=lambda: T), MemoryStore(clock=lambda: T)
    app = FastAPI()

    @app.get("/items")
    async def items(charged: Charged) -> dict[str, int]:
        return charged.left()

    inner: Any = RateLimitMiddleware(app, parse_policy(TWICE % maxes[1], "in"), store=stores[1], identify=deferred())
    if between:
        inner = RateLimitMiddleware(inner, parse_policy(TWICE.replace("2/", "20/") % 20, "between"))
    outer = parse_policy(TWICE % maxes[0], "out")
    client = TestClient(RateLimitMiddleware(inner, outer, store=stores[0], identify=deferred()))
    assert [client.get("/items", headers=AS_ANA).status_code for _ in range(5)] == [200] * 4 + [429]
    assert client.get("/items").json() == {"address": 1}

    async def used_at(store: MemoryStore) -> list[int]:
        found = []
        for who, name in ((Identity(ip="testclient", tier="anonymous"), "address"), (ANA, "requests")):
            found.append((await store.peek(outer.named(who, (name,)), 0)).states[0].used)
        return found

    assert [asyncio.run(used_at(store)) for store in stores] == [[1, 5 if limit == "in" else 4], [1, 4]]


def test_the_tighter_one_is_told_by_who_calls() -> None:
    """Within another policy: not by the address at the door, which has more room than the policy around."""

    async def decides(control: Control) -> None:
        await control.decide(ANA)

    async def test() -> None:
        text = TWICE.replace("2/minute", "2000/minute") % 1
        inner = RateLimitMiddleware(answering(decides), parse_policy(text, "in"), identify=deferred())
        outer = RateLimitMiddleware(inner, parse_policy(TWICE.replace("2/minute", "1000/minute") % 9, "out"))
        start, _ = await ask(outer, api_key=None)
        assert dict(start["headers"])[b"ratelimit"].startswith(b'"requests";r=0;')

    run(test())


def test_no_garbage() -> None:
    """When it has ended nothing of it is left for the garbage collector."""

    async def decides(control: Control) -> None:
        await control.decide(ANA)

    async def test() -> None:
        limited = limiter(answering(decides))
        await ask(limited, api_key=None)
        gc.collect()
        gc.disable()
        try:
            await ask(limited, api_key=None)
            await _turns()
            found = [one for one in gc.get_objects() if isinstance(one, Control)]
        finally:
            gc.enable()
        assert found == []

    run(test())
