"""A request with known API keys of two callers is answered 400 before anything is charged; with two of one, the first
counts."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from ratelimit import Identity, MemoryStore, Policy, RateLimitMiddleware, hash_api_key, parse_policy
from ratelimit.model import Answer, Refused
from ratelimit.styles import Facturapi, WithIetfHeaders
from tests.acceptance import T, ask, header, plain, run, scope_of

ACME, ROTATED, TEST_MODE, GLOBEX, ALONE, OTHER = "acme-1", "acme-2", "acme-test", "globex-1", "alone", "other\xa0"
AUTH = b"authorization"
TWO = "The request carries API keys of two different callers. Send one of them."


def policy(style: str = "ietf", sources: Sequence[str] = ("bearer", "basic", "header:X-API-Key")) -> Policy:
    entries = {
        ACME: 'organization = "acme"\nuser = "ana"',
        ROTATED: 'organization = "acme"\nuser = "ben"',
        TEST_MODE: 'organization = "acme"\nattributes = { mode = "test" }',
        GLOBEX: 'organization = "globex"',
        ALONE: "",
        OTHER: 'user = "acme"',
        OTHER.strip(): 'user = "other"',
    }
    keys = [f'[[keys]]\nsha256 = "{hash_api_key(key)}"\ntier = "anonymous"\n{who}' for key, who in entries.items()]
    limits = '[tiers.anonymous]\nlimits = [ { name = "requests", rate = "3/minute" } ]'
    return parse_policy("\n".join([f"style = {style}", f"[identity]\napi_key = {json.dumps(sources)}", *keys, limits]))


def bearer(api_key: str) -> tuple[bytes, bytes]:
    return AUTH, b"Bearer " + api_key.encode()


def basic(user: str, password: str = "") -> tuple[bytes, bytes]:
    return AUTH, b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def by_name(api_key: str, name: bytes = b"x-api-key") -> tuple[bytes, bytes]:
    return name, api_key.encode()


async def answered(limiter: RateLimitMiddleware, *headers: tuple[bytes, bytes], **scope: Any) -> tuple[int, str]:
    """The status, and who was counted."""
    request = scope_of(api_key=None) | scope
    request["headers"] = [*request["headers"], *headers]
    start, *_ = await ask(limiter, scope=request)
    counted: Identity | None = request.get("ratelimit.identity")
    return start["status"], "=".join(counted.root) if counted else "nobody"


ROWS: list[tuple[str, list[tuple[bytes, bytes]], str]] = [
    # of two callers
    ("two places", [bearer(ACME), by_name(GLOBEX)], "refused"),
    ("the other way round", [by_name(GLOBEX), bearer(ACME)], "refused"),
    ("one header twice", [by_name(ACME), by_name(GLOBEX)], "refused"),
    ("one header by two names", [by_name(ACME), by_name(GLOBEX, b"x_api_key")], "refused"),
    ("one header in two cases", [by_name(ACME), by_name(GLOBEX, b"X-Api-Key")], "refused"),
    ("two schemes", [bearer(ACME), basic(GLOBEX)], "refused"),
    ("one scheme twice", [bearer(ACME), bearer(GLOBEX)], "refused"),
    ("behind an unknown one", [bearer("x"), bearer(ACME), by_name("y"), by_name(GLOBEX)], "refused"),
    ("of keys alone", [bearer(ALONE), by_name(ACME)], "refused"),
    ("of the same name but another kind", [bearer(ACME), by_name(OTHER)], "refused"),
    ("two readings of a line", [(b"x-api-key", OTHER.encode("latin-1"))], "refused"),
    ("a user name and a password", [basic(ACME, GLOBEX)], "refused"),
    ("a password and another place", [basic("x", GLOBEX), by_name(ACME)], "refused"),
    ("three keys of two", [bearer(ACME), by_name(ROTATED), by_name(GLOBEX)], "refused"),
    # of one
    ("a rotation", [by_name(ROTATED), bearer(ACME)], "organization=acme"),
    ("one key in two places", [bearer(GLOBEX), by_name(GLOBEX)], "organization=globex"),
    ("one key in three lines", [bearer(ALONE)] * 3, f"api_key={hash_api_key(ALONE)}"),
    ("a key as user name and password", [basic(ALONE, ALONE)], f"api_key={hash_api_key(ALONE)}"),
    ("test and live of one organization", [bearer(TEST_MODE), by_name(ACME)], "organization=acme"),
    # one of them known
    ("an unknown one first", [bearer("x"), by_name(GLOBEX)], "organization=globex"),
    ("an unknown one last", [bearer(ACME), by_name("x")], "organization=acme"),
    ("an unknown one beside it", [by_name("x"), by_name(ACME)], "organization=acme"),
    ("a password that is none", [basic(ACME, "secret")], "organization=acme"),
    # none
    ("two unknown ones", [bearer("x"), by_name("y")], "ip=192.0.2.7"),
    ("a known key as the password alone", [basic("x", ACME)], "ip=192.0.2.7"),
    ("joined by commas, which is one unknown key", [(AUTH, b"Bearer acme-1, Bearer globex-1")], "ip=192.0.2.7"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "who"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_whom_a_request_with_more_keys_is_counted_as(headers: list[tuple[bytes, bytes]], who: str) -> None:
    """Keys of two roots are refused in each combination of places, and none of the callers is charged for it."""
    limiter = RateLimitMiddleware(plain, policy('"ietf"'), store=MemoryStore(clock=lambda: T))

    async def test() -> None:
        for _ in range(5):
            expected = (400, "nobody") if who == "refused" else (200, who)
            assert await answered(limiter, *headers) == expected
            if who != "refused":
                return
        for key in (ACME, GLOBEX, ALONE):
            assert (await answered(limiter, bearer(key)))[0] == 200

    run(test())


def test_of_one_caller_the_first_source_counts() -> None:
    """In a rotation the user, the tier and the attributes are those of the key that comes first in `api_key`."""

    async def test() -> None:
        for sources, user in ((("bearer", "header:X-API-Key"), "ana"), (("header:X-API-Key", "bearer"), "ben")):
            limiter = RateLimitMiddleware(plain, policy('"ietf"', sources), store="memory://")
            request = scope_of(api_key=None)
            request["headers"] += [by_name(ROTATED), bearer(ACME)]
            await ask(limiter, scope=request)
            assert request["ratelimit.identity"].user == user

    run(test())


@pytest.mark.parametrize("address", ["192.0.2.7", "192.0.2.8"])
def test_a_caller_that_moved_is_no_other(address: str) -> None:
    """One of the keys was used from this address just before, the other from another one: still one caller."""
    limiter = RateLimitMiddleware(plain, policy('"ietf"'), store="memory://")

    async def test() -> None:
        await answered(limiter, bearer(ACME), client=(address, 1))
        await answered(limiter, bearer(ROTATED))
        assert await answered(limiter, bearer(ACME), by_name(ROTATED)) == (200, "organization=acme")
        assert (await answered(limiter, bearer(ACME), by_name(GLOBEX), client=(address, 1)))[0] == 400

    run(test())


def test_the_same_header_under_two_readers() -> None:
    """Where the whole of Authorization may be a key as well as what is behind Bearer, both are looked at."""
    whole = f"Bearer {ACME}"
    keys = [(whole, "whole"), (ACME, "acme")]
    entries = [f'[[keys]]\nsha256 = "{hash_api_key(k)}"\nuser = "{u}"\ntier = "anonymous"' for k, u in keys]
    limits = '[tiers.anonymous]\nlimits = [ { name = "requests", rate = "3/minute" } ]'
    head = '[identity]\napi_key = ["header:Authorization", "bearer"]'
    limiter = RateLimitMiddleware(plain, parse_policy("\n".join([head, *entries, limits])), store="memory://")
    run(_refused(limiter, bearer(ACME)))


async def _refused(limiter: RateLimitMiddleware, *headers: tuple[bytes, bytes]) -> None:
    assert await answered(limiter, *headers) == (400, "nobody")


PROBLEM = {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": TWO, "code": "invalid_request"}
FLAT = {"message": TWO, "status": 400, "ok": False, "code": "INVALID_REQUEST"}


@pytest.mark.parametrize(
    ("style", "content_type", "body"),
    [
        ('"ietf"', "application/problem+json", PROBLEM),
        ('"facturapi"', "application/json", FLAT),
        ('{ name = "facturapi", ietf_headers = true }', "application/json", FLAT),
        ('"lightspeed"', "application/json", {"error": "Bad Request", "message": TWO}),
        ('"lendworks"', "application/json", {"errors": [{"code": "INVALID_REQUEST", "message": TWO}]}),
    ],
)
def test_it_is_told_in_the_style_of_the_api(style: str, content_type: str, body: dict[str, Any]) -> None:
    """400 in the envelope of the style, whole and not to be kept, without a body to a HEAD, readable in a browser."""
    limiter = RateLimitMiddleware(plain, policy(style), store="memory://")

    async def test() -> None:
        for method in ("GET", "HEAD"):
            request = scope_of(api_key=None, origin="https://app.example") | {"method": method}
            request["headers"] += [bearer(ACME), by_name(GLOBEX)]
            start, rest = await ask(limiter, scope=request)
            assert start["status"] == 400
            assert header(start, "content-type") == content_type
            assert header(start, "cache-control") == "no-store"
            assert header(start, "retry-after") is None
            log_id = header(start, "x-facturapi-log-id")
            assert (log_id is not None) == ("facturapi" in style)
            assert (header(start, "access-control-expose-headers") is not None) == ("facturapi" in style)
            assert int(header(start, "content-length") or 0) == len(json.dumps(body, separators=(",", ":")))
            assert rest["body"] == (json.dumps(body, separators=(",", ":")).encode() if method == "GET" else b"")

    run(test())


def test_a_request_id_of_lendworks() -> None:
    """Where the style puts the log id in bodies, it is in this one."""
    limiter = RateLimitMiddleware(plain, policy('{ name = "lendworks", request_id = true }'), store="memory://")

    async def test() -> None:
        request = scope_of(api_key=None)
        request["headers"] += [bearer(ACME), by_name(GLOBEX)]
        _, body = await ask(limiter, scope=request)
        assert len(json.loads(body["body"])["meta"]["requestId"]) == 24

    run(test())


class OfThreeMethods:
    """A style that knows nothing of refusals."""

    log_id_header = b"x-log-id"

    def headers(self, *_: object) -> list[tuple[bytes, bytes]]:
        return []

    def denied(self, *_: object) -> Answer:
        return Answer(429, [], b"")

    def unavailable(self, *_: object) -> Answer:
        return Answer(503, [], b"")


class WithoutALogId(OfThreeMethods):
    log_id_header = None  # type: ignore[assignment]


@pytest.mark.parametrize("style", [OfThreeMethods(), WithIetfHeaders(OfThreeMethods()), WithoutALogId()])
def test_a_style_without_refusals(style: Any) -> None:
    """It is told in plain JSON, with the log id in the style's header."""
    limiter = RateLimitMiddleware(plain, policy('"ietf"'), store="memory://", style=style)

    async def test() -> None:
        request = scope_of(api_key=None)
        request["headers"] += [bearer(ACME), by_name(GLOBEX)]
        start, body = await ask(limiter, scope=request)
        assert (start["status"], header(start, "content-type")) == (400, "application/json")
        assert json.loads(body["body"]) == {"error": "invalid_request", "message": TWO}
        log_id = header(start, "x-log-id")
        assert len(log_id or "") == (24 if style.log_id_header else 0)

    run(test())


