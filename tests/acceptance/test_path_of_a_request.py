"""The path of a request: exempt, denied, allowed; what the app and the client see of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ratelimit import (
    Identity,
    PolicyError,
    RateLimitMiddleware,
    RedisStore,
    StoreUnavailable,
    identify_user,
)
from ratelimit.model import Answer, Scope
from ratelimit.policy import StoreSettings
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import ANA, BEN, T, ask, header, limited, names, plain, policy, run, scope_of


def test_allowed_then_denied() -> None:
    """Three a minute are three: the headers count down, and the fourth is a 429 that never reaches the app."""
    calls = 0

    async def app(scope, receive, send) -> None:
        nonlocal calls
        calls += 1
        await plain(scope, receive, send)

    async def test() -> None:
        limiter = limited(app)
        for remaining in "210":
            start, body = await ask(limiter)
            assert (start["status"], body["body"]) == (200, b"here you are")
            assert header(start, "x-ratelimit-remaining") == remaining
        start, body = await ask(limiter)
        assert start["status"] == 429
        assert header(start, "content-type") == "application/json"
        assert header(start, "cache-control") == "no-store"
        assert header(start, "content-length") == str(len(body["body"]))
        assert header(start, "retry-after") == "61"
        assert json.loads(body["body"])["errors"][0]["code"] == "RATE_LIMIT_EXCEEDED"
        assert calls == 3
        start, _ = await ask(limiter, api_key=BEN)
        assert start["status"] == 200

    run(test())


def test_nothing_else_is_changed() -> None:
    """Behind the limiter an app sends what it would send without it, but for the headers that were added."""

    async def test() -> None:
        bare, through = await ask(plain), await ask(limited(plain))
        assert through[0]["headers"][: len(bare[0]["headers"])] == bare[0]["headers"]
        assert {**through[0], "headers": bare[0]["headers"]} == bare[0]
        assert through[1:] == bare[1:]
        added = {name for name in names(through[0]) if name not in names(bare[0])}
        assert added == {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-window"}

    run(test())


def test_exempt() -> None:
    """What is exempt is passed through: nothing is looked up, charged or added."""

    def identify(scope: Scope) -> Identity:
        raise AssertionError("nobody is asked who calls an exempt path")

    async def test() -> None:
        limiter = limited(plain, more='[operations]\nexempt = ["GET /health"]', identify=identify)
        scope = scope_of("/health")
        assert await ask(limiter, scope=scope) == await ask(plain)
        assert "ratelimit" not in scope
        preflight = scope_of(method="OPTIONS", origin="https://a.example", access_control_request_method="PUT")
        assert await ask(limiter, scope=preflight) == await ask(plain)

    run(test())


def test_other_protocols_pass() -> None:
    """What is neither HTTP nor a WebSocket goes to the app as it came."""
    kind = "something.else"
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append((scope, receive, send))

    async def test() -> None:
        scope, receive, send = {"type": kind}, object(), object()
        await limited(app)(scope, receive, send)
        assert seen == [({"type": kind}, receive, send)]

    run(test())


def test_the_app_reads_the_decision() -> None:
    """`scope["ratelimit"]` tells the app what is left, `scope["ratelimit.identity"]` who was counted."""
    left = []

    async def app(scope, receive, send) -> None:
        left.append([(state.limit.name, state.remaining) for state in scope["ratelimit"].states])
        assert scope["ratelimit.identity"].user == "ana"
        await plain(scope, receive, send)

    async def test() -> None:
        limiter = limited(app, '{ name = "requests", rate = "3/minute" }, { name = "monthly", quota = "10/month" }')
        await ask(limiter)
        await ask(limiter)

    run(test())
    assert left == [[("requests", 2), ("monthly", 9)], [("requests", 1), ("monthly", 8)]]


def test_headers_of_the_app_are_kept() -> None:
    """A header that the app has set is the app's, whatever case it wrote it in, and so are all of its family."""

    async def app(scope, receive, send) -> None:
        headers = [(b"X-RateLimit-Limit", b"mine")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})
        assert headers == [(b"X-RateLimit-Limit", b"mine")]  # the app's own list is not touched

    async def test() -> None:
        start, _ = await ask(limited(app))
        assert header(start, "x-ratelimit-limit") == "mine"
        assert header(start, "x-ratelimit-remaining") is None

    run(test())


