"""Who is calling: which credential counts, and what becomes of it."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException
from fastapi.security import APIKeyHeader, HTTPBasic, HTTPBearer, OAuth2PasswordBearer
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.testclient import TestClient

from ratelimit.identity import SOURCES, IdentifyByApiKey, hash_api_key, identify_user
from ratelimit.identity.address import ClientAddress
from ratelimit.identity.api_keys import MORE_LINES
from ratelimit.model import ANONYMOUS, Identity, Refused

ACME = Identity(organization="acme", user="ana", application="till", tier="retail", attributes={"registers": 3})
GLOBEX = Identity(organization="globex", tier="basic")
API_KEYS = ("sk_acme", "sk_globex", "clé", "voilà", "sk\xa0")
KEYS = dict(zip(map(hash_api_key, API_KEYS), (ACME, GLOBEX, ACME, ACME, ACME), strict=True))
NOBODY = Identity(ip="192.0.2.7", tier=ANONYMOUS)


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "client": ("192.0.2.7", 50000), "headers": [(b"host", b"x"), *headers]}


def identify(*headers: tuple[bytes, bytes], **settings: Any) -> Identity:
    return IdentifyByApiKey(KEYS, address=ClientAddress(), **settings)(scope(*headers))


def basic(credentials: bytes) -> bytes:
    return b"Basic " + base64.b64encode(credentials)


@pytest.mark.parametrize("api_key", ["sk_live_1", "clé", "\udc80"])
def test_hash_api_key(api_key: str) -> None:
    """An API key is hashed with SHA-256 over its bytes, a text as UTF-8, and none fails."""
    raw = api_key.encode("utf-8", "surrogatepass")
    assert hash_api_key(api_key) == hash_api_key(raw) == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("api_key", ["", b"", " ", b"\t\n", "\xa0"])
def test_nothing_is_no_api_key(api_key: str | bytes) -> None:
    """What a variable that is not set gives is not hashed: it would be a key that everybody has."""
    with pytest.raises(ValueError, match="the API key is empty or blank"):
        hash_api_key(api_key)


def test_the_hash_of_nothing_is_no_key() -> None:
    """Nor is its hash taken, by whatever it was made."""
    with pytest.raises(ValueError, match=r"keys\[1\] is the SHA-256 of an empty text"):
        IdentifyByApiKey(
            {hash_api_key("a"): ACME, hashlib.sha256(b"").hexdigest().upper(): ACME}, address=ClientAddress()
        )


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer sk_acme"),
        (b"authorization", b"bEARER   sk_acme "),
        (b"authorization", basic(b"sk_acme:")),
        (b"authorization", basic(b"sk_acme:any:password")),
        (b"authorization", basic(b"sk_acme")),
        (b"authorization", basic(b"sk_acme:").replace(b"Basic ", b"basic  ")),
        (b"x-api-key", b"sk_acme"),
        (b"x-api-key", b" sk_acme\t"),
        (b"authorization", b"Bearer" + b" " * 5000 + b"sk_acme"),
        (b"authorization", b"Bearer sk_acme\xa0"),
        (b"authorization", b"Bearer \x85sk_acme\x1f"),
        (b"authorization", b"Bearer\tsk_acme"),
        (b"x-api-key", b"\xa0sk_acme\x85"),
        (b"authorization", basic(b"sk_acme:" + b"x" * 5000)),
        (b"authorization", basic(b"\xa0sk_acme :")),
        (b"authorization", basic(b"sk_acme:") + b"="),
        (b"authorization", basic(b"sk_acme:") + b"xx"),
        (b"authorization", basic(b"sk_acme:").replace(b" c", b" !c\xff")),
    ],
)
def test_a_known_api_key(header: tuple[bytes, bytes]) -> None:
    """A known API key stands for its identity, with the hash of the key and the address of this request."""
    identity = identify(header)
    assert identity == Identity("acme", "ana", hash_api_key("sk_acme"), "till", "192.0.2.7", "retail", {"registers": 3})
    assert "sk_acme" not in repr(identity)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer unknown")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"sk_acme")],
        [(b"authorization", b"Token sk_acme")],
        [(b"authorization", b"Bearersk_acme ")],
        [(b"authorization", b"Basic sk_acme")],
        [(b"authorization", b"Basic " + base64.b64encode(b"sk_acme:x")[:-1])],
        [(b"authorization", basic(b"someone:sk_acme"))],
        [(b"authorization", basic(b":"))],
        [(b"authorization", b"Basic \xff\xff\xff\xff")],
        [(b"x-api-key", b"")],
        [(b"x-other", b"sk_acme")],
        [(b"cookie", b"sk_acme")],
        [(b"x-api-key", hash_api_key("sk_acme").encode())],
    ],
)
def test_no_known_api_key(headers: list[tuple[bytes, bytes]]) -> None:
    """Who presents no known API key is anonymous, and known by the address alone."""
    assert identify(*headers) == NOBODY
    assert identify(*headers).anonymous


@pytest.mark.parametrize(
    ("sources", "headers", "organization"),
    [
        (("bearer", "header:X-API-Key"), [(b"x-api-key", b"x"), (b"authorization", b"Bearer sk_acme")], "acme"),
        (("header:X-API-Key", "bearer"), [(b"x-api-key", b"sk_globex"), (b"authorization", b"Bearer x")], "globex"),
        (("bearer", "header:X-API-Key"), [(b"x-api-key", b"sk_globex"), (b"authorization", b"Bearer x")], "globex"),
        (("bearer", "basic"), [(b"authorization", basic(b"sk_acme:"))], "acme"),
        (("bearer",), [(b"authorization", basic(b"sk_acme:"))], None),
        (("header:Authorization",), [(b"authorization", b"sk_acme")], "acme"),
        (("header:api_key",), [(b"api_key", b"sk_acme")], "acme"),
        ((), [(b"authorization", b"Bearer sk_acme")], None),
    ],
)
def test_sources(sources: tuple[str, ...], headers: list[tuple[bytes, bytes]], organization: str | None) -> None:
    """The sources are tried in their order, and the first API key that is known counts."""
    assert identify(*headers, sources=sources).organization == organization


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer sk_acme"), (b"authorization", b"Bearer sk_acme")],
        [(b"authorization", b"Bearer sk_acme"), (b"authorization", b"Bearer x")],
        [(b"authorization", b"Bearer x"), (b"authorization", b""), (b"authorization", b"Bearer sk_acme")],
        [(b"authorization", basic(b"x:")), (b"authorization", b"Bearer sk_acme")],
        [(b"x-api-key", b"sk_acme"), (b"x-api-key", b"x")],
        [(b"x-api-key", b"x"), (b"x-api-key", b"sk_acme")],
    ],
)
def test_every_line_of_a_header_is_read(headers: list[tuple[bytes, bytes]]) -> None:
    """A header may be sent more than once: source by source, the first line with a known API key counts."""
    assert identify(*headers).organization == "acme"


@pytest.mark.parametrize("api_key", ["clé", "voilà", "sk\xa0"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_key_that_is_not_ascii(api_key: str, encoding: str) -> None:
    """An API key that is not ASCII is known by its bytes, and by the Latin-1 text that an app is given of it."""
    raw = api_key.encode(encoding)
    for header in ((b"x-api-key", raw), (b"authorization", b"Bearer " + raw), (b"authorization", basic(raw))):
        assert identify(header).api_key == hash_api_key(api_key)


@settings(max_examples=200)
@given(data=st.data())
def test_one_line_is_read_as_several(data: st.DataObject) -> None:
    """A line by itself, which is read in a shorter way, says the same as beside one that says nothing."""
    space = st.sampled_from([b"", b" ", b"  ", b"\t", b"\xa0", b"\x1c"])
    line = b"".join(
        data.draw(st.tuples(st.sampled_from([b"Bearer ", b"bearer ", b"Bearer", b"Basic ", b""]), space))
    ) + b"".join(data.draw(st.lists(st.one_of(space, st.sampled_from([b"a", b"B", b"\xe9", b":"])), max_size=4)))
    cuts = [line[start:end] for start in range(len(line)) for end in range(start + 1, len(line) + 1)]
    known = data.draw(st.lists(st.sampled_from(cuts), min_size=1, max_size=3, unique=True)) if cuts else [b"x"]
    keys = {hashlib.sha256(key).hexdigest(): Identity(organization=repr(key), tier="t") for key in known}
    sources = data.draw(st.permutations(["bearer", "basic", "header:Authorization"]))
    read = IdentifyByApiKey(keys, address=ClientAddress(), sources=tuple(sources[: data.draw(st.integers(1, 3))]))
    nothing = (b"authorization", b"")
    said = told(read, (b"authorization", line), nothing)
    assert [told(read, (b"authorization", line)) for _ in range(2)] == [said, said]  # and again what was read before


def told(read: IdentifyByApiKey, *headers: tuple[bytes, bytes]) -> Identity | str:
    try:
        return read(scope(*headers))
    except Refused as refused:
        return refused.code


def test_work_grows_with_what_is_sent_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each line that is sent, each source hashes four readings at the most."""
    hashed: list[bytes] = []

    def counted(data: bytes) -> Any:
        hashed.append(data)
        return hashlib.sha256(data)

    monkeypatch.setattr("ratelimit.identity.api_keys.sha256", counted)
    assert identify(*[(b"x-api-key", b"\xa0\xe9" + b"x" * 1000)] * 50) == NOBODY
    assert len(hashed) == 4 * 50
    hashed.clear()
    assert identify(*[(b"authorization", b"Bearer x")] * 50) == NOBODY
    assert len(hashed) == 50


