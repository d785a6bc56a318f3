"""What users' own tests see of an app that holds units: `ratelimit.testing`."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from ratelimit import RateLimitMiddleware
from ratelimit.fastapi import RateLimit
from ratelimit.testing import assert_denied, assert_left, limited_client
from tests.control import POLICY


def test_denied_from_inside() -> None:
    """It is a denial of its limit as one at the door is, and what is left of the others is told as well."""
    app = FastAPI()

    @app.post("/completions")
    async def completions(rate_limit: RateLimit, units: int) -> None:
        async with rate_limit.hold(units, limit="tokens"):
            pass

    app.add_middleware(RateLimitMiddleware, policy=POLICY, store="redis://127.0.0.1:1")
    with limited_client(app) as client:
        assert_left(client.post("/completions?units=900"), requests=59)
        denied = client.post("/completions?units=101")
        assert_denied(denied, limit="tokens", retry_after=61)
        assert_left(denied, requests=58, tokens=100)
        with pytest.raises(AssertionError, match=r"was denied by \"tokens\", and \"requests\" is not exceeded"):
            assert_denied(denied, limit="requests")
        client.clock.advance("2m")
        assert client.post("/completions?units=1000").status_code == 200
