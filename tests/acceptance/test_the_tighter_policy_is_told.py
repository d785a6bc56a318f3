"""Where two policies limit one request, the tighter one is told, and nothing of the other's limits beside it."""

from __future__ import annotations

import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.model import ASGIApp, Style
from ratelimit.stores.memory import MemoryStore
from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed, WithIetfHeaders
from tests.acceptance import ANA, T, ask, hash_api_key, header, in_order, plain, run, scope_of
from tests.acceptance.test_path_of_a_request import Away

ORIGIN = {"origin": "https://a.example"}
LOG_ID = "x-facturapi-log-id"


def limiter(app: ASGIApp, name: str, limits: str, style: Style, more: str = "") -> RateLimitMiddleware:
    """`app` behind a policy for ana; `limits` as `2/minute, 9/month`."""
    rows = "".join(
        f'{{ name = "{name} {limit}", {"rate" if "minute" in limit else "quota"} = "{limit}" }},'
        for limit in limits.split(", ")
    )
    policy = parse_policy(
        f'[[keys]]\nsha256 = "{hash_api_key(ANA)}"\ntier = "known"\nuser = "ana"\n{more}\n'
        f"[tiers.anonymous]\nlimits = []\n[tiers.known]\nlimits = [ {rows} ]",
        name,
    )
    return RateLimitMiddleware(app, policy, store=MemoryStore(clock=lambda: T), style=style)


def straight(app: ASGIApp) -> ASGIApp:
    return app


def copying(app: ASGIApp) -> ASGIApp:
    async def copied(scope, receive, send) -> None:
        await app(dict(scope), receive, send)

    return copied


def handing_on(app: ASGIApp) -> ASGIApp:
    async def dispatch(request, call_next):
        return await call_next(request)

    return BaseHTTPMiddleware(app, dispatch)


def making_anew(app: ASGIApp) -> ASGIApp:
    """As middlewares do that write the body anew."""

    async def dispatch(request, call_next):
        response = await call_next(request)
        body = b"".join([chunk async for chunk in response.body_iterator])
        return Response(body, response.status_code, {k.title(): v for k, v in response.headers.items()})

    return copying(BaseHTTPMiddleware(app, dispatch))


def zipping(app: ASGIApp) -> ASGIApp:
    return GZipMiddleware(app, minimum_size=1)


async def told(app: ASGIApp, **headers: str) -> tuple[int, dict[str, str]]:
    """The status, and the fields that tell of limits and log ids."""
    start, *_ = await ask(app, **headers)
    names = {name.decode().lower() for name, _ in start["headers"]}
    fields = {name: header(start, name) or "" for name in names}
    ours = ("ratelimit", "x-ratelimit-", "retry-after", "x-facturapi", "access-control-")
    return start["status"], {name: value for name, value in fields.items() if name.startswith(ours)}


ways = pytest.mark.parametrize("way", [straight, copying, handing_on, making_anew, zipping], ids=lambda w: w.__name__)


@ways
@pytest.mark.parametrize(
    ("outer", "inner", "tighter"),
    [("2/minute", "9/minute", "2"), ("9/minute", "2/minute", "2"), ("4/minute, 2/month", "2/minute", "2")],
)
def test_of_one_style(way, outer, inner, tighter) -> None:
    """The smaller share that remains counts, wherever the policy stands; each field is there once."""

    async def test() -> None:
        app = limiter(way(limiter(plain, "inner", inner, Lendworks())), "outer", outer, Lendworks())
        status, fields = await told(app)
        assert (status, fields["x-ratelimit-limit"], fields["x-ratelimit-remaining"]) == (200, tighter, "1")
        assert len(fields) == 4

    run(test())