BEARER, BASIC, HEADER = SOURCES
BY_FASTAPI: list[tuple[str, Any]] = [
    (BEARER, HTTPBearer(auto_error=False)),
    (BEARER, OAuth2PasswordBearer("/token", auto_error=False)),
    (BASIC, HTTPBasic(auto_error=False)),
    (HEADER, APIKeyHeader(name="X-API-Key", auto_error=False)),
]
SPACES = st.text(" \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0", max_size=3)
# Mostly known, and some that are not: most of what is generated must be a credential for the test to say something.
PRESENTED = st.sampled_from([*API_KEYS, *API_KEYS, "x", ""])
BITS = st.sampled_from(["", "", "=", "==", "!", "xx", "\xa0", "\x85", ":", " "])


@st.composite
def presented(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A line of a header with an API key in it, in any form that might be one to somebody."""
    text = draw(SPACES) + draw(PRESENTED) + draw(SPACES)
    kind = draw(st.sampled_from(["bearer", "basic", "header"]))
    if kind == "basic":
        text = base64.b64encode((text + draw(st.sampled_from([":", ":x", ""]))).encode()).decode()
        middle = draw(st.integers(0, len(text)))
        text = draw(SPACES) + text[:middle] + draw(BITS) + text[middle:] + draw(BITS) + draw(SPACES)
    scheme = "" if kind == "header" else draw(st.sampled_from([kind, kind.title(), kind.upper()])) + " "
    name = b"x-api-key" if kind == "header" else b"authorization"
    return name, (scheme + text).encode(draw(st.sampled_from(["latin-1", "utf-8"])))


@pytest.mark.parametrize(("source", "security"), BY_FASTAPI, ids=lambda part: type(part).__name__)
@given(headers=st.lists(presented(), min_size=1, max_size=3))
def test_what_fastapi_reads_is_read(source: str, security: Any, headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever known API key FastAPI's own security classes read for the app, this reads too: no caller of the app
    goes as anonymous by the form that the key is presented in."""
    try:
        read = asyncio.run(security(Request(scope(*headers))))
    except HTTPException:
        return
    api_key = getattr(read, "username", None) or getattr(read, "credentials", read)
    if api_key in API_KEYS:
        read = IdentifyByApiKey(KEYS, address=ClientAddress(), sources=(source,))
        seen = told(read, *headers), told(IdentifyByApiKey(KEYS, address=ClientAddress()), *headers)
        assert seen[0] == "invalid_request" or seen[0].api_key == hash_api_key(api_key)
        assert seen[1] == "invalid_request" or not seen[1].anonymous


@pytest.mark.parametrize(
    ("security", "header"),
    [
        (HTTPBearer(), (b"authorization", b"Bearer" + b" " * 5000 + b"sk_acme\x85")),
        (OAuth2PasswordBearer("/token"), (b"authorization", b"bearer sk_acme\xa0")),
        (HTTPBasic(), (b"authorization", b"Basic " + basic(b"sk_acme:")[6:].replace(b"c", b"!c") + b"==xx")),
        (APIKeyHeader(name="X-API-Key"), (b"x-api-key", b"sk_acme")),
    ],
)
def test_fastapi_reads_these(security: Any, header: tuple[bytes, bytes]) -> None:
    """The odd forms above are no inventions: FastAPI reads the API key in each, and the first of two headers."""
    read = asyncio.run(security(Request(scope(header, (header[0], b"x")))))
    assert "sk_acme" in (read, getattr(read, "credentials", ""), getattr(read, "username", ""))


def test_the_case_of_a_hash_does_not_matter() -> None:
    """A SHA-256 that was written in capitals is the same, and the identity carries it in lower case."""
    by_api_key = IdentifyByApiKey({hash_api_key("sk_acme").upper(): ACME}, address=ClientAddress())
    assert by_api_key(scope((b"x-api-key", b"sk_acme"))).api_key == hash_api_key("sk_acme")


def test_the_address_is_that_of_the_request() -> None:
    """A known caller that comes from several addresses in turn is known with the one of each request."""
    by_api_key = IdentifyByApiKey(KEYS, address=ClientAddress())
    for ip in ("192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.7"):
        for headers, organization in (([(b"x-api-key", b"sk_acme")], "acme"), ([], None)):
            identity = by_api_key(scope(*headers) | {"client": (ip, 1)})
            assert (identity.ip, identity.organization) == (ip, organization)


def test_nothing_is_remembered_of_unknown_api_keys() -> None:
    """Made-up API keys take no memory, known ones no more than they did at first."""
    by_api_key = IdentifyByApiKey(KEYS, address=ClientAddress())
    for n in range(1_000):
        by_api_key(scope((b"x-api-key", b"made up %d" % n)) | {"client": (f"192.0.2.{n % 250}", 1)})
        by_api_key(scope((b"x-api-key", b"sk_acme")) | {"client": (f"192.0.2.{n % 250}", 1)})
    assert len(by_api_key._known) == len(KEYS)
    assert len(by_api_key._lines[b"x-api-key"]) == 1


def test_a_key_in_any_number_of_forms_takes_bounded_memory() -> None:
    """Basic takes any password, so that who has a key has lines without number: of so many a few are remembered."""
    by_api_key = IdentifyByApiKey(KEYS, address=ClientAddress())
    lines = by_api_key._lines[b"authorization"]
    remembered = set()
    for n in range(1_000):
        assert by_api_key(scope((b"authorization", basic(b"sk_acme:%d" % n)))).organization == "acme"
        remembered.add(len(lines))
    assert remembered == set(range(1, 2 * len(KEYS) + MORE_LINES + 1))


def test_what_is_remembered_of_lines_is_no_secret() -> None:
    """Neither the line nor the API key in it, nor what could be compared with the SHA-256 that a policy has of it."""
    by_api_key = IdentifyByApiKey(KEYS, address=ClientAddress())
    by_api_key(scope((b"authorization", b"Bearer sk_acme")))
    (remembered,) = by_api_key._lines[b"authorization"]
    assert b"sk_acme" not in remembered
    assert remembered != hashlib.sha256(b"sk_acme").digest()


def test_a_line_says_what_it_says_in_its_header() -> None:
    """The same bytes in another header are another line; the same header in another spelling is the same."""
    keys = {hash_api_key("Bearer a"): ACME, hash_api_key("a"): GLOBEX}
    by_api_key = IdentifyByApiKey(keys, address=ClientAddress())
    for _ in range(2):
        for name, organization in ((b"authorization", "globex"), (b"x-api-key", "acme"), (b"X_Api-KEY", None)):
            assert by_api_key(scope((name, b"Bearer a"))).organization == organization
    assert by_api_key(scope((b"X_API-KEY", b"Bearer a"))) is by_api_key(scope((b"x-api-key", b"Bearer a")))


def test_two_callers_in_one_line_are_refused_each_time() -> None:
    """What is remembered of a line is never that somebody was refused."""
    by_api_key = IdentifyByApiKey(KEYS, address=ClientAddress())
    for _ in range(3):
        assert told(by_api_key, (b"authorization", basic(b"sk_acme:sk_globex"))) == "invalid_request"


def test_what_was_asked_makes_no_difference() -> None:
    """Two of the same keys and settings are equal, also after one of them was asked: so reloads tell what is edited."""
    address = ClientAddress()
    by_api_key, other = (IdentifyByApiKey(KEYS, address=address) for _ in range(2))
    by_api_key(scope((b"x-api-key", b"sk_acme")))
    assert by_api_key == other
    assert address == ClientAddress()
    assert repr(by_api_key) == repr(other)


def test_the_same_object_again() -> None:
    """A known caller at the address of before is the same object, by which the policy knows its charges again."""
    by_api_key = IdentifyByApiKey(KEYS, address=ClientAddress())
    for line in (
        (b"x-api-key", b"sk_acme"),
        (b"authorization", b"Bearer sk_acme"),
        (b"authorization", b"bearer sk_acme "),
    ):
        assert by_api_key(scope(line)) is by_api_key(scope(line))


class Counted:
    """Addresses of a user's own."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, scope: Any) -> str:
        self.asked += 1
        return f"192.0.2.{self.asked}"

    def method(self, scope: Any) -> str:
        return self(scope)


@pytest.mark.parametrize("of", [lambda own: own, lambda own: own.method, lambda own: lambda scope: own(scope)])
def test_an_address_of_ones_own(of: Any) -> None:
    """It may be anything that can be called, and is asked with each request."""
    by_api_key = IdentifyByApiKey(KEYS, address=of(Counted()))
    assert [by_api_key(scope((b"x-api-key", b"sk_acme"))).ip for _ in range(2)] == ["192.0.2.1", "192.0.2.2"]
    assert by_api_key(scope()).ip == "192.0.2.3"


def test_an_address_that_takes_no_object() -> None:
    """A static `__call__` is called with the scope alone."""

    class Static:
        @staticmethod
        def __call__(scope: Any) -> str:
            return "192.0.2.7"

    assert IdentifyByApiKey(KEYS, address=Static())(scope()).ip == "192.0.2.7"


def test_an_identity_can_be_copied_and_sent_elsewhere() -> None:
    """To a queue or another process, with attributes or without; who made none can't give everybody some."""
    for identity in (ACME, NOBODY):
        assert copy.deepcopy(identity) == pickle.loads(pickle.dumps(identity)) == identity  # noqa: S301 - our own
    with pytest.raises(TypeError):
        NOBODY.attributes["registers"] = 3  # type: ignore[index]


def test_the_repr_of_an_identity() -> None:
    """It shows everything but the API key, of which not even the hash is anybody's business."""
    assert repr(ACME._replace(api_key="5e88")) == (
        "Identity(organization='acme', user='ana', application='till', ip=None, tier='retail', "
        "attributes={'registers': 3})"
    )


def test_a_key_in_clear_is_refused_and_not_repeated() -> None:
    """An API key where its SHA-256 belongs is an error, and neither the error nor a repr shows it."""
    with pytest.raises(ValueError, match=r"keys\[1\] is no SHA-256") as raised:
        IdentifyByApiKey({hash_api_key("a"): ACME, "sk_acme": ACME}, address=ClientAddress())
    assert "sk_acme" not in str(raised.value)
    assert hash_api_key("sk_acme") not in repr(IdentifyByApiKey(KEYS, address=ClientAddress()))


def test_one_hash_twice_is_refused() -> None:
    """One API key can't stand for two callers."""
    digest = hash_api_key("a")
    with pytest.raises(ValueError, match=r"keys\[1\] is there twice"):
        IdentifyByApiKey({digest: ACME, digest.upper(): GLOBEX}, address=ClientAddress())


@pytest.mark.parametrize("source", ["Bearer", "cookie", "header:", "header:X API", "header:é", "", None, 1])
def test_wrong_sources(source: Any) -> None:
    """A source that can't be read is a ValueError that says which there are."""
    with pytest.raises(ValueError, match=r'allowed are "bearer", "basic" and.*"header:X-API-Key"'):
        identify(sources=(source,))


def test_sources_as_a_text() -> None:
    """A text instead of a list is not taken for a list of letters."""
    with pytest.raises(ValueError, match="is the text 'bearer'; it must be a list"):
        identify(sources="bearer")


@given(st.sampled_from([b"", b"Bearer ", b"Basic ", b"basic "]), st.binary(max_size=50))
def test_no_header_raises(scheme: bytes, value: bytes) -> None:
    """Any bytes that are no known API key are anonymous."""
    assert identify((b"authorization", scheme + value), (b"x-api-key", value)) == NOBODY


def test_identify_user_without_a_user() -> None:
    """Without an authenticated user the policy's own identification applies."""
    by_user = identify_user(lambda user, auth: pytest.fail("called without a user"))
    assert by_user(scope()) is None
    assert by_user(scope() | {"user": None}) is None
    assert by_user(scope() | {"user": SimpleNamespace(is_authenticated=False)}) is None


def test_identify_user_with_a_user() -> None:
    """The user and the auth of the authentication in front make the identity, also a user of a plain class."""
    by_user = identify_user(lambda user, auth: Identity(user=user.name, tier=auth))
    user = SimpleNamespace(is_authenticated=True, name="ana")
    assert by_user(scope() | {"user": user, "auth": "basic"}) == Identity(user="ana", tier="basic")
    assert by_user(scope() | {"user": SimpleNamespace(name="ben")}) == Identity(user="ben")


def test_identify_user_async() -> None:
    """What makes the identity may be async: its awaitable is handed on."""

    async def to_identity(user: Any, auth: Any) -> Identity:
        return Identity(user=user.name)

    pending = identify_user(to_identity)(scope() | {"user": SimpleNamespace(name="ana")})
    assert asyncio.run(pending) == Identity(user="ana")  # type: ignore[arg-type]


def test_identify_user_behind_starlette() -> None:
    """Behind Starlette's AuthenticationMiddleware its users are known, and its unauthenticated ones are not."""

    class ByHeader(AuthenticationBackend):
        async def authenticate(self, conn: Any) -> tuple[AuthCredentials, SimpleUser] | None:
            name = conn.headers.get("x-user")
            return None if name is None else (AuthCredentials(["read"]), SimpleUser(name))

    seen: list[Any] = []
    by_user = identify_user(lambda user, auth: Identity(user=user.username, tier=auth.scopes[0]))

    class Spy:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            seen.append(by_user(scope))
            await self.app(scope, receive, send)

    app = Starlette(middleware=[Middleware(AuthenticationMiddleware, backend=ByHeader()), Middleware(Spy)])
    client = TestClient(app)
    client.get("/", headers={"x-user": "ana"})
    client.get("/")
    assert seen == [Identity(user="ana", tier="read"), None]
