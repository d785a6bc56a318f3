"""The handshake of a WebSocket is a request like any other: decided, denied, told and logged as one."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from ratelimit import Decision, RateLimitMiddleware, StoreUnavailable
from ratelimit.model import Message, Scope
from ratelimit.stores.memory import MemoryStore
from ratelimit.websockets.handshake import handshake, spoken_to
from tests.acceptance import ANA, BEN, T, ask, header, limited, plain, policy
from tests.websockets import ACCEPT, CONNECT, GONE, Connection, connect, echo, run, scope_of_a_handshake, text

ONE = '{ name = "requests", rate = "1/minute" }'
COUNTED = '{ name = "counted", rate = "1/minute", operations = ["counted"] }'


class Down(MemoryStore):
    """Out of reach while it is told to be."""

    down = True

    async def acquire(self, charges: Any) -> Decision:
        if self.down:
            raise StoreUnavailable("it is down")
        return await super().acquire(charges)


def test_an_allowed_handshake() -> None:
    """The app has the server's messages and the server the app's, with the style's headers on its accept."""
    seen: list[Message] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert scope["ratelimit"].states[0].remaining == 2
        assert scope["ratelimit.identity"].user == "ana"
        seen.append(await receive())
        await send({"type": "websocket.accept", "subprotocol": "chat", "headers": iter([(b"x-own", b"1")])})
        seen.extend([await receive(), await receive()])
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close", "code": 4000, "reason": "done"})

    hello = {"type": "websocket.receive", "text": "hello", "bytes": None}
    connection = run(connect(limited(app), hello))
    assert seen == [CONNECT, hello, GONE]
    accept, *rest = connection.sent
    assert rest == [
        {"type": "websocket.send", "text": "hello"},
        {"type": "websocket.close", "code": 4000, "reason": "done"},
    ]
    assert {**accept, "headers": ...} == {"type": "websocket.accept", "subprotocol": "chat", "headers": ...}
    assert header(accept, "x-own") == "1"
    assert header(accept, "x-ratelimit-remaining") == "2"