X_RATELIMIT = {"x-ratelimit-limit", "x-ratelimit-remaining"}
IETF = {"ratelimit", "ratelimit-policy"}
LENDWORKS = X_RATELIMIT | {"x-ratelimit-reset", "x-ratelimit-window"}
ACROSS = [
    # outer, inner, told where the outer is tighter, told where the inner is
    (Lendworks(), Ietf(), LENDWORKS, IETF),
    (Ietf(), Lendworks(), IETF, LENDWORKS),
    (Lightspeed(), Lendworks(), X_RATELIMIT, LENDWORKS),
    (WithIetfHeaders(Lightspeed()), Lendworks(), X_RATELIMIT | IETF, LENDWORKS),
    (Facturapi(), Lendworks(), {LOG_ID} | LENDWORKS, {LOG_ID} | LENDWORKS),  # the outer one tells of no limit
    (Lendworks(), Facturapi(), {LOG_ID} | LENDWORKS, {LOG_ID} | LENDWORKS),
    (Facturapi(expose_limits=True), Ietf(), {LOG_ID, "x-ratelimit-reset"} | X_RATELIMIT, {LOG_ID} | IETF),
    (Facturapi(), Facturapi(), {LOG_ID}, {LOG_ID}),
]


@ways
@pytest.mark.parametrize(("outer", "inner", "one", "other"), ACROSS, ids=in_order)
def test_across_styles(way, outer, inner, one, other) -> None:
    """One policy tells its limits, in its own style; a log id is told beside. What is told is exposed, once."""

    async def test() -> None:
        for limits, names in ((("2/minute", "9/minute"), one), (("9/minute", "2/minute"), other)):
            for headers in ({}, ORIGIN):
                app = limiter(way(limiter(plain, "inner", limits[1], inner)), "outer", limits[0], outer)
                status, fields = await told(app, **headers)
                exposed = fields.pop("access-control-expose-headers", "")
                assert (status, fields.keys()) == (200, names)
                assert sorted(exposed.split(", ")) == (sorted(names) if headers else [""])

    run(test())


@ways
@pytest.mark.parametrize(("outer", "inner", "one", "other"), ACROSS, ids=in_order)
def test_a_denial_is_the_tightest(way, outer, inner, one, other) -> None:
    """The inner policy's 429 tells of its limits alone, and exposes what it tells."""

    async def test() -> None:
        app = limiter(way(limiter(plain, "inner", "1/minute", inner)), "outer", "2/minute", outer)
        await told(app, **ORIGIN)
        status, fields = await told(app, **ORIGIN)
        exposed = fields.pop("access-control-expose-headers")
        alone = limiter(plain, "inner", "1/minute", inner)
        await told(alone)
        _, expected = await told(alone)
        assert status == 429
        assert fields.keys() - {LOG_ID} == expected.keys() - {LOG_ID}
        assert set(exposed.split(", ")) == fields.keys()

    run(test())


def test_a_denial_that_tells_of_no_limit() -> None:
    """What can never pass is a 403 without Retry-After, and no remaining of somebody else's stands beside it."""

    async def test() -> None:
        app = limiter(limiter(plain, "inner", "0/minute", Facturapi()), "outer", "9/minute", Lendworks())
        status, fields = await told(app)
        assert (status, fields.keys()) == (403, {LOG_ID})

    run(test())


def test_three_policies() -> None:
    """The tightest of all, in the middle too."""

    async def test() -> None:
        for limits, remaining in (("2 3 4", "1"), ("3 2 4", "1"), ("4 3 2", "1"), ("9 5 7", "4"), ("1 1 1", "0")):
            app: ASGIApp = plain
            for name, limit in zip(("inner", "middle", "outer"), limits.split(), strict=True):
                app = limiter(app, name, f"{limit}/minute", Lendworks())
            status, fields = await told(app)
            assert (status, fields["x-ratelimit-remaining"], len(fields)) == (200, remaining, 4)

    run(test())


