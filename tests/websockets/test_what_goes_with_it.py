"""What goes with a request goes with a handshake: control, outcomes, an identity known later, waiting, the switch."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse

from ratelimit import Identity, RateLimitMiddleware, as_operation, operation, parse_policy
from ratelimit.control.deferred import deferred
from ratelimit.fastapi import RateLimit, limit
from ratelimit.model import Message, Scope
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import BEN, T, policy
from tests.clocked import Clocked
from tests.websockets import ACCEPT, GONE, Connection, connect, echo, run, scope_of_a_handshake, text

TOKENS = '{ name = "tokens", rate = "9/minute", operations = ["none"], hold = true }'
NONE = "[operations]\nnone = []"
MESSAGES = '[websocket]\nmessages = "message"'


def limited(app: Any, limits: str, more: str = "", **keywords: Any) -> RateLimitMiddleware:
    return RateLimitMiddleware(app, policy(limits, more), store=MemoryStore(clock=lambda: T), **keywords)


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("catches", [True, False])
def test_denied_from_inside(answers: bool, catches: bool) -> None:
    """A hold that does not fit before the accept is the style's whole answer, whatever the app makes of it."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        try:
            async with scope["ratelimit.control"].hold(10, limit="tokens"):
                pytest.fail("it does not fit")
        except Exception:
            if not catches:
                raise
            await send({"type": "websocket.close", "code": 4000})

    connection = run(connect(limited(app, TOKENS, NONE), answers=answers))
    if answers:
        assert connection.kinds == ["http.response.start", "http.response.body"]
        assert connection.sent[0]["status"] == 403  # it can never pass
        assert {*connection.sent[0]} == {"type", "status", "headers"}
    else:
        assert connection.sent == [{"type": "websocket.close"}]


def test_a_hold_on_a_connection() -> None:
    """Once it is accepted a hold says that it does not fit, and raises nothing; what was held is settled at its end."""
    left: list[int] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        control = scope["ratelimit.control"]
        await receive()
        await send(ACCEPT)
        async with control.hold(10, limit="tokens") as held:
            assert not held.allowed
        async with control.hold(5, limit="tokens") as held:
            held.settle(2)
        left.append(control.left()["tokens"])

    run(connect(limited(app, TOKENS, NONE)))
    assert left == [7]


def test_the_control_of_fastapi() -> None:
    """The control is injected into an endpoint of a WebSocket, and a denial from inside reaches the client."""
    app = FastAPI()

    @app.websocket("/feed")
    async def feed(websocket: WebSocket, rate_limit: RateLimit) -> None:
        async with rate_limit.hold(6, limit="tokens") as held:
            await websocket.accept()
            held.settle(6)
        await websocket.close()

    anonymous = f"[tiers.anonymous]\nlimits = [ {TOKENS} ]"
    app.add_middleware(
        RateLimitMiddleware, policy=parse_policy(f"{NONE}\n{anonymous}"), store=MemoryStore(clock=lambda: T)
    )
    client = TestClient(app)
    with client.websocket_connect("/feed"):
        pass
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/feed"):
        pass
    assert denied.value.status_code == 429


def test_what_is_said_at_endpoints() -> None:
    """Operations, units and limits that are said at the endpoint of a WebSocket are those of its handshake."""
    app, seen = FastAPI(), []  # type: ignore[var-annotated]
    router = APIRouter(dependencies=[Depends(as_operation("feed"))])

    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        seen.append({state.limit.name: state.used for state in websocket.scope["ratelimit"].states})
        await websocket.close()

    @operation("feed", units=lambda request: int(request.path_params["number"]))
    async def counted(websocket: WebSocket) -> None:
        await live(websocket)

    app.add_api_websocket_route("/units/{number}", counted)
    app.add_api_websocket_route("/limited", live, dependencies=[Depends(limit("1/hour", name="exports"))])
    router.add_api_websocket_route("/feed", live)
    app.include_router(router)
    limits = '{ name = "feeds", rate = "5/minute", operations = ["feed"] }'
    app.add_middleware(
        RateLimitMiddleware,
        policy=policy(limits, "[operations]\nfeed = []"),
        store=MemoryStore(clock=lambda: T),
    )

    async def test() -> None:
        expected = {"/units/2": 101, "/units/x": 400, "/units/4": 429, "/units/9": 403, "/feed": 101, "/limited": 101}
        for path, status in [*expected.items(), ("/limited", 429)]:
            assert (await connect(app, path=path)).sent[0].get("status", 101) == status, path

    run(test())
    assert seen == [{"feeds": 2}, {"feeds": 3}, {"exports": 1}]