def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """One line with the log id that the client has, the address, and no key."""
    caplog.set_level(logging.INFO, "ratelimit")
    limiter = RateLimitMiddleware(plain, policy('"facturapi"'), store="memory://")

    async def test() -> None:
        request = scope_of(api_key=None)
        request["headers"] += [bearer(ACME), by_name(GLOBEX)]
        start, _ = await ask(limiter, scope=request)
        log_id = header(start, "x-facturapi-log-id")
        assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
            ("INFO", f"refused status=400 code=invalid_request log_id={log_id} caller=ip=192.0.2.7: {TWO}")
        ]

    run(test())


@pytest.mark.parametrize("later", [False, True])
def test_a_refusal_of_the_apps_own(later: bool) -> None:
    """An `identify` of the app's may refuse a request in the same way, with a status of its own."""

    def identify(_: Any) -> Identity:
        raise Refused(499, "two_tokens", "One token, please.")

    async def identify_later(scope: Any) -> Identity:
        return identify(scope)

    own = identify_later if later else identify
    limiter = RateLimitMiddleware(plain, policy('"lightspeed"'), store="memory://", identify=own)

    async def test() -> None:
        start, body = await ask(limiter)
        assert (start["status"], json.loads(body["body"])) == (499, {"error": "499", "message": "One token, please."})

    run(test())


def test_an_exempt_request_is_not_refused() -> None:
    """What no limit applies to is not asked who it is."""
    limiter = RateLimitMiddleware(
        plain, policy('"ietf"'), store="memory://", style=Facturapi(), classify=lambda _: None
    )

    async def test() -> None:
        assert await answered(limiter, bearer(ACME), by_name(GLOBEX)) == (200, "nobody")

    run(test())
