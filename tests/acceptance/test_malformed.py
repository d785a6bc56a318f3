"""A scope that is not as ASGI has it is answered or is a clear error, and never a free pass."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.identity import IdentifyByApiKey
from ratelimit.model import Scope
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import T, ask, names, plain

POLICY = parse_policy("""
[operations]
exempt = ["GET /health"]
heavy_write = ["POST /v2/invoices"]
[tiers.anonymous]
limits = [ { name = "ip", rate = "1/minute", cost = { heavy_write = 1 } } ]
""")
GOOD: Scope = {
    "type": "http",
    "method": "POST",
    "path": "/v2/invoices",
    "headers": [(b"host", b"x")],
    "client": ("192.0.2.7", 50_000),
}


def changed(**fields: Any) -> Scope:
    return {name: value for name, value in (GOOD | fields).items() if value is not ...}


def asked(*scopes: Scope) -> list[int]:
    """The statuses of requests in turn; the limit lets one of a caller through."""
    app = RateLimitMiddleware(plain, POLICY, store=MemoryStore(clock=lambda: T))

    async def turn() -> list[int]:
        return [(await ask(app, scope=dict(scope)))[0]["status"] for scope in scopes]

    return asyncio.run(turn())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": ...}, "a request without path"),
        ({"path": None}, "a request without path"),
        ({"path": b"/v2/invoices"}, "the path of a request is of type bytes and must be a str"),
        ({"path": 7}, "the path of a request is of type int"),
        ({"method": None}, "a request without method"),
        ({"method": b"POST"}, "the method of a request is of type bytes"),
        ({"method": 5}, "the method of a request is of type int"),
        ({"method": ["GET"]}, "the method of a request is of type list"),
        ({"root_path": 5}, "the root_path of a request is of type int"),
        ({"method": "OPTIONS", "headers": ...}, "a request without a list of headers"),
        ({"method": "OPTIONS", "headers": None}, "a request without a list of headers"),
        ({"method": "OPTIONS", "headers": [(b"origin",)]}, "a header of a request is no pair of bytes"),
        ({"client": 5}, "the client of a request is of type int"),
        ({"client": (5, 80)}, "the client of a request is of type tuple"),
        ({"client": {"host": "192.0.2.7"}}, "the client of a request is of type dict"),
    ],
)
def test_errors(fields: dict[str, Any], message: str) -> None:
    """What can't be read is an error that says what is wrong, and who made it so."""
    with pytest.raises(ValueError, match=f"{message}.*the server, or a middleware outside of the limiter"):
        asked(changed(**fields))


@pytest.mark.parametrize(
    "headers",
    [
        *(..., None, 5, [()], [None], [(b"host",)], [(b"x-api-key",)], [5], {b"host": b"x"}, [(b"a", b"b", b"c")]),
        *([(b"x-api-key", None)], [(b"x-api-key", "x")], [(bytearray(b"a"), b"b")]),
    ],
)
def test_headers_that_are_none_pass_nobody(headers: Any) -> None:
    """Headers that can't be read are an error that says so, or the request is counted."""
    try:
        assert asked(*[changed(headers=headers)] * 2) == [200, 429]
    except ValueError as error:
        assert "which is not ASGI" in str(error)  # noqa: PT017 - either will do


def test_errors_of_an_address_are_the_errors_themselves() -> None:
    """What the user's own address raises is not taken for the scope's fault."""
    own = KeyError("mine")

    def address(scope: Scope) -> str:
        raise own

    with pytest.raises(KeyError) as raised:
        IdentifyByApiKey(keys={}, address=address)(GOOD)
    assert raised.value is own


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "post"},
        {"method": "pOsT"},
        {"path": ""},
        {"path": "v2/invoices"},
        {"path": "..", "root_path": "/x"},
        {"path": "\ud800\udcc0"},
        {"root_path": None},
        {"raw_path": 5},
        {"raw_path": None, "path": "/\ufffd"},
        {"method": ...},
        {"headers": [["host", "x"]]},
        {"headers": ()},
        {"client": ...},
        {"client": None},
        {"client": ()},
        {"client": []},
        {"client": ("192.0.2.7",)},
        {"client": ["192.0.2.7", 80]},
        {"client": (None, 80)},
        {"client": ("", 0)},
        {"client": ("not an address", 80)},
    ],
)
def test_answers(fields: dict[str, Any]) -> None:
    """What can be read all the same is counted: the second is denied."""
    assert asked(*[changed(**fields)] * 2) == [200, 429]


@pytest.mark.parametrize("client", ["192.0.2.7", "192.0.2.7:4711", (b"192.0.2.7", 80), b"192.0.2.7"])
def test_odd_clients_are_known_by_their_address(client: Any) -> None:
    """A client that is no pair of a host and a port is the same caller as one that is."""
    assert asked(changed(client=client), GOOD) == [200, 429]


def test_lower_case() -> None:
    """A method in lower case is the method: by the rule of POST, and without a body for HEAD."""
    assert asked(changed(method="get", path="/health"), changed(method="post"), changed(method="post")) == [
        200,
        200,
        429,
    ]

    async def turn() -> list[Any]:
        app = RateLimitMiddleware(plain, POLICY, store=MemoryStore(clock=lambda: T))
        await ask(app, scope=dict(GOOD))
        return await ask(app, scope=changed(method="head"))

    start, body = asyncio.run(turn())
    assert start["status"] == 429
    assert body["body"] == b""
    assert "retry-after" in names(start)


def test_errors_of_others_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that no malformed scope explains stays what it is."""

    def broken(*_: Any) -> None:
        raise LookupError("of something else")

    monkeypatch.setattr("ratelimit.operations.items.Items.operation", broken)
    with pytest.raises(LookupError, match="of something else"):
        asked(changed(method="GET"))
    monkeypatch.setattr("ratelimit.operations.items.Items.operation", lambda *_: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        asked(changed(method="GET"))