def test_outcomes() -> None:
    """What counts by a status goes by that of the handshake: 101 where it is accepted, 403 where the app closes. A
    message has none, and counts in no limit with `charge_on`."""
    logins = '{ name = "logins", rate = "1/minute", charge_on = ["4xx"] }'
    free = '{ name = "opened", rate = "2/minute", refund_on = ["403"] }'
    closes: Message = {"type": "websocket.close"}

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["path"] == "/no":
            await send(closes)
        else:
            await echo(scope, receive, send)

    async def test() -> None:
        limiter = limited(app, f"{logins}, {free}", MESSAGES)
        connection = await connect(limiter, text("a"), text("b"))
        assert connection.kinds == ["accept", "send", "close"]  # one of two was the handshake
        limiter = limited(app, f"{logins}, {free}")
        for path, kind in (("/feed", "accept"), ("/no", "close"), ("/feed", "http.response.start")):
            assert (await connect(limiter, path=path)).kinds[0] == kind, path
        limiter = limited(app, free)
        for path, kind in (("/no", "close"), ("/no", "close"), ("/feed", "accept"), ("/feed", "accept")):
            assert (await connect(limiter, path=path)).kinds[0] == kind, path

    run(test())


def test_an_identity_that_is_known_later() -> None:
    """Whoever says by its first message who it is has that one counted by its address, and the others as its own."""
    got: list[str] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while (message := await receive())["type"] == "websocket.receive":
            got.append(message["text"])
            if message["text"].startswith("I am "):
                identity = Identity(user=message["text"].removeprefix("I am "), tier="basic")
                await scope["ratelimit.control"].decide(identity)

    async def test() -> None:
        limits = '{ name = "messages", rate = "2/minute", operations = ["message"] }'
        made = policy(limits, MESSAGES, anonymous="9/minute")
        limiter = RateLimitMiddleware(app, made, store=MemoryStore(clock=lambda: T), identify=deferred())
        connection = await connect(limiter, text("I am ana"), *map(text, "abc"), api_key=None)
        assert got == ["I am ana", "a", "b"]
        assert connection.sent[-1]["code"] == 1008
        got.clear()
        await connect(limiter, text("I am ben"), *map(text, "ab"), api_key=None)
        assert got == ["I am ben", "a", "b"]

    run(test())


def test_a_handshake_that_waits() -> None:
    """In a tier with `wait` a handshake stands in line as a request does, and is accepted when it is its turn; one
    whose client has gone meanwhile is charged nothing."""
    made = parse_policy(
        '[tiers.anonymous]\nwait = { up_to = "30s", queue = 100 }\n'
        'limits = [ { name = "ip", rate = "1/10 seconds", precision = 10 } ]'
    )
    loop = Clocked()
    began = loop.time()
    at: list[int] = []

    async def one(limiter: RateLimitMiddleware, *incoming: Message) -> Connection:
        connection = Connection(*incoming, stays=not incoming)
        scope = scope_of_a_handshake(api_key=None)
        call = asyncio.ensure_future(limiter(scope, connection.receive, connection.send))
        if not incoming:
            while not connection.sent:  # noqa: ASYNC110 - on a clock that jumps
                await asyncio.sleep(0.1)
            at.append(round(loop.time() - began))
            connection.says(GONE)
        await call
        return connection

    async def test() -> None:
        limiter = RateLimitMiddleware(
            echo, made, store=MemoryStore(clock=lambda: T + int((loop.time() - began) * 1_000))
        )
        first, gone, second, third = await asyncio.gather(*(one(limiter, *more) for more in ((), (GONE,), (), ())))
        assert [connection.kinds for connection in (first, second, third)] == [["accept"]] * 3
        assert "accept" not in gone.kinds
        assert at == [0, 11, 22]

    try:
        loop.run_until_complete(test())
    finally:
        loop.close()


@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_the_switch(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RATELIMIT_MODE holds for handshakes and messages."""
    monkeypatch.setenv("RATELIMIT_MODE", mode)
    limits = '{ name = "all", rate = "1/minute" }, { name = "cap", concurrency = 0 }'

    async def test() -> None:
        limiter = limited(echo, limits, MESSAGES)
        for api_key in (BEN, BEN):
            connection = await connect(limiter, *map(text, "abc"), api_key=api_key)
            assert connection.kinds == ["accept", "send", "send", "send"]

    run(test())
