"""A connection of a WebSocket has a control as a request has: from its handshake until it ends."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse

from ratelimit import Control, Identity, MemoryStore, RateLimitMiddleware, parse_policy
from ratelimit.fastapi import RateLimit, decide, deferred
from ratelimit.model import Receive, Scope, Send
from tests.acceptance import T
from tests.control import ADDRESS, TEXT, limiter, run, used
from tests.websockets import ACCEPT, connect, settled

ANA = Identity(user="ana", tier="basic")
WHO = f"{TEXT}\n[tiers.basic]\nlimits = [{{ name = 'requests', rate = '9/minute' }}]"


async def current_identity(websocket: WebSocket) -> Identity:
    return ANA


Charged = Annotated[Control, Depends(decide(current_identity))]


def made(text: str = TEXT, **rest: Any) -> TestClient:
    api = FastAPI()

    @api.websocket("/feed/{units}")
    async def feed(websocket: WebSocket, units: int, rate_limit: RateLimit) -> None:
        async with rate_limit.hold(units, limit="tokens") as held:
            await websocket.accept()
            async for said in websocket.iter_text():
                held.settle(len(said))
                await websocket.send_json(rate_limit.left())

    @api.websocket("/late/{units}")
    async def late(websocket: WebSocket, units: int, rate_limit: RateLimit) -> None:
        await websocket.accept()
        async with rate_limit.hold(units, limit="tokens") as held:
            await websocket.send_json([held.allowed, held.retry_after])

    @api.websocket("/who")
    async def who(websocket: WebSocket, charged: Charged) -> None:
        await websocket.accept()
        await websocket.send_json(charged.left())

    store = MemoryStore(clock=lambda: T)
    api.add_middleware(RateLimitMiddleware, policy=parse_policy(text, "websockets"), store=store, **rest)
    return TestClient(api)


def test_held_for_a_connection() -> None:
    """What it settled last is used when it ends, and the rest is free."""
    client = made()
    with client.websocket_connect("/feed/900") as websocket:
        for said in ("abc", "abcde"):
            websocket.send_text(said)
            assert websocket.receive_json()["tokens"] == 100
    with client.websocket_connect("/feed/995") as websocket:
        websocket.send_text("abc")
        assert websocket.receive_json()["tokens"] == 0


def test_denied_before_it_is_accepted() -> None:
    """The handshake is answered by the style's whole 429."""
    client = made()
    with client.websocket_connect("/feed/900"), pytest.raises(WebSocketDenialResponse) as denied:
        client.websocket_connect("/feed/101").__enter__()
    assert denied.value.status_code == 429
    assert denied.value.headers["retry-after"] == "61"
    assert denied.value.json()["errors"][0]["code"] == "RATE_LIMIT_EXCEEDED"


def test_once_it_is_accepted() -> None:
    """It is told what does not fit, and nothing is raised."""
    with made().websocket_connect("/late/1001") as websocket:
        assert websocket.receive_json() == [False, None]


def test_an_app_that_leaves_a_hold_open() -> None:
    """It is settled when the connection ends."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        held = scope["ratelimit.control"].hold(400, limit="tokens")
        await held.__aenter__()
        held.settle(30)

    async def test() -> None:
        limited = limiter(handle)
        await connect(limited, api_key=None)
        await settled()
        assert (await used(limited, "tokens", identity=ADDRESS))["tokens"] == 30

    run(test())


def test_recognised_by_the_app() -> None:
    """The handshake is decided for who it is, and its address has its unit back."""
    client = made(WHO, identify=deferred())
    for left in (8, 7):
        with client.websocket_connect("/who") as websocket:
            assert websocket.receive_json() == {"requests": left}
