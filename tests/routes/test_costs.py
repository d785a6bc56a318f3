"""The list by route of a policy in which an operation costs more than another."""

from __future__ import annotations

import logging

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from ratelimit import MemoryStore, RateLimitMiddleware, parse_policy, routes_of

POLICY = parse_policy(
    """
[tiers.anonymous]
limits = [
  { name = "requests", rate = "60/minute", cost = { search = 5 } },
  { name = "created", rate = "20/minute", operations = ["create"] },
]
""",
    "costs",
)


async def things() -> None: ...


def test_costs_by_operation(caplog: pytest.LogCaptureFixture) -> None:
    """It is there, and at the start nothing is said of it but the routes."""
    app = FastAPI()
    app.add_api_route("/things", things, methods=["GET"])
    app.add_api_route("/things", things, methods=["POST"])
    rows = [row for row in routes_of(app, POLICY) if row.path == "/things"]
    names = [[limit.name for limit in row.limits["anonymous"]] for row in rows]
    assert names == [["requests"], ["requests", "created"]]
    app.add_middleware(RateLimitMiddleware, policy=POLICY, store=MemoryStore())
    caplog.set_level(logging.DEBUG, "ratelimit")
    assert TestClient(app).get("/things").status_code == 200
    assert not [record for record in caplog.records if record.exc_info or "can't be told" in record.getMessage()]
