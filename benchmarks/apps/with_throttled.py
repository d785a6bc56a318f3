"""throttled-py, by hand: its asyncio store; sliding window (two counters) for the rate, a fixed one for the month."""

from __future__ import annotations

from datetime import timedelta

from by_hand import HEADERS, LONG, RATE, REDIS_URL, Headers, Limited, told
from plain import fastapi_app, starlette_app
from throttled.asyncio import RateLimiterType, RedisStore, Throttled, rate_limiter

store = RedisStore(server=REDIS_URL)
a_minute = Throttled(
    using=RateLimiterType.SLIDING_WINDOW.value, quota=rate_limiter.per_min(RATE), store=store, timeout=-1
)
a_month = Throttled(
    using=RateLimiterType.FIXED_WINDOW.value,
    quota=rate_limiter.per_duration(timedelta(days=31), LONG),
    store=store,
    timeout=-1,
)


async def allow(api_key: str) -> Headers | None:
    minute = await a_minute.limit(api_key)
    if minute.limited or (await a_month.limit(api_key)).limited:
        return None
    return told(minute.state.limit, minute.state.remaining, minute.state.reset_after) if HEADERS else []


in_fastapi = fastapi_app()
in_fastapi.add_middleware(Limited, allow=allow)
in_starlette = starlette_app()
in_starlette.add_middleware(Limited, allow=allow)
