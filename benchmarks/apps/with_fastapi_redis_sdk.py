"""fastapi-redis-sdk: two of its dependencies with a scope each; fixed windows, the one algorithm that it has."""

from __future__ import annotations

from by_hand import LONG, RATE, REDIS_URL
from fastapi import Depends
from plain import fastapi_app
from redis_fastapi import FastAPIRedis, get_settings, rate_limit
from starlette.requests import Request

get_settings().url = REDIS_URL


def api_key(request: Request) -> str:
    return request.headers["x-api-key"]


in_fastapi = fastapi_app(
    [
        Depends(rate_limit(f"{RATE}/minute", scope="minute", identifier=api_key)),
        Depends(rate_limit((LONG, 31 * 86_400), scope="month", identifier=api_key)),
    ]
)
FastAPIRedis(in_fastapi).lifespan().rate_limiting()
