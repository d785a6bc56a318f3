"""What a line of a log asks for."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ratelimit import operation, parse_policy
from ratelimit.model import Readings
from ratelimit.simulate.deciding.calls import LONGEST, Operations, scope_of

POLICY = """
[operations]
exempt = ["GET /health", "OPTIONS /open"]
heavy_write = ["POST /v2/invoices"]
preflights = ["OPTIONS /shut"]
[tiers.anonymous]
limits = []
"""


@pytest.mark.parametrize(
    ("call", "status", "found"),
    [
        (b"GET /v2/invoices", 200, "search"),
        (b"GET /v2/invoices/17", 200, "detail_read"),
        (b"POST /v2/invoices", 201, "heavy_write"),
        (b"POST /V2/Invoices", 201, "heavy_write"),
        (b"POST /v2/%69nvoices", 201, "heavy_write"),
        (b"GET /health", 200, None),
        (b"GET /socket", 101, "connect"),
        (b"OPTIONS /x", 204, None),
        (b"OPTIONS /shut", 204, "preflights"),
        (b"POST https://api.example.com/v2/invoices", 201, "heavy_write"),
        (b"GET https://api.example.com", 201, "search"),
        (b"GET /proxy/http://x", 201, "search"),
        (b"GET \xff\xfe", 400, "search"),
        (b"GET /" + b"x" * LONGEST, 200, "search"),
    ],
)
def test_operations(call: bytes, status: int, found: str | None) -> None:
    """By the rules of the policy, and by shape; the same once more."""
    operations = Operations(parse_policy(POLICY))
    assert [operations.of(call, status) for _ in range(3)] == [found] * 3


def test_what_is_read_in_two_ways() -> None:
    """It is both, as to the middleware."""
    found = Operations(parse_policy(POLICY)).of(b"POST /v2/x/%2e%2e/invoices", 200)
    assert isinstance(found, Readings)
    assert set(found.operations) == {"create", "heavy_write"}


def test_preflights_are_told() -> None:
    """A log has no headers, so that what is taken for a preflight is counted."""
    operations = Operations(parse_policy(POLICY))
    for _ in range(2):
        operations.of(b"OPTIONS /x", 204)
    assert operations.facts() == {"preflights": 2, "computed": 0}


def test_an_older_call_is_still_known() -> None:
    """What was pushed out of the newer half of what is remembered is found in the older one."""
    operations = Operations(parse_policy(POLICY))
    assert operations.of(b"GET /v2/invoices", 200) == "search"
    operations._known._old, operations._known.young = operations._known.young, {}
    assert operations.of(b"GET /v2/invoices", 200) == "search"


def test_recorded() -> None:
    """What a log of our own says is taken as it is, with its units."""
    operations = Operations(parse_policy(POLICY))
    assert operations.said((None, 1)) is None
    assert operations.said(("search", 1)) == "search"
    both: Any = operations.said(("create·heavy_write", 1))
    assert both.operations == ("create", "heavy_write")
    many: Any = operations.said(("search", 5))
    assert (many.operations, many.units) == (("search",), 5)
    assert operations.said(("search", 5)) is many


def test_of_an_app() -> None:
    """Its routes, and what is said at its endpoints, count; units that it computes are told."""

    @operation("exports", units=lambda request: 7)
    async def export(request: Request) -> Response:
        return Response()

    @operation("reports", units=3)
    async def report(request: Request) -> Response:
        return Response()

    app = Starlette(routes=[Route("/export", export), Route("/{slug}", report)])
    operations = Operations(parse_policy(POLICY), app)
    computed: Any = operations.of(b"GET /export", 200)
    fixed: Any = operations.of(b"GET /other", 200)
    assert (computed.operations, computed.units) == (("exports",), 1)
    assert (fixed.operations, fixed.units) == (("reports",), 3)
    assert operations.facts()["computed"] == 1


def test_scope() -> None:
    """It is what uvicorn makes of a request line."""
    scope = scope_of(b"GET /a%20b")
    assert (scope["path"], scope["raw_path"], scope["method"]) == ("/a b", b"/a%20b", "GET")
    assert "method" not in scope_of(b"GET /", "websocket")
