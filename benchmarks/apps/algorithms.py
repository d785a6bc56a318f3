"""One limit of one caller by each algorithm of each library, without a server in front: the rest is the same for all.

Each function gets a Redis URL, a limit and its window in seconds, 1 or 60, which every library can say, and returns
what asks for one request. Imports are within: a library is only there in its own environment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

Allow = Callable[[], Awaitable[bool]]
CALLER = "acme"


async def ratelimit(url: str, limit: int, seconds: int, *, options: str = "") -> Allow:
    """Ours, the whole middleware: what is asked for is a request, and it was allowed if the app was called."""
    from ratelimit import Identity, RateLimitMiddleware, parse_policy

    async def app(scope: Any, *_: Any) -> None:
        scope["admitted"].append(1)  # each request has a list of its own: several are under way

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(_: Any) -> None:
        pass

    tier = f'[ {{ name = "requests", rate = "{limit}/{seconds} seconds"{options} }} ]'
    limited = RateLimitMiddleware(
        app,
        parse_policy(f"[tiers.anonymous]\nlimits = {tier}\n[tiers.known]\nlimits = {tier}\n"),
        store=url,
        identify=lambda _: Identity(organization=CALLER, tier="known"),
    )
    request = {"type": "http", "method": "GET", "path": "/items/1", "headers": [], "client": ("192.0.2.1", 1)}

    async def allow() -> bool:
        admitted: list[int] = []
        await limited({**request, "admitted": admitted}, receive, send)
        return bool(admitted)

    return allow


async def limits(url: str, limit: int, seconds: int, *, algorithm: str) -> Allow:
    from limits import RateLimitItemPerSecond
    from limits.aio import strategies
    from limits.aio.storage import RedisStorage

    limiter = getattr(strategies, algorithm)(RedisStorage(f"async+{url}", implementation="redispy"))
    return partial(limiter.hit, RateLimitItemPerSecond(limit, seconds), CALLER)


async def throttled(url: str, limit: int, seconds: int, *, algorithm: str) -> Allow:
    from throttled.asyncio import RateLimiterType, RedisStore, Throttled, rate_limiter

    limiter = Throttled(
        using=RateLimiterType[algorithm].value,
        quota=rate_limiter.per_duration(timedelta(seconds=seconds), limit),
        store=RedisStore(server=url),
        timeout=-1,
    )

    async def allow() -> bool:
        return not (await limiter.limit(CALLER)).limited

    return allow


async def asgi_ratelimit(url: str, limit: int, seconds: int, *, algorithm: str) -> Allow:
    from importlib import import_module

    from redis.asyncio import StrictRedis

    from ratelimit import Rule

    module, name = {"log": ("slidingredis", "SlidingRedisBackend"), "fixed": ("redis", "RedisBackend")}[algorithm]
    store = getattr(import_module(f"ratelimit.backends.{module}"), name)(StrictRedis.from_url(url))
    rule = Rule(**{{1: "second", 60: "minute"}[seconds]: limit})

    async def allow() -> bool:
        return not await store.retry_after("/", CALLER, rule)

    return allow


async def fastapi_redis_sdk(url: str, limit: int, seconds: int) -> Allow:
    from redis.asyncio import Redis
    from redis_fastapi.ratelimit_backend import RateLimitBackend

    limiter = RateLimitBackend(Redis.from_url(url))

    async def allow() -> bool:
        return bool((await limiter.hit(CALLER, limit=limit, window=seconds)).allowed)

    return allow


async def pyrate_limiter(url: str, limit: int, seconds: int) -> Allow:
    """What fastapi-limiter asks."""
    from pyrate_limiter import Limiter, Rate, RedisBucket
    from redis.asyncio import Redis

    rates = [Rate(limit, seconds * 1_000)]
    limiter = Limiter(await RedisBucket.init(rates, Redis.from_url(url), CALLER))
    return partial(limiter.try_acquire_async, CALLER, blocking=False)


ALGORITHMS: dict[str, Callable[[str, int, int], Awaitable[Allow]]] = {
    "ratelimit": ratelimit,
    "ratelimit, reserve": partial(ratelimit, options=", reserve = true"),
    "ratelimit, reserve, 10 sub-windows": partial(ratelimit, options=", reserve = true, precision = 10"),
    "limits, log": partial(limits, algorithm="MovingWindowRateLimiter"),
    "limits, fixed window": partial(limits, algorithm="FixedWindowRateLimiter"),
    "limits, two windows": partial(limits, algorithm="SlidingWindowCounterRateLimiter"),
    "throttled-py, two windows": partial(throttled, algorithm="SLIDING_WINDOW"),
    "throttled-py, fixed window": partial(throttled, algorithm="FIXED_WINDOW"),
    "throttled-py, GCRA": partial(throttled, algorithm="GCRA"),
    "throttled-py, token bucket": partial(throttled, algorithm="TOKEN_BUCKET"),
    "throttled-py, leaking bucket": partial(throttled, algorithm="LEAKING_BUCKET"),
    "asgi-ratelimit, log": partial(asgi_ratelimit, algorithm="log"),
    "asgi-ratelimit, fixed window": partial(asgi_ratelimit, algorithm="fixed"),
    "fastapi-redis-sdk, fixed window": fastapi_redis_sdk,
    "fastapi-limiter, log": pyrate_limiter,
}
