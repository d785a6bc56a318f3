"""limits, by hand: its asyncio storage on redis-py; a log of time stamps for the rate, a fixed window for the month."""

from __future__ import annotations

from by_hand import HEADERS, LONG, RATE, REDIS_URL, Headers, Limited, told
from limits import RateLimitItemPerMinute, RateLimitItemPerMonth
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
from plain import fastapi_app, starlette_app

storage = RedisStorage(f"async+{REDIS_URL}", implementation="redispy")
moving, fixed = MovingWindowRateLimiter(storage), FixedWindowRateLimiter(storage)
a_minute, a_month = RateLimitItemPerMinute(RATE), RateLimitItemPerMonth(LONG)


async def allow(api_key: str) -> Headers | None:
    if not (await moving.hit(a_minute, api_key) and await fixed.hit(a_month, api_key)):
        return None
    if not HEADERS:
        return []
    stats = await moving.get_window_stats(a_minute, api_key)
    return told(RATE, stats.remaining, stats.reset_time)


in_fastapi = fastapi_app()
in_fastapi.add_middleware(Limited, allow=allow)
in_starlette = starlette_app()
in_starlette.add_middleware(Limited, allow=allow)