def test_fields_of_the_app_below_both() -> None:
    """The family that the app sends is the app's; of the others the tighter policy tells."""

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-RateLimit-Limit", b"theirs")]})
        await send({"type": "http.response.body"})

    async def test() -> None:
        for way in (straight, copying):
            inner = limiter(app, "inner", "2/minute", WithIetfHeaders(Lendworks()))
            _, fields = await told(limiter(way(inner), "outer", "9/minute", Lendworks()))
            assert fields.keys() == IETF | {"x-ratelimit-limit"}
            inner = limiter(app, "inner", "9/minute", Lendworks())
            _, fields = await told(limiter(way(inner), "outer", "2/minute", Ietf()))
            assert fields.keys() == IETF | {"x-ratelimit-limit"}
            assert fields["x-ratelimit-limit"] == "theirs"

    run(test())


def test_a_policy_that_does_not_apply_says_nothing() -> None:
    """Where the inner or the outer policy exempts the request, or has no store, the other one tells as ever."""
    exempt = '[operations]\nexempt = ["GET /items/*"]'

    async def test() -> None:
        for more in (("", exempt), (exempt, "")):
            inner = limiter(plain, "inner", "9/minute", Lendworks(), more[0])
            _, fields = await told(limiter(inner, "outer", "5/minute", Lendworks(), more[1]))
            assert (fields["x-ratelimit-limit"], len(fields)) == ("9" if more[1] else "5", 4)
        inner = limiter(plain, "inner", "9/minute", Facturapi(expose_limits=True))
        inner.store = Away()
        _, fields = await told(limiter(inner, "outer", "5/minute", Lendworks()))
        assert fields.keys() == LENDWORKS | {LOG_ID}

    run(test())


def test_an_answer_that_somebody_in_between_has_replaced() -> None:
    """A response without the inner policy's fields is not the inner policy's, though that one was asked."""

    def replacing(app: ASGIApp) -> ASGIApp:
        async def replaced(scope, receive, send) -> None:
            async def swallow(message) -> None:
                pass

            await app(scope, receive, swallow)
            await plain(scope, receive, send)

        return replaced

    async def test() -> None:
        app = limiter(replacing(limiter(plain, "inner", "1/minute", Lendworks())), "outer", "9/minute", Lendworks())
        for remaining in ("8", "7"):
            status, fields = await told(app)
            assert (status, fields["x-ratelimit-remaining"]) == (200, remaining)

    run(test())


def test_exposed_headers_of_the_app_below_both() -> None:
    """An app that says itself what is exposed is not contradicted by either."""

    async def app(scope, receive, send) -> None:
        headers = [(b"access-control-expose-headers", b"etag")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    async def test() -> None:
        both = limiter(limiter(app, "inner", "2/minute", Ietf()), "outer", "9/minute", Facturapi())
        _, fields = await told(both, **ORIGIN)
        assert fields.keys() == IETF | {LOG_ID, "access-control-expose-headers"}
        assert fields["access-control-expose-headers"] == "etag"

    run(test())


def test_one_policy_leaves_nothing_of_this_in_the_scope() -> None:
    """A server keeps the scope of each connection's last request: with one policy nothing of this is made for it."""

    async def test() -> None:
        scope = scope_of()
        await ask(limiter(plain, "only", "9/minute", Lendworks()), scope=scope)
        names = ["policies", "identity", "control"]
        assert {name for name in scope if name.startswith("ratelimit")} == {
            "ratelimit",
            *(f"ratelimit.{n}" for n in names),
        }
        assert vars(scope["ratelimit.control"]) == {}

    run(test())


def test_past_one_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limiter that was made while all was off, between two that are not: what is told within passes it."""

    async def test() -> None:
        inner = limiter(plain, "inner", "50/minute", Lendworks())
        monkeypatch.setenv("RATELIMIT_MODE", "off")
        off = limiter(inner, "off", "1/minute", Lendworks())
        monkeypatch.delenv("RATELIMIT_MODE")
        app = limiter(off, "outer", "2/minute", Lendworks())
        for remaining in ("1", "0"):
            status, fields = await told(app)
            assert (status, fields["x-ratelimit-limit"], fields["x-ratelimit-remaining"]) == (200, "2", remaining)

    run(test())