def test_a_response_without_headers() -> None:
    """`headers` is optional in ASGI."""

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    async def test() -> None:
        start, _ = await ask(limited(app, '{ name = "in flight", concurrency = 1 }, { name = "r", rate = "9/minute" }'))
        assert header(start, "x-ratelimit-remaining") == "8"

    run(test())


@pytest.mark.parametrize("limits", ['{ name = "r", rate = "3/minute" }', '{ name = "c", concurrency = 1 }'])
@pytest.mark.parametrize("api_key", [ANA, None])
def test_headers_that_are_an_iterator(api_key: str | None, limits: str) -> None:
    """ASGI lets an app send its headers as any iterable: none gets lost, also where nothing is added."""

    async def app(scope, receive, send) -> None:
        headers = ((name, b"x") for name in (b"x-one", b"x-two"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    async def test() -> None:
        start, _ = await ask(limited(app, limits), api_key=api_key)
        assert [name for name, _ in start["headers"]][:2] == [b"x-one", b"x-two"]

    run(test())


def test_nothing_stands_between_the_app_and_the_server() -> None:
    """What an app awaits when it sends is the server's own, but where a slot is given back in between."""
    waiting: list[object] = []

    async def done() -> None: ...

    async def app(scope, receive, send) -> None:
        for message in ({"type": "http.response.start", "status": 200, "headers": []}, {"type": "http.response.body"}):
            awaitable = send(message)
            assert awaitable is waiting[-1]
            await awaitable

    def send(message: object) -> object:
        waiting.append(done())
        return waiting[-1]

    run(limited(app)(scope_of(), None, send))
    assert len(waiting) == 2


def test_a_browser_of_another_origin_sees_the_headers() -> None:
    """With an Origin the names of the headers are exposed, on an allowed response and on a 429; else they are not."""

    async def test() -> None:
        limiter = limited(plain)
        start, _ = await ask(limiter)
        assert header(start, "access-control-expose-headers") is None
        start, _ = await ask(limiter, origin="https://a.example")
        exposed = header(start, "access-control-expose-headers")
        assert exposed == "x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-ratelimit-window"
        await ask(limiter)
        start, _ = await ask(limiter, origin="https://a.example")
        assert start["status"] == 429
        assert header(start, "access-control-expose-headers") == f"retry-after, {exposed}"

    run(test())


def test_exposed_headers_of_the_app_are_kept() -> None:
    """An app that says itself what is exposed is not contradicted."""

    async def app(scope, receive, send) -> None:
        headers = [(b"access-control-expose-headers", b"etag")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    async def test() -> None:
        start, _ = await ask(limited(app), origin="https://a.example")
        assert header(start, "access-control-expose-headers") == "etag"

    run(test())


def test_head() -> None:
    """A HEAD is limited like a GET; its 429 has the headers and no body."""

    async def test() -> None:
        limiter = limited(plain)
        for _ in range(3):
            assert (await ask(limiter, method="HEAD"))[0]["status"] == 200
        start, body = await ask(limiter, method="HEAD")
        assert (start["status"], body["body"]) == (429, b"")
        assert int(header(start, "content-length") or 0) > 0

    run(test())


def test_an_unknown_api_key_is_anonymous() -> None:
    """Made-up keys are no new allowance: they share what their address has."""

    async def test() -> None:
        limiter = limited(plain)
        seen = [(await ask(limiter, api_key=f"sk_made_up_{n}"))[0]["status"] for n in range(3)]
        assert seen == [200, 200, 429]

    run(test())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_own_callables(asynchronous: bool) -> None:
    """`identify` and `classify` may be the user's, sync or async; what they leave open the policy fills in."""
    found: dict[str, Identity | None] = {
        "/a": Identity(user="zoe", tier="basic", ip="192.0.2.9"),
        "/b": Identity(user="zoe"),
        "/c": None,
    }

    def identify(scope: Scope) -> Identity | None:
        return found[scope["path"]]

    async def identify_async(scope: Scope) -> Identity | None:
        return found[scope["path"]]

    def classify(scope: Scope) -> str | None:
        return None if scope["path"] == "/exempt" else "read"

    async def classify_async(scope: Scope) -> str | None:
        return classify(scope)

    async def test() -> None:
        limiter = limited(
            plain,
            '{ name = "requests", rate = "2/minute" }, { name = "address", rate = "9/minute", per = "ip" }',
            more='[identity]\ndefault_tier = "basic"',
            identify=identify_async if asynchronous else identify,
            classify=classify_async if asynchronous else classify,
        )
        scope = scope_of("/b")
        statuses = [(await ask(limiter, path))[0]["status"] for path in ("/a",)]
        statuses.append((await ask(limiter, scope=scope))[0]["status"])
        statuses += [(await ask(limiter, path))[0]["status"] for path in ("/a", "/c", "/exempt")]
        assert statuses == [200, 200, 429, 200, 200]
        assert scope["ratelimit"].states[1].charge.key == "{user=zoe}:address:60000/60:ip=192.0.2.7"

    run(test())


def test_errors_of_own_callables_propagate() -> None:
    """An exception of the user's callable is the user's; a caller without any tier is an error and never unlimited."""

    def broken(scope: Scope) -> Identity:
        raise RuntimeError("the user's own")

    async def test() -> None:
        with pytest.raises(RuntimeError, match="the user's own"):
            await ask(limited(plain, identify=broken))
        with pytest.raises(RuntimeError, match="the user's own"):
            await ask(limited(plain, classify=broken))
        with pytest.raises(LookupError, match="names no tier"):
            await ask(limited(plain, identify=lambda _: Identity(user="zoe")))

    run(test())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_policy_made_by_hand(asynchronous: bool) -> None:
    """A policy's own `identify` may be async as well; one that finds nobody is an error."""
    made = policy()

    async def identify(scope: Scope) -> Identity | None:
        return made.identify(scope)

    async def nobody(scope: Scope) -> Identity | None:
        return None

    async def test() -> None:
        own = type(made)(
            made.tiers, identify if asynchronous else made.identify, made.classify, made.style, made.address
        )
        assert (await ask(RateLimitMiddleware(plain, own)))[0]["status"] == 200
        empty = type(made)(made.tiers, nobody, made.classify, made.style, made.address)
        with pytest.raises(TypeError, match="nothing left to ask"):
            await ask(RateLimitMiddleware(plain, empty))

    run(test())


def test_a_user_that_a_middleware_in_front_has_found() -> None:
    """`identify_user` takes whom an authentication middleware has found; who is not logged in goes by the file."""

    class User:
        def __init__(self, name: str | None) -> None:
            self.is_authenticated = name is not None
            self.display_name = name

    limiter = limited(
        plain, identify=identify_user(lambda user, auth: Identity(user=user.display_name, tier=auth["tier"]))
    )

    async def test() -> None:
        seen = []
        for user, api_key in [("kim", None)] * 4 + [(None, ANA), (None, None)]:
            scope = scope_of(api_key=api_key)
            scope.update(user=User(user), auth={"tier": "basic"})
            seen.append((await ask(limiter, scope=scope))[0]["status"])
        assert seen == [200, 200, 200, 429, 200, 200]
        assert scope["ratelimit"].states[0].limit.name == "ip"

    run(test())


def test_an_own_style() -> None:
    """A style is three small methods and the name of a header."""

    class Teapot:
        log_id_header = None

        def headers(self, decision, identity, log_id):
            return [(b"x-left", str(decision.states[0].remaining).encode())]

        def denied(self, decision, identity, log_id):
            return Answer(418, [(b"content-type", b"text/plain")], b"short and stout")

        def unavailable(self, log_id):
            raise NotImplementedError

    async def test() -> None:
        limiter = limited(plain, style=Teapot())
        seen = [await ask(limiter) for _ in range(4)]
        assert [header(start, "x-left") for start, _ in seen[:3]] == ["2", "1", "0"]
        assert (seen[3][0]["status"], seen[3][1]["body"]) == (418, b"short and stout")

    run(test())


def test_where_the_store_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Store, a URL, RATELIMIT_STORE_URL, the policy's own, in this order."""
    own = MemoryStore()
    assert RateLimitMiddleware(plain, policy(), store=own).store is own
    assert isinstance(RateLimitMiddleware(plain, policy()).store, MemoryStore)
    in_file = policy(more='[store]\nurl = "redis://127.0.0.1:1"\nprefix = "mine"\ntimeout = "250ms"')
    with monkeypatch.context() as opening:
        opening.setattr("ratelimit.opening.open_store", lambda url, **settings: (url, settings))
        opened = RateLimitMiddleware(plain, in_file).store
        assert opened == ("redis://127.0.0.1:1", {"prefix": "mine", "timeout": 0.25, "max_callers": 1_000_000})
    assert isinstance(RateLimitMiddleware(plain, in_file).store, RedisStore)
    assert isinstance(RateLimitMiddleware(plain, in_file, store="memory://").store, MemoryStore)
    monkeypatch.setenv("RATELIMIT_STORE_URL", "memory://")
    assert isinstance(RateLimitMiddleware(plain, in_file).store, MemoryStore)
    monkeypatch.setenv("RATELIMIT_STORE_URL", "redis+sentinal://h:1")
    with pytest.raises(ValueError, match=r"redis\+cluster"):
        RateLimitMiddleware(plain, in_file)


def test_a_path_of_a_file(tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    """`policy` may be the path of a file; one with mistakes is a PolicyError, and critical in the log."""
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('[tiers.anonymous]\nlimits = [{ name = "ip", rate = "1/minute" }]')
    bad.write_text("[tiers.basic]\nlimits = []")

    async def test() -> None:
        limiter = RateLimitMiddleware(plain, str(good))
        assert [(await ask(limiter))[0]["status"] for _ in range(2)] == [200, 429]

    run(test())
    with pytest.raises(PolicyError, match="anonymous"):
        RateLimitMiddleware(plain, bad)
    assert [(r.levelname, "tiers.anonymous" in r.getMessage()) for r in caplog.records] == [("CRITICAL", True)]


def test_a_store_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong URL is critical in the log, with who names it, as some servers take no notice of the error: uvicorn
    would answer 500 to everything, and not say why until somebody asks. Nothing of a password is in it."""
    by_hand = replace(policy(), store=StoreSettings("redis://:s3cret@h/0?typo=1"))  # a file is refused when it is read
    wrong = "redis://s3#cret@h"
    with pytest.raises(ValueError, match="an option typo that no store knows"):
        RateLimitMiddleware(plain, by_hand)
    with pytest.raises(ValueError, match="%23"):
        RateLimitMiddleware(plain, by_hand, store=wrong)
    monkeypatch.setenv("RATELIMIT_STORE_URL", wrong)
    with pytest.raises(ValueError, match="%23"):
        RateLimitMiddleware(plain, by_hand)
    assert {record.levelname for record in caplog.records} == {"CRITICAL"}
    named_by = [record.getMessage().partition(": ")[0] for record in caplog.records]
    assert named_by == ["store.url of the policy", "store", "RATELIMIT_STORE_URL"]
    assert "s3" not in caplog.text


def test_a_limit_is_exact_at_the_clock_of_the_store() -> None:
    """The next request is admitted at the instant that Retry-After rounds up to, and a millisecond before it is not."""
    now = [T]
    limiter = RateLimitMiddleware(plain, policy(), store=MemoryStore(clock=lambda: now[0]))

    async def test() -> None:
        seen = []
        for at in (0, 0, 0, 0, 60_999, 61_000):
            now[0] = T + at
            seen.append((await ask(limiter))[0]["status"])
        assert seen == [200, 200, 200, 429, 429, 200]

    run(test())


class Away:
    """A store that is out of reach."""

    async def acquire(self, charges):
        raise StoreUnavailable("no reply within 100 ms")

    async def renew(self, leases):
        raise NotImplementedError

    async def release(self, leases):
        raise NotImplementedError

    async def close(self):
        raise NotImplementedError


def test_store_out_of_reach_allow() -> None:
    """With on_failure = "allow", the default, a request passes without the headers that would have to be made up."""

    async def test() -> None:
        scope = scope_of()
        start, _ = await ask(RateLimitMiddleware(plain, policy(), store=Away()), scope=scope)
        assert (start["status"], names(start)) == (200, ["content-type"])
        assert scope["ratelimit"].unavailable
        assert scope["ratelimit"].states == ()

    run(test())


@pytest.mark.parametrize("style", ["facturapi", "lightspeed", "lendworks", "ietf"])
def test_store_out_of_reach_deny(style: str) -> None:
    """With on_failure = "deny" the answer is a 503 with Retry-After: 1 in the style's own envelope, never a 429."""

    async def test() -> None:
        refusing = policy(more='[store]\non_failure = "deny"', style=style)
        start, body = await ask(RateLimitMiddleware(plain, refusing, store=Away()))
        told = header(start, "retry-after")
        assert start["status"] == 503
        assert told == "1" or (style == "lightspeed" and told.endswith(" GMT"))
        assert header(start, "cache-control") == "no-store"
        assert json.loads(body["body"])

    run(test())
