"""asgi-ratelimit: its middleware; its log of time stamps (the sliding backend) for both limits, in one script."""

from __future__ import annotations

from typing import Any

from by_hand import LONG, RATE, REDIS_URL, api_key
from plain import fastapi_app, starlette_app
from ratelimit.backends.slidingredis import SlidingRedisBackend
from redis.asyncio import StrictRedis

from ratelimit import RateLimitMiddleware, Rule


async def authenticate(scope: Any) -> tuple[str, str]:
    return api_key(scope), "default"


def limited(app: Any) -> Any:
    app.add_middleware(
        RateLimitMiddleware,
        authenticate=authenticate,
        backend=SlidingRedisBackend(StrictRedis.from_url(REDIS_URL)),
        config={"^/": [Rule(minute=RATE, month=LONG, zone="api")]},  # a zone: otherwise it counts by concrete URL
    )
    return app


in_fastapi = limited(fastapi_app())
in_starlette = limited(starlette_app())
