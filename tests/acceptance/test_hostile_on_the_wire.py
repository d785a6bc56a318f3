"""What a server lets through of a hostile request: bytes on a socket of each."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ratelimit import RateLimitMiddleware
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import ANA, policy
from tests.acceptance.serving import SERVERS, served_by

TRUST = '[identity]\ntrusted_proxies = ["127.0.0.1"]'
AS_ANA = b"Authorization: Bearer " + ANA.encode()
PROXIED = b"X-Forwarded-For: 192.0.2.7"
LARGE = b"x" * 60_000


async def who(request: Request) -> Response:
    return PlainTextResponse(request.scope["ratelimit"].states[0].charge.key.partition(":")[0])


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    app = Starlette(routes=[Route("/{path:path}", who, methods=["GET", "POST", "PUT"])])
    limits = '{ name = "requests", rate = "100000/minute" }'
    generous = policy(limits, TRUST, anonymous="100000/minute")
    app.add_middleware(RateLimitMiddleware, generous, store=MemoryStore())
    with served_by(request.param, app) as url:
        yield int(url.rpartition(":")[2])


def asked(port: int, *lines: bytes, first: bytes = b"GET /a HTTP/1.1") -> tuple[int, str]:
    """Status and body of what the server answers to these lines; 0 where it only hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            connection.sendall(b"\r\n".join([first, b"Host: a", b"Connection: close", *lines, b"", b""]))
            seen = b""
            while piece := connection.recv(65_536):
                seen += piece
        except ConnectionError:  # it has answered before it was sent all
            return 0, ""
    head, _, body = seen.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body.decode()


KNOWN, CALLER, PEER = "{user=ana}", "{ip=192.0.2.7}", "{ip=127.0.0.1}"
REFUSED = 400  # by the server itself, before there is a request


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([AS_ANA], {KNOWN}),
        ([b"Authorization: Bearer x", AS_ANA], {KNOWN}),
        ([AS_ANA, b"AUTHORIZATION: Bearer x"], {KNOWN}),
        ([b"authorization:\t Bearer  " + ANA.encode() + b" \t"], {KNOWN}),
        ([b"Authorization: Bearer \xff\xfe\xe9", PROXIED], {CALLER}),
        ([b"Authorization: Bearer \x01\x1b[2J", PROXIED], {CALLER, REFUSED}),
        ([b"Authorization: Bearer \x00", PROXIED], {CALLER, REFUSED}),
        ([b"Authorization: Bearer", b" " + ANA.encode(), PROXIED], {KNOWN, CALLER, REFUSED}),  # a folded line
        ([b"Authorization : Bearer " + ANA.encode(), PROXIED], {CALLER, REFUSED}),
        ([b"X-Forwarded-For : 203.0.113.9", PROXIED], {CALLER, REFUSED}),
        ([b"X_Forwarded_For: 203.0.113.9", PROXIED], {CALLER}),
        ([b"X-Forwarded-For: 203.0.113.9", PROXIED], {CALLER}),
        ([b"X-Forwarded-For: 203.0.113.9", PROXIED, b"Forwarded: for=203.0.113.10"], {CALLER}),
        ([b"X-Forwarded-For: \xff, 192.0.2.7"], {CALLER}),
        ([b"X-Forwarded-For: 192.0.2.7, \xff"], {PEER}),
        ([b"X-Forwarded-For: " + b"1.1.1.1," * 7_000 + b"192.0.2.7"], {CALLER, REFUSED}),
        ([b"X-Forwarded-For: " + b"," * 55_000 + b"192.0.2.7"], {CALLER, REFUSED}),
        ([b"X-Forwarded-For: 1.1.1.1"] * 2_000 + [PROXIED], {CALLER, REFUSED}),
        ([b"X-Forwarded-For:"] * 3_000 + [PROXIED], {CALLER, REFUSED}),
        ([b"Authorization: Bearer " + LARGE, PROXIED], {CALLER, REFUSED}),
        ([b"Authorization: Basic " + LARGE, PROXIED], {CALLER, REFUSED}),
        ([b"X-" + LARGE + b": 1", PROXIED], {CALLER, REFUSED}),
    ],
    ids=range(22),
)
def test_headers(port: int, lines: list[bytes], expected: set[str | int]) -> None:
    """The server refuses it, or the caller is who it is; and nobody is ever told of an error of ours."""
    status, body = asked(port, *lines)
    assert (body if status == 200 else status or REFUSED) in {*expected, *([431] if REFUSED in expected else [])}


@pytest.mark.parametrize(
    "first",
    [
        b"GET " + b"/a" * 29_000 + b" HTTP/1.1",
        b"GET /" + b"7" * 59_000 + b" HTTP/1.1",
        b"GET /%00%0a%0D%1b%ff%c3%28 HTTP/1.1",
        b"GET /a%2F..%2Fb//;x=1?%zz HTTP/1.1",
        b"GET /%zz%4 HTTP/1.1",
        b"GET /\xff\xfe HTTP/1.1",
        b"GET http://other/a HTTP/1.1",
        b"GET * HTTP/1.1",
        b"get /a HTTP/1.1",
        b"G" * 9_000 + b" /a HTTP/1.1",
        b"G\x00T /a HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET /a HTTP/9.9",
    ],
    ids=range(13),
)
def test_request_lines(port: int, first: bytes) -> None:
    """Any path and any method that a server lets through is limited like any other, and none is a 500."""
    status, body = asked(port, PROXIED, first=first)
    assert status in (200, 400, 404, 405)
    assert status != 200 or body == CALLER
    assert asked(port, PROXIED) == (200, CALLER)
