"""A limit that an endpoint declares is the control's too: by its name, though no tier of the file has it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from ratelimit import MemoryStore, RateLimitMiddleware, operation, parse_policy
from ratelimit.fastapi import RateLimit, limit
from tests.acceptance import T

PLAIN = '[tiers.anonymous]\nlimits = [{ name = "requests", rate = "60/minute", refund_on = ["5xx"] }]'


def made() -> Any:
    app = FastAPI()

    @app.post("/completions", dependencies=[Depends(limit("100/minute", name="tokens", hold=True, cost=0))])
    async def completions(rate_limit: RateLimit, units: int) -> dict[str, int]:
        async with rate_limit.hold(units, limit="tokens") as held:
            held.settle(units // 2)
        return rate_limit.left()

    @app.post("/login", dependencies=[Depends(limit("2/minute", name="logins", charge_on=["401"]))])
    async def login() -> dict[str, int]:
        return {}

    @app.post("/batch", status_code=500)
    @operation("heavy_write", units=7)
    async def batch(rate_limit: RateLimit) -> dict[str, int]:
        return rate_limit.left()

    @app.post("/refunded")
    @operation("heavy_write", units=7)
    async def refunded(rate_limit: RateLimit) -> dict[str, int]:
        await rate_limit.refund(3)
        return rate_limit.left()

    store = MemoryStore(clock=lambda: T)
    app.add_middleware(RateLimitMiddleware, policy=parse_policy(PLAIN, "declared"), store=store)
    return TestClient(app)


def test_hold() -> None:
    """What does not fit is denied, with the tier's limits in the answer."""
    client = made()
    assert client.post("/completions?units=80").json() == {"requests": 59, "tokens": 60}
    answer = client.post("/completions?units=61")
    assert answer.status_code == 429
    assert answer.json()["violated-policies"] == ["tokens"]
    assert '"requests";r=58' in answer.headers["ratelimit"]


def test_charge_on() -> None:
    """Right passwords don't count."""
    client = made()
    for _ in range(5):
        assert client.post("/login").status_code == 200


def test_units() -> None:
    """What goes back is what was taken: all units of the request, or so many of them."""
    client = made()
    assert client.post("/batch").json() == {"requests": 53}
    assert client.post("/refunded").json() == {"requests": 56}


@pytest.mark.parametrize("name", ["tokens", "logins"])
def test_elsewhere(name: str) -> None:
    """It is of its own endpoints."""
    app = FastAPI()

    @app.get("/")
    async def root(rate_limit: RateLimit) -> None:
        with pytest.raises(LookupError, match=rf'^there is no limit "{name}"; this caller has "requests"$'):
            await rate_limit.charge(1, limit=name)

    app.add_middleware(RateLimitMiddleware, policy=parse_policy(PLAIN, "declared"), store=MemoryStore())
    assert TestClient(app).get("/").status_code == 200
