"""RATELIMIT_MODE switches every policy of a process off, or into shadow, and the log says so."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from ratelimit import Decision, Identity, Limit, Policy, Rate, RateLimitMiddleware, StoreUnavailable
from ratelimit.fastapi import RateLimit, decide, deferred, limit
from ratelimit.middleware import RateLimitMiddleware as Middleware
from ratelimit.model import Message, Refused
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import ANA, BEN, ask, header, limited, names, plain, policy, run, scope_of

ONE_OF_EACH = (
    '{ name = "requests", rate = "1/minute" }, { name = "monthly", quota = "1/month" },'
    ' { name = "in flight", concurrency = 1 }, { name = "closed", rate = "0/minute", mode = "off" }'
)
BOTH = [(b"authorization", f"Bearer {ANA}".encode()), (b"x-api-key", BEN.encode())]


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATELIMIT_MODE", "off")


@pytest.fixture
def shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATELIMIT_MODE", "shadow")


def counted(app: RateLimitMiddleware) -> list[Message]:
    """What three requests are answered."""
    answers: list[Message] = []

    async def test() -> None:
        answers.extend([(await ask(app))[0] for _ in range(3)])

    run(test())
    return answers


@pytest.mark.usefixtures("off")
def test_off(caplog: pytest.LogCaptureFixture) -> None:
    """Requests pass, nothing is counted, no headers are added, and nobody is asked who calls."""

    def identify(_: object) -> Identity:
        raise AssertionError("nobody is asked")

    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["ratelimit"], scope["ratelimit.identity"], scope["ratelimit.control"].left()))
        await plain(scope, receive, send)

    made = policy(ONE_OF_EACH)
    off = RateLimitMiddleware(app, made, identify=identify)
    assert off.policy is made
    answers = counted(off)
    assert seen == [(Decision(True, 0), Identity(ip="192.0.2.7"), {})] * 3
    assert [answer["status"] for answer in answers] == [200, 200, 200]
    assert {name for answer in answers for name in names(answer)} == {"content-type"}
    assert [record.getMessage() for record in caplog.records] == [
        "RATELIMIT_MODE=off in the environment: test.toml is off: nothing is counted, nobody is denied"
    ]
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.usefixtures("off")
def test_off_with_operations_of_the_app() -> None:
    """Also where the app has a classify of its own."""
    assert [answer["status"] for answer in counted(limited(plain, classify=lambda _: "search"))] == [200, 200, 200]


@pytest.mark.usefixtures("shadow")
def test_shadow(caplog: pytest.LogCaptureFixture) -> None:
    """Everything is counted and logged as of limits in shadow, nobody is denied, no header tells of a limit; what the
    file has switched off stays off."""
    caplog.set_level(logging.INFO, logger="ratelimit")
    store = MemoryStore(clock=lambda: 0)
    decisions = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        decisions.append(scope["ratelimit"])
        await plain(scope, receive, send)

    answers = counted(RateLimitMiddleware(app, policy(ONE_OF_EACH), store=store))
    assert [answer["status"] for answer in answers] == [200, 200, 200]
    assert {name for answer in answers for name in names(answer)} == {"content-type"}
    assert [[state.used for state in decision.states] for decision in decisions] == [[1, 1, 1]] * 3
    assert [state.exceeded for state in decisions[1].states] == [True, True, False]
    assert all(state.shadow for decision in decisions for state in decision.states)
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "RATELIMIT_MODE=shadow in the environment: test.toml counts and logs, and denies nobody"
    assert [line.split(" wait=")[0] for line in told[1:]] == [
        "would deny operation=detail_read limit=requests",
        "would deny operation=detail_read limit=monthly",
    ]


class Gone(MemoryStore):
    """A store out of reach."""

    async def acquire(self, charges: object) -> Any:
        raise StoreUnavailable("it is gone")


@pytest.mark.usefixtures("shadow")
@pytest.mark.parametrize("on_failure", ["deny", "allow", "local"])
def test_shadow_without_the_store(on_failure: str) -> None:
    """A policy that denies while its store is out of reach denies nobody either."""
    made = policy(more=f'[store]\non_failure = "{on_failure}"')
    answers = counted(RateLimitMiddleware(plain, made, store=Gone()))
    assert [answer["status"] for answer in answers] == [200, 200, 200]


@pytest.mark.usefixtures("shadow")
def test_shadow_of_keys_of_two_callers(caplog: pytest.LogCaptureFixture) -> None:
    """Whom the policy would refuse before it counts goes by the address, and that is logged."""
    caplog.set_level(logging.INFO, logger="ratelimit")
    counted_as = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        counted_as.append(scope["ratelimit.identity"])
        await plain(scope, receive, send)

    async def test() -> None:
        for headers in (BOTH, BOTH[:1]):
            scope = {**scope_of(api_key=None), "headers": headers}
            assert (await ask(limited(app), scope=scope))[0]["status"] == 200

    run(test())
    assert counted_as[0] == Identity(ip="192.0.2.7", tier="anonymous")
    assert counted_as[1].user == "ana"
    (line,) = [text for record in caplog.records if "refuse" in (text := record.getMessage())]
    assert line.startswith("would refuse status=400 code=invalid_request")


@pytest.mark.usefixtures("shadow")
def test_shadow_of_an_identify_that_is_async() -> None:
    """The same of a callable of the app's, sync or async."""

    async def refusing(_: object) -> Identity:
        raise Refused(400, "invalid_request", "Who are you?")

    async def knowing(_: object) -> Identity:
        return Identity(user="ana", tier="basic")

    for identify in (refusing, knowing):
        assert [answer["status"] for answer in counted(limited(plain, identify=identify))] == [200, 200, 200]