def test_headers_of_the_app_are_kept() -> None:
    """A family that the app tells itself is the app's, as on a response; without headers of ours none is added."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "headers": [(b"X-RateLimit-Limit", b"mine")]})

    async def test() -> None:
        (accept,) = (await connect(limited(app))).sent
        assert accept["headers"] == [(b"X-RateLimit-Limit", b"mine")]
        cap = '{ name = "in flight", concurrency = 5 }'
        assert (await connect(limited(echo, cap))).sent == [{**ACCEPT, "headers": []}]

    run(test())


def test_a_denied_handshake() -> None:
    """The whole answer of the style, as to a request, where the server takes one; the app is not called, and the
    connection is received before anything is sent."""

    async def test() -> None:
        limiter = limited(echo, ONE)
        assert (await connect(limiter)).kinds == ["accept"]
        connection = await connect(limiter)
        start, body = connection.sent
        request_start, request_body = await ask(limiter)
        assert connection.received == 1
        assert start == {**request_start, "type": "websocket.http.response.start"}
        assert body == {**request_body, "type": "websocket.http.response.body"}
        assert (start["status"], header(start, "retry-after")) == (429, "61")
        assert (await connect(limiter, api_key=BEN)).kinds == ["accept"]

    run(test())


def test_a_denied_handshake_without_the_extension() -> None:
    """Else the connection is closed before it was accepted, of which the server makes a 403: nothing is told."""

    async def test() -> None:
        limiter = limited(echo, ONE)
        await connect(limiter, answers=False)
        connection = await connect(limiter, answers=False)
        assert connection.received == 1
        assert connection.sent == [{"type": "websocket.close"}]
        scope = {**scope_of_a_handshake(answers=False), "extensions": None}
        assert (await connect(limiter, scope=scope)).sent == [{"type": "websocket.close"}]

    run(test())


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        ("WEBSOCKET /feed", True),
        ("WEBSOCKET /FEED/**", True),
        ("* /feed", True),
        ("GET /feed", False),
        ("OPTIONS /feed", False),
    ],
)
def test_rules(rule: str, taken: bool) -> None:
    """Rules of the method WEBSOCKET take a handshake, and those of any method; a rule of another does not."""

    async def test() -> None:
        limiter = limited(echo, COUNTED, more=f'[operations]\ncounted = ["{rule}"]')
        kinds = [(await connect(limiter)).kinds[0] for _ in range(2)]
        assert kinds == ["accept", "http.response.start" if taken else "accept"]

    run(test())


def test_what_no_rule_takes_is_connect() -> None:
    """The operation of other handshakes is `connect`, whatever their path."""
    limits = '{ name = "connections", rate = "2/minute", operations = ["connect"] }'

    async def test() -> None:
        limiter = limited(echo, limits)
        kinds = [(await connect(limiter, path=path)).kinds[0] for path in ("/feed", "/rooms/17", "/")]
        assert kinds == ["accept", "accept", "http.response.start"]

    run(test())


def test_a_request_of_that_method_is_none() -> None:
    """A request of HTTP whose method is the word WEBSOCKET is no handshake: no rule for those exempts it."""

    async def test() -> None:
        limiter = limited(plain, ONE, more='[operations]\nexempt = ["WEBSOCKET /items/7"]')
        statuses = [(await ask(limiter, method=method))[0]["status"] for method in ("WEBSOCKET", "websocket")]
        assert statuses == [200, 429]

    run(test())


def test_exempt() -> None:
    """An exempt handshake passes as it came: nobody is asked who calls, nothing is charged or told."""

    def identify(scope: Scope) -> None:
        raise AssertionError("nobody is asked who calls an exempt path")

    async def test() -> None:
        limiter = limited(echo, more='[operations]\nexempt = ["WEBSOCKET /feed"]', identify=identify)
        scope = scope_of_a_handshake()
        connection = await connect(limiter, text("hello"), scope=scope)
        assert connection.kinds == ["accept", "send"]
        assert connection.sent[0] == {**ACCEPT, "headers": []}
        assert "ratelimit" not in scope

    run(test())


def test_keys_of_two_callers() -> None:
    """A handshake with known keys of two callers is answered 400, as a request is, and charged to neither."""

    async def test() -> None:
        limiter = limited(echo, ONE)
        start, _ = (await connect(limiter, x_api_key=BEN)).sent
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 400)
        assert (await connect(limiter, x_api_key=BEN, answers=False)).sent == [{"type": "websocket.close"}]
        for api_key in (ANA, BEN):
            assert (await connect(limiter, api_key=api_key)).kinds == ["accept"]

    run(test())


@pytest.mark.parametrize(
    ("on_failure", "kinds", "status"),
    [
        ("allow", ["accept", "accept"], None),
        ("deny", ["http.response.start", "http.response.start"], 503),
        ("local", ["accept", "http.response.start"], 429),
    ],
)
def test_without_the_store(on_failure: str, kinds: list[str], status: int | None) -> None:
    """While the store is out of reach `on_failure` decides on handshakes too."""

    async def test() -> None:
        made = policy(ONE, f'[store]\non_failure = "{on_failure}"')
        limiter = RateLimitMiddleware(echo, made, store=Down())
        connections = [await connect(limiter) for _ in range(2)]
        assert [connection.kinds[0] for connection in connections] == kinds
        assert connections[1].sent[0].get("status") == status

    run(test())


def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A denied handshake has a line in the log, as a request has, and so has one that a limit in shadow would deny."""
    caplog.set_level(logging.INFO, "ratelimit")
    shadow = '{ name = "shadow", rate = "1/minute", mode = "shadow" }'

    async def test() -> None:
        for limits in (ONE, shadow):
            limiter = limited(echo, limits)
            for _ in range(2):
                await connect(limiter)

    run(test())
    lines = [record.getMessage().partition(" wait=")[0] for record in caplog.records]
    assert lines == [
        "denied operation=connect limit=requests",
        "would deny operation=connect limit=shadow",
    ]


