"""fastapi-limiter: its dependency, on pyrate-limiter's Redis bucket; one log of time stamps a caller for both limits.

Out of the box it counts in the process, and all callers together; a factory of buckets by caller is what
the documentation of pyrate-limiter gives for that.
"""

from __future__ import annotations

from time import time_ns

from by_hand import LONG, RATE, REDIS_URL
from fastapi import Depends
from fastapi_limiter.depends import RateLimiter
from plain import fastapi_app
from pyrate_limiter import BucketFactory, Duration, Limiter, Rate, RateItem, RedisBucket
from redis.asyncio import Redis
from starlette.requests import Request

redis = Redis.from_url(REDIS_URL)
MINUTES = 31 * 24 * 60
a_minute, a_month = Rate(RATE, Duration.MINUTE), Rate(LONG, Duration.MINUTE * MINUTES)
if LONG <= RATE:  # it refuses a rate that the other makes pointless
    RATES = [a_month]
elif RATE * MINUTES <= LONG:
    RATES = [a_minute]
else:
    RATES = [a_minute, a_month]


class ByCaller(BucketFactory):
    def __init__(self) -> None:
        self.by_name: dict[str, RedisBucket] = {}

    def wrap_item(self, name: str, weight: int = 1) -> RateItem:
        return RateItem(name, time_ns() // 1_000_000, weight=weight)

    async def get(self, item: RateItem) -> RedisBucket:
        if item.name not in self.by_name:
            bucket = await RedisBucket.init(RATES, redis, f"pyrate:{item.name}")
            self.schedule_leak(bucket)
            self.by_name[item.name] = bucket
        return self.by_name[item.name]


async def api_key(request: Request) -> str:
    return request.headers["x-api-key"]


limiter = RateLimiter(limiter=Limiter(ByCaller()), identifier=api_key)
in_fastapi = fastapi_app([Depends(limiter)])