@pytest.mark.usefixtures("shadow")
def test_shadow_of_one_policy_object() -> None:
    """Middlewares that share a Policy object share its counters in memory, as they do when it is enforced."""
    decisions = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        decisions.append(scope["ratelimit"])
        await plain(scope, receive, send)

    shared = policy()
    mounts = [Mount(path, Middleware(app, shared)) for path in ("/a", "/b")]
    whole = Starlette(routes=mounts)

    async def test() -> None:
        for path in ("/a/1", "/b/1"):
            await ask(whole, path)

    run(test())
    assert [decision.states[0].used for decision in decisions] == [1, 2]


@pytest.mark.usefixtures("shadow")
def test_shadow_of_a_policy_without_a_file(caplog: pytest.LogCaptureFixture) -> None:
    """A policy that was made by hand is switched too."""
    made = Policy(
        tiers={"all": (Limit("requests", Rate(60_000), lambda _: 0),)},
        identify=lambda _: Identity(user="ana", tier="all"),
        classify=lambda _: "search",
        style=policy().style,
        address=lambda _: "",
    )
    assert [answer["status"] for answer in counted(RateLimitMiddleware(plain, made))] == [200, 200, 200]
    assert "RATELIMIT_MODE=shadow in the environment: the policy counts" in caplog.text


@pytest.mark.parametrize("value", ["", "enforce"])
def test_enforced(value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An empty variable and the word for it change nothing, and nothing is said."""
    monkeypatch.setenv("RATELIMIT_MODE", value)
    made = policy('{ name = "requests", rate = "1/minute" }')
    app = RateLimitMiddleware(plain, made, store=MemoryStore(clock=lambda: 0))
    assert app.policy is made
    assert not caplog.records
    answers = counted(app)
    assert [answer["status"] for answer in answers] == [200, 429, 429]
    assert header(answers[1], "retry-after") == "61"


@pytest.mark.parametrize("value", ["Off", "on", "shadow ", "1"])
def test_any_other_word(value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is an error when the middleware is built, which names those that are allowed; and a critical line."""
    monkeypatch.setenv("RATELIMIT_MODE", value)
    message = f'RATELIMIT_MODE: "{value}" is not known; write "off", "shadow" or "enforce", or leave it out'
    with pytest.raises(ValueError, match="RATELIMIT_MODE") as refusal:
        RateLimitMiddleware(plain, policy())
    assert str(refusal.value) == message
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.CRITICAL, message)]