@pytest.mark.parametrize("answers", [True, False])
def test_an_app_that_rejects(answers: bool) -> None:
    """An app that closes before it accepts has said so as it said it, and its unit is spent as that of a 403 is."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "code": 4003, "reason": "no"})

    async def test() -> None:
        limiter = limited(app)
        scope = scope_of_a_handshake(answers=answers)
        connection = await connect(limiter, scope=scope)
        assert connection.sent == [{"type": "websocket.close", "code": 4003, "reason": "no"}]
        assert scope["ratelimit"].states[0].remaining == 2

    run(test())


def test_an_app_that_answers() -> None:
    """An app's own answer to a handshake carries the style's headers, as its accept would; streamed it is streamed."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 401})
        await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"are you?"})

    start, *bodies = run(connect(limited(app))).sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert header(start, "x-ratelimit-remaining") == "2"
    assert bodies == [
        {"type": "websocket.http.response.body", "body": b"who ", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"are you?"},
    ]


def test_an_app_that_raises() -> None:
    """An exception passes through unchanged, before the accept and after it, and leaves no slot behind."""

    def raising(*messages: Message) -> Any:
        async def app(scope: Scope, receive: Any, send: Any) -> None:
            for message in messages:
                await send(message)
            raise RuntimeError("the app's own")

        return app

    async def test() -> None:
        for messages in ([], [ACCEPT], [ACCEPT, {"type": "websocket.close"}]):
            limiter = limited(raising(*messages), '{ name = "cap", concurrency = 1 }')
            for _ in range(2):
                with pytest.raises(RuntimeError, match="the app's own"):
                    await connect(limiter)

    run(test())


def test_a_style_with_the_scope() -> None:
    """A style that asks for the scope has that of the handshake."""

    class Style:
        log_id_header = None

        def headers(self, decision: Any, identity: Any, log_id: str, scope: Scope) -> Any:
            return [(b"x-kind", scope["type"].encode())]

    (accept,) = run(connect(limited(echo, style=Style()))).sent
    assert header(accept, "x-kind") == "websocket"


def test_two_policies() -> None:
    """A policy within another counts by itself; the tighter one is told, on an accept and on a denial."""

    async def test() -> None:
        inner = limited(echo, '{ name = "inner", rate = "2/minute" }')
        outer = RateLimitMiddleware(
            inner, policy('{ name = "outer", rate = "9/minute" }', "# another"), store="memory://"
        )
        for left in ("1", "0"):
            (accept,) = (await connect(outer)).sent
            assert header(accept, "x-ratelimit-limit") == "2"
            assert header(accept, "x-ratelimit-remaining") == left
        connection = await connect(outer)
        assert connection.kinds == ["http.response.start", "http.response.body"]
        assert connection.received == 1
        assert header(connection.sent[0], "x-ratelimit-limit") == "2"
        assert (await connect(outer, answers=False)).sent == [{"type": "websocket.close"}]

    run(test())


def test_the_same_policy_twice() -> None:
    """Mounted twice a policy limits a handshake once, and only the outer one tells."""

    async def test() -> None:
        made, store = policy(), MemoryStore(clock=lambda: T)
        app = RateLimitMiddleware(RateLimitMiddleware(echo, made, store=store), made, store=store)
        (accept,) = (await connect(app)).sent
        assert header(accept, "x-ratelimit-remaining") == "2"

    run(test())


def test_a_mounted_app() -> None:
    """Rules see the path of the client, also where the limiter is around what is mounted."""

    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    async def test() -> None:
        routes = [WebSocketRoute("/live", live)]
        inner = limited(Starlette(routes=routes), COUNTED, more='[operations]\ncounted = ["WEBSOCKET /api/live"]')
        app = Starlette(routes=[Mount("/api", app=inner)])
        kinds = [(await connect(app, path="/api/live")).kinds[0] for _ in range(2)]
        assert kinds == ["accept", "http.response.start"]

    run(test())


def test_the_test_client() -> None:
    """Starlette's TestClient has a denied handshake as a response with the status and the headers."""

    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    app = Starlette(routes=[WebSocketRoute("/feed", live)])
    app.add_middleware(RateLimitMiddleware, policy=policy(anonymous="1/minute"), store=MemoryStore(clock=lambda: T))
    client = TestClient(app)
    with client.websocket_connect("/feed"):
        pass
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/feed"):
        pass
    assert (denied.value.status_code, denied.value.headers["retry-after"]) == (429, "61")


