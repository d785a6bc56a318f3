"""Messages are charged as an operation of the policy; what becomes of one that is too much is the policy's word."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ratelimit import Decision, Identity, Policy, RateLimitMiddleware, RedisStore, StoreUnavailable, parse_policy
from ratelimit.model import Message, Scope
from ratelimit.policy import WebSocketSettings
from ratelimit.stores.memory import MemoryStore
from ratelimit.websockets import messages
from tests import servers
from tests.acceptance import BEN, T, policy
from tests.stores import open_slots
from tests.websockets import (
    ACCEPT,
    GONE,
    Connection,
    connect,
    echo,
    run,
    scope_of_a_handshake,
    settled,
    text,
)

TWO = '{ name = "messages", rate = "2/minute", operations = ["message"] }'
REASON = "rate limit exceeded, retry after 61 s"


class Clock:
    """Of a store, and of waits: who waits moves it."""

    def __init__(self) -> None:
        self.now = T
        self.waits: list[int] = []

    def __call__(self) -> int:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.waits.append(round(seconds * 1_000))
        self.now += self.waits[-1]
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(messages, "pause", made.pause)
    return made


def counting(
    app: Any, on_excess: str, limits: str = TWO, more: str = "", clock: Callable[[], int] = lambda: T, **keywords: Any
) -> RateLimitMiddleware:
    """`app` behind a policy that charges messages as "message"."""
    table = f'{more}\n[websocket]\nmessages = "message"\non_excess = "{on_excess}"'
    return RateLimitMiddleware(app, policy(limits, table), **{"store": MemoryStore(clock=clock), **keywords})


def texts(connection: Connection) -> list[str]:
    return [message["text"] for message in connection.sent if message["type"] == "websocket.send"]


def test_off() -> None:
    """Without a word of the policy messages are not limited, and the app is not told of any."""

    async def test() -> None:
        limiter = RateLimitMiddleware(echo, policy('{ name = "all", rate = "1/minute" }'), store="memory://")
        scope = scope_of_a_handshake()
        connection = await connect(limiter, *[text(str(number)) for number in range(9)], scope=scope)
        assert len(texts(connection)) == 9
        assert "ratelimit.dropped" not in scope

    run(test())


def test_close() -> None:
    """The connection is closed with 1008 and the wait in the reason; the app is told that it has ended, as it is when a
    client closes, and what it still sends is an error as of a client that is gone. The slot is free."""
    seen: list[Message] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        assert open_slots(limiter.store) == 0  # type: ignore[arg-type]
        seen.extend([message, await receive()])
        with pytest.raises(ConnectionAbortedError, match="the connection was closed: rate limit exceeded"):
            await send({"type": "websocket.send", "text": "more"})
        await send({"type": "websocket.close"})

    limiter = counting(app, "close", f'{TWO}, {{ name = "cap", concurrency = 1 }}')
    connection = run(connect(limiter, *map(text, "abcd")))
    assert texts(connection) == ["a", "b"]
    assert connection.sent[-1] == {"type": "websocket.close", "code": 1008, "reason": REASON}
    assert connection.kinds.count("close") == 1
    assert seen == [{"type": "websocket.disconnect", "code": 1008, "reason": REASON}] * 2


def test_starlette_sees_the_end() -> None:
    """Starlette's WebSocket has it as a WebSocketDisconnect with the code and the reason."""
    ends = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect as end:
            ends.append((end.code, end.reason))

    run(connect(counting(Starlette(routes=[WebSocketRoute("/feed", app)]), "close"), *map(text, "abc")))
    assert ends == [(1008, REASON)]


def test_a_client_that_is_gone_when_it_is_closed() -> None:
    """A close that the server can't send any more is no error of the app's."""

    async def test() -> None:
        connection = Connection(*map(text, "abc"))

        async def send(message: Message) -> None:
            if message["type"] == "websocket.close":
                raise OSError("gone")

        await counting(echo, "close")(scope_of_a_handshake(), connection.receive, send)

    run(test())