@pytest.mark.usefixtures("off")
def test_off_with_a_control() -> None:
    """An endpoint that charges and holds by hand goes on, as on a path that is exempt."""
    app = FastAPI()

    @app.get("/7")
    async def rows(rate_limit: RateLimit) -> dict[str, int]:
        async with rate_limit.hold(4, limit="tokens") as held:
            held.settle(2)
        await rate_limit.charge(3, limit=("tokens", "more"))
        await rate_limit.refund()
        return rate_limit.left()

    limits = '{ name = "tokens", rate = "3/minute", hold = true }'
    app.add_middleware(RateLimitMiddleware, policy=policy(limits), store=MemoryStore(clock=lambda: 0))
    for _ in range(3):
        answer = TestClient(app, headers={"Authorization": f"Bearer {ANA}"}).get("/7")
        assert (answer.status_code, answer.json()) == (200, {})


@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_a_caller_that_is_known_later(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the app says who is calling, nobody is denied either, at the door or inside."""
    monkeypatch.setenv("RATELIMIT_MODE", mode)
    app = FastAPI()

    async def who() -> Identity:
        return Identity(user="ana", tier="basic")

    @app.get("/7", dependencies=[Depends(decide(who))])
    async def seven() -> str:
        return "here you are"

    made = policy('{ name = "requests", rate = "0/minute" }', anonymous="0/minute")
    app.add_middleware(RateLimitMiddleware, policy=made, identify=deferred(), store=MemoryStore(clock=lambda: 0))
    for _ in range(3):
        answer = TestClient(app).get("/7")
        assert (answer.status_code, answer.json()) == (200, "here you are")
        assert not [name for name in answer.headers if "ratelimit" in name]


@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_websockets(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handshakes and messages pass, whatever the limits say."""
    monkeypatch.setenv("RATELIMIT_MODE", mode)
    app = FastAPI()

    @app.websocket("/ws")
    async def echo(socket: WebSocket, rate_limit: RateLimit) -> None:
        await socket.accept()
        await rate_limit.charge(3, limit="requests")
        for _ in range(2):
            await socket.send_text(await socket.receive_text())
        await socket.close()

    counted = '[operations]\nmessage = []\n[websocket]\nmessages = "message"\n'
    made = policy('{ name = "requests", rate = "0/minute" }', more=counted)
    app.add_middleware(RateLimitMiddleware, policy=made, store=MemoryStore(clock=lambda: 0))
    client = TestClient(app, headers={"Authorization": f"Bearer {ANA}"})
    with client.websocket_connect("/ws") as session:
        for _ in range(2):
            session.send_text("hello")
            assert session.receive_text() == "hello"


@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_limits_of_endpoints(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an endpoint declares is switched with the rest."""
    monkeypatch.setenv("RATELIMIT_MODE", mode)
    app = FastAPI()

    @app.get("/exports", dependencies=[Depends(limit("1/hour", name="exports"))])
    async def exports(request: Request) -> list[tuple[str, bool]]:
        return [(state.limit.name, state.shadow) for state in request.scope["ratelimit"].states]

    made = policy('{ name = "requests", rate = "1/minute" }')
    app.add_middleware(RateLimitMiddleware, policy=made, store=MemoryStore(clock=lambda: 0))
    client = TestClient(app, headers={"Authorization": f"Bearer {ANA}"})
    counted = [] if mode == "off" else [["requests", True], ["exports", True]]
    for _ in range(3):
        answer = client.get("/exports")
        assert (answer.status_code, answer.json()) == (200, counted)