def test_an_answer_when_the_app_was_called() -> None:
    """What answers a handshake that was received already does not wait for it once more."""

    async def limiter(scope: Scope, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        await plain(scope, receive, send)

    async def test() -> None:
        connection = Connection(stays=True)
        await handshake(limiter, scope_of_a_handshake(), connection.receive, connection.send)
        assert connection.kinds == ["http.response.start", "http.response.body"]

    run(test())


def test_an_answer_in_parts() -> None:
    """One that the limiter streams goes out part by part, and waits for the handshake once."""

    async def limiter(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 429, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    async def test() -> None:
        connection = Connection(text("a"), stays=True)
        await handshake(limiter, scope_of_a_handshake(), connection.receive, connection.send)
        assert connection.kinds == ["http.response.start", "http.response.body", "http.response.body"]
        assert connection.received == 1

    run(test())


def test_one_response() -> None:
    """To the limiter a connection is one response: it starts with the accept, or with the 403 of an app that closes."""
    seen: list[tuple[str, Any]] = []

    async def send(message: Message) -> None:
        seen.append((message["type"], message.get("status")))

    async def test() -> None:
        for messages in ([ACCEPT, {"type": "websocket.close"}], [{"type": "websocket.close"}]):

            async def app(scope: Scope, receive: Any, send: Any, messages: list[Message] = messages) -> None:
                for message in messages:
                    await send(message)

            seen.clear()
            await spoken_to(app, lambda *_: None)(scope_of_a_handshake(), Connection().receive, send)
            status = 101 if messages[1:] else 403
            assert seen == [("http.response.start", status), ("http.response.body", None)]

    run(test())


def test_an_answer_goes_out_at_once() -> None:
    """Between the start of an answer and its body nobody has a turn, be it that a slot is given back in between: a
    server may take what comes later for no part of it."""
    sent: list[str] = []

    class Slow(MemoryStore):
        async def release(self, leases: Any) -> None:
            await asyncio.sleep(0)
            sent.append("given back")
            await super().release(leases)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 401})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    async def test() -> None:
        limiter = RateLimitMiddleware(app, policy('{ name = "cap", concurrency = 1 }'), store=Slow())
        connection = Connection()

        async def send(message: Message) -> None:
            sent.append(message["type"])

        await limiter(scope_of_a_handshake(), connection.receive, send)

    run(test())
    assert sent == ["given back", "websocket.http.response.start", "websocket.http.response.body"]


def test_cors_is_not_for_handshakes(caplog: pytest.LogCaptureFixture) -> None:
    """A CORSMiddleware inside is nothing to warn of at a handshake from elsewhere: no browser asks it for one."""

    async def test() -> None:
        limiter = limited(CORSMiddleware(echo), ONE)
        for _ in range(2):
            await connect(limiter, origin="https://a.example")
        assert "CORSMiddleware" not in caplog.text
        for _ in range(2):
            await ask(limiter, origin="https://a.example")
        assert "CORSMiddleware" in caplog.text

    run(test())


def test_a_handshake_that_is_cancelled() -> None:
    """Cancelled while it is answered a denial leaves nothing behind and nothing charged."""

    async def test() -> None:
        limiter = limited(echo, '{ name = "requests", rate = "0/minute" }')
        connection = Connection(stays=True)
        connection.incoming.clear()
        call = asyncio.create_task(limiter(scope_of_a_handshake(), connection.receive, connection.send))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert connection.sent == []

    run(test())


def test_others_pass() -> None:
    """What is neither HTTP nor a WebSocket goes to the app as it came, be the app one that is false."""
    seen = []

    class App:
        async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
            seen.append((scope, receive, send))

        def __len__(self) -> int:
            return 0

    async def test() -> None:
        scope, receive, send = {"type": "something.else"}, object(), object()
        await limited(App())(scope, receive, send)
        assert seen == [({"type": "something.else"}, receive, send)]

    run(test())