def test_drop() -> None:
    """What is too much is not handed on, and counted in the scope, also in a copy of it; what comes later is."""
    now = [T]
    counts: list[int] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope = {**scope}
        await receive()
        await send(ACCEPT)
        counts.append(scope["ratelimit.dropped"].count)
        while (message := await receive())["type"] == "websocket.receive":
            counts.append(scope["ratelimit.dropped"].count)
            await send({"type": "websocket.send", "text": message["text"]})
        counts.append(scope["ratelimit.dropped"].count)

    async def test() -> None:
        connection = Connection(*map(text, "abcd"), stays=True)
        limiter = counting(app, "drop", clock=lambda: now[0])
        call = asyncio.create_task(limiter(scope_of_a_handshake(), connection.receive, connection.send))
        await settled()
        now[0] += 61_000
        connection.says(*map(text, "efg"), GONE)
        await call
        assert texts(connection) == ["a", "b", "e", "f"]

    run(test())
    assert counts == [0, 0, 0, 2, 2, 3]


@pytest.mark.parametrize(
    ("limits", "more", "mode"),
    [
        ('{ name = "reads", rate = "9/minute", operations = ["search"] }', "", "enforce"),
        (TWO, '[operations]\nexempt = ["WEBSOCKET /feed"]', "enforce"),
        (TWO, "", "off"),
    ],
)
def test_nothing_to_drop(limits: str, more: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no limit of a caller counts messages, where the connection is exempt, and where all is switched off, the
    count is there all the same."""
    monkeypatch.setenv("RATELIMIT_MODE", mode)
    scope = scope_of_a_handshake()
    connection = run(connect(counting(echo, "drop", limits, more), *map(text, "abcd"), scope=scope))
    assert texts(connection) == ["a", "b", "c", "d"]
    assert scope["ratelimit.dropped"].count == 0


def test_an_app_that_has_closed() -> None:
    """A connection that the app closes while one of its messages is too much is closed once, and not by us."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        message = asyncio.create_task(receive())
        await asyncio.sleep(0)
        await send({"type": "websocket.close", "code": 4000})
        assert (await message)["type"] == "websocket.disconnect"

    connection = run(connect(counting(app, "close", TWO.replace("2/", "0/"), store=Slow()), text("a")))
    assert connection.sent[1:] == [{"type": "websocket.close", "code": 4000}]


def test_on_redis(valkey: servers.Server) -> None:
    """Of a hundred messages on ten connections at once as many are handed on as the limit says, and the rest is
    counted, also where a decision takes a trip."""
    scopes = [scope_of_a_handshake() for _ in range(10)]

    async def test() -> None:
        store = RedisStore(valkey.url, prefix="websockets", timeout=10)
        limiter = counting(echo, "drop", TWO.replace("2/minute", "37/day"), store=store)
        incoming = [text(str(number)) for number in range(10)]
        connections = await asyncio.gather(*(connect(limiter, *incoming, scope=scope) for scope in scopes))
        assert sum(len(texts(connection)) for connection in connections) == 37
        assert all(texts(connection) == sorted(texts(connection)) for connection in connections)
        await store.close()

    run(test())
    assert sum(scope["ratelimit.dropped"].count for scope in scopes) == 63


def test_wait(clock: Clock) -> None:
    """What is too much waits until there is room for it, in order, and no longer; what comes behind it is not read."""
    limits = '{ name = "messages", rate = "2/second", operations = ["message"], precision = 1 }'
    at: list[tuple[str, int, int]] = []
    connection: Connection

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while (message := await receive())["type"] == "websocket.receive":
            at.append((message["text"], clock.now - T, connection.received))

    async def test() -> None:
        nonlocal connection
        connection = Connection(*map(text, "abcde"))
        await counting(app, "wait", limits, clock=clock)(scope_of_a_handshake(), connection.receive, connection.send)

    run(test())
    assert at == [("a", 0, 2), ("b", 0, 3), ("c", 2_000, 4), ("d", 2_000, 5), ("e", 4_000, 6)]
    assert clock.waits == [2_000, 2_000]


@pytest.mark.parametrize(("seconds", "waits"), [(9, [10_000]), (10, [])])
def test_a_wait_that_is_too_long(seconds: int, waits: list[int], clock: Clock) -> None:
    """A message that would wait for more than 10 s closes the connection at once, with the wait in the reason: nobody
    reads meanwhile, and pings go unanswered."""
    every = f'rate = "1/{seconds} seconds", precision = {seconds}'  # a unit is free a second after its window
    limits = f'{{ name = "messages", {every}, operations = ["message"] }}'
    connection = run(connect(counting(echo, "wait", limits, clock=clock), text("a"), text("b")))
    assert clock.waits == waits
    if waits:
        assert texts(connection) == ["a", "b"]
    else:
        reason = "rate limit exceeded, retry after 11 s"
        assert connection.sent[2:] == [{"type": "websocket.close", "code": 1008, "reason": reason}]


def test_a_wait_for_what_others_take(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others take what a message waits for, it waits again, and for 10 s in all."""
    limits = '{ name = "messages", rate = "1/3 seconds", operations = ["message"], precision = 3 }'

    async def test() -> None:
        limiter = counting(echo, "wait", limits, clock=clock)

        async def pause(seconds: float) -> None:
            await clock.pause(seconds)
            identity = Identity(user="ana", tier="basic")
            await limiter.store.acquire(limiter.policy.charges(identity, "message"))

        monkeypatch.setattr(messages, "pause", pause)
        connection = await connect(limiter, text("a"), text("b"))
        assert texts(connection) == ["a"]
        assert connection.sent[-1]["code"] == 1008
        assert clock.waits == [4_000, 4_000]

    run(test())


@pytest.mark.parametrize("on_excess", ["close", "wait"])
def test_what_can_never_pass(on_excess: str, clock: Clock) -> None:
    """A limit that is closed closes the connection, and tells no wait: there is none."""
    limits = '{ name = "messages", rate = "0/minute", operations = ["message"] }'
    connection = run(connect(counting(echo, on_excess, limits, clock=clock), text("a")))
    reason = "rate limit exceeded, and this message can never pass"
    assert connection.sent[1:] == [{"type": "websocket.close", "code": 1008, "reason": reason}]
    assert clock.waits == []


def test_all_operations_and_costs() -> None:
    """A limit of all operations counts handshakes and messages together, each at its cost."""
    limits = '{ name = "all", rate = "5/minute", cost = { message = 2 } }'
    connection = run(connect(counting(echo, "close", limits), *map(text, "abc")))
    assert texts(connection) == ["a", "b"]


def test_no_slots() -> None:
    """A message takes no slot: at a cap of one a connection has as many as its rates allow."""
    limits = '{ name = "cap", concurrency = 1 }, { name = "all", rate = "9/minute" }'
    connection = run(connect(counting(echo, "close", limits), *map(text, "abc")))
    assert texts(connection) == ["a", "b", "c"]
    only_a_cap = counting(echo, "close", '{ name = "cap", concurrency = 1 }')
    assert texts(run(connect(only_a_cap, *map(text, "abc")))) == ["a", "b", "c"]


def test_text_and_binary() -> None:
    """A message of bytes is charged as one of text is."""
    binary = {"type": "websocket.receive", "bytes": b"b", "text": None}
    connection = run(connect(counting(echo, "close"), text("a"), binary, text("c")))
    assert connection.sent[1:3] == [{**text("a"), "type": "websocket.send"}, {**binary, "type": "websocket.send"}]
    assert connection.kinds == ["accept", "send", "send", "close"]


def test_connections_of_a_caller_share() -> None:
    """Counters are the caller's: two connections of one share them, and another caller has its own."""

    async def test() -> None:
        limiter = counting(echo, "close")
        assert texts(await connect(limiter, text("a"))) == ["a"]
        assert texts(await connect(limiter, text("b"), text("c"))) == ["b"]
        assert texts(await connect(limiter, text("d"), api_key=BEN)) == ["d"]

    run(test())


def test_looked_up_once() -> None:
    """What a message takes is looked up as the connection begins, and is the same object for all of a caller."""
    seen: list[int] = []

    class Store(MemoryStore):
        async def acquire(self, charges: Any) -> Decision:
            seen.append(id(charges))
            return await super().acquire(charges)

    limits = f'{TWO}, {{ name = "all", quota = "9999/day" }}, {{ name = "cap", concurrency = 9 }}'

    async def test() -> None:
        limiter = counting(echo, "drop", limits, store=Store())
        for _ in range(3):  # from the second on a caller is remembered
            await connect(limiter, text("a"))
        await connect(limiter, *map(text, "abc"))
        await connect(limiter, *map(text, "abc"))
        assert len({*seen[-8:]}) == 2  # of handshakes, and of messages

    run(test())


@pytest.mark.parametrize("on_excess", ["close", "drop"])
def test_no_task_and_no_timer(on_excess: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message makes neither a task nor a timer: of 10,000 a second each is counted and no more."""
    made: list[str] = []

    async def test() -> None:
        loop = asyncio.get_running_loop()
        limiter = counting(echo, on_excess, TWO.replace("2/", "100/"))
        await connect(limiter, text("a"))
        for name in ("create_task", "call_later", "call_at"):
            monkeypatch.setattr(loop, name, lambda *_, name=name, **__: made.append(name))
        await limiter(scope_of_a_handshake(), (many := Connection(*[text("a")] * 98)).receive, many.send)
        assert len(texts(many)) == 98
        assert made == []
        monkeypatch.undo()

    run(test())


def test_exempt() -> None:
    """Of an exempt connection the messages are exempt too, also where a policy around it counts its own."""

    async def test() -> None:
        exempt = '[operations]\nexempt = ["WEBSOCKET /feed"]'
        inner = counting(echo, "close", more=exempt)
        assert len(texts(await connect(inner, *map(text, "abcd")))) == 4
        outer = counting(inner, "close", TWO.replace("2/", "3/"))
        assert len(texts(await connect(outer, *map(text, "abcd")))) == 3

    run(test())


def test_two_policies() -> None:
    """Two policies count messages each by itself, of the same name too, and both have to admit one."""

    async def test() -> None:
        store = MemoryStore(clock=lambda: T)
        inner = counting(echo, "drop", TWO.replace("2/", "3/"), store=store)
        outer = counting(inner, "drop", TWO.replace("2/", "5/"), "# another", store=store)
        scope = scope_of_a_handshake()
        assert len(texts(await connect(outer, *map(text, "abcdefg"), scope=scope))) == 3
        assert scope["ratelimit.dropped"].count == 4

    run(test())


def test_the_log(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    """A message that is too much has a line in the log, once for all that it waits; so has one of a limit in shadow."""
    caplog.set_level(logging.INFO, "ratelimit")
    limits = '{ name = "messages", rate = "1/second", operations = ["message"], precision = 1 }'
    shadow = limits.replace("precision", 'mode = "shadow", precision')
    for on_excess, which in (("wait", limits), ("close", shadow)):
        connection = run(connect(counting(echo, on_excess, which, clock=clock), text("a"), text("b")))
        assert texts(connection) == ["a", "b"]
    lines = [record.getMessage().partition(" log_id=")[0] for record in caplog.records]
    assert lines == [
        "denied operation=message limit=messages wait=2.000s",
        "would deny operation=message limit=messages wait=2.000s",
    ]


class Down(MemoryStore):
    """Out of reach for messages, of which there is one charge, as often as it is told."""

    times = 1_000

    async def acquire(self, charges: Any) -> Decision:
        if self.times and [charge.limit.name for charge in charges] == ["messages"]:
            self.times -= 1
            raise StoreUnavailable("it is down")
        return await super().acquire(charges)


@pytest.mark.parametrize(
    ("on_failure", "on_excess", "expected"),
    [
        ("allow", "close", ["a", "b", "c"]),
        ("deny", "close", ["1013"]),
        ("deny", "drop", []),
        ("deny", "wait", ["1013"]),
        ("local", "close", ["a", "b", "1008"]),
    ],
)
def test_without_the_store(on_failure: str, on_excess: str, expected: list[str], clock: Clock) -> None:
    """While the store is out of reach `on_failure` decides on messages too: let through, limited by this process, or
    denied, and who can only be denied is told to come back in a second."""

    async def test() -> None:
        limiter = counting(echo, on_excess, more=f'[store]\non_failure = "{on_failure}"', store=Down(clock=clock))
        connection = await connect(limiter, *map(text, "abc"))
        ends = [str(said["code"]) for said in connection.sent if said["type"] == "websocket.close"]
        assert texts(connection) + ends == expected
        if "1013" in ends:
            assert connection.sent[-1]["reason"] == "rate limits are unavailable, retry after 1 s"

    run(test())
    assert clock.waits == ([1_000] * 10 if on_excess == "wait" else [])


def test_a_store_that_is_back(clock: Clock) -> None:
    """A message that waits for a store goes on when that is back, and the outage has ended."""

    async def test() -> None:
        store = Down(clock=clock)
        store.times = 3
        limiter = counting(echo, "wait", more='[store]\non_failure = "deny"', store=store)
        assert texts(await connect(limiter, text("a"))) == ["a"]
        assert clock.waits == [1_000] * 3
        assert limiter._outage._back is not None

    run(test())


class Slow(MemoryStore):
    """Asked for a message it takes a while."""

    asked = 0

    async def acquire(self, charges: Any) -> Decision:
        if [charge.limit.name for charge in charges] == ["messages"]:
            self.asked += 1
            await asyncio.sleep(0)
        return await super().acquire(charges)


@pytest.mark.parametrize("on_excess", ["close", "drop", "wait"])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_receive_that_is_cancelled(on_excess: str, turns: int) -> None:
    """An app that gives up on `receive`, as `asyncio.wait_for` does, loses no message: it has it when it asks again."""
    got: list[str] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        first = asyncio.create_task(receive())
        for _ in range(turns):
            await asyncio.sleep(0)
        first.cancel()
        if first not in (await asyncio.wait([first]))[0] or not first.cancelled():
            got.append(first.result()["text"])
        while (message := await receive())["type"] == "websocket.receive":
            got.append(message["text"])

    run(connect(counting(app, on_excess, TWO.replace("2/", "9/"), store=Slow()), *map(text, "abc")))
    assert got == ["a", "b", "c"]


def test_a_wait_that_is_cancelled() -> None:
    """Cancelled while its message waits a `receive` has charged nothing, and the message is there for the next."""
    got: list[str] = []
    now = [T]

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        got.append((await receive())["text"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)
        now[0] += 61_000
        got.append((await receive())["text"])

    limits = '{ name = "messages", rate = "1/4 seconds", operations = ["message"] }'
    run(connect(counting(app, "wait", limits, clock=lambda: now[0]), *map(text, "ab")))
    assert got == ["a", "b"]


def test_on_trio() -> None:
    """A message waits on trio as it does on asyncio."""
    got: list[float] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        while (await receive())["type"] != "websocket.disconnect":
            got.append(trio.current_time())

    async def test() -> None:
        limits = '{ name = "messages", rate = "1/second", operations = ["message"], precision = 1 }'
        begun = trio.current_time()
        limiter = counting(app, "wait", limits, clock=lambda: T + int((trio.current_time() - begun) * 1_000))
        incoming = [text("a"), text("b")]

        async def receive() -> Message:
            await trio.lowlevel.checkpoint()
            return incoming.pop(0) if incoming else GONE

        async def send(message: Message) -> None:
            await trio.lowlevel.checkpoint()

        await limiter(scope_of_a_handshake(), receive, send)
        assert [round(at - begun, 1) for at in got] == [0, 2]

    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("style", "most"),
    [
        ('name = "lendworks"', 86_400),
        ('name = "ietf"', 2_073_600),
        ('name = "facturapi", ietf_headers = true, max_retry_after = 2147000', 2_147_000),
    ],
)
def test_the_longest_wait(style: str, most: int) -> None:
    """The wait in the reason is at most what the style tells, and the reason is no longer than a frame has room for."""
    limits = '{ name = "messages", quota = "1/year", operations = ["message"], timezone = "UTC" }'
    made = policy(limits, '[websocket]\nmessages = "message"', style="ietf")
    styled = parse_policy(f"style = {{ {style} }}\n[tiers.anonymous]\nlimits = []").style
    limiter = RateLimitMiddleware(echo, made, store=MemoryStore(clock=lambda: T), style=styled)
    reason = run(connect(limiter, text("a"), text("b"))).sent[-1]["reason"]
    assert reason == f"rate limit exceeded, retry after {most} s"
    assert len(reason) <= 123


def test_by_hand() -> None:
    """A Policy made by hand charges messages by its `websocket`, whose mistakes are errors in the words of a file."""
    made = policy(TWO, "[operations]\nmessage = []")
    settings = WebSocketSettings(messages="message")
    own = Policy(made.tiers, made.identify, made.classify, made.style, made.address, websocket=settings)
    assert texts(run(connect(RateLimitMiddleware(echo, own, store="memory://"), *map(text, "abc")))) == ["a", "b"]
    for wrong, message in (
        ({"messages": ""}, 'WebSocketSettings: messages: "" can\'t be used'),
        ({"messages": "exempt"}, 'WebSocketSettings: messages: "exempt" is what no limit applies to'),
        ({"messages": "m", "on_excess": "ignore"}, 'WebSocketSettings: on_excess: "ignore" is not known'),
    ):
        with pytest.raises(ValueError, match=message):
            WebSocketSettings(**wrong)  # type: ignore[arg-type]


def test_known(caplog: pytest.LogCaptureFixture) -> None:
    """The operation of messages is known, be it that no limit names it: nothing is said of it in the log."""
    limits = '{ name = "all", rate = "9/minute" }, { name = "reads", rate = "9/minute", operations = ["search"] }'
    assert texts(run(connect(counting(echo, "close", limits), text("a")))) == ["a"]
    assert not caplog.records
