"""slowapi: its pure ASGI middleware; both limits for the whole app, since its default ones count by concrete URL.

Its log of time stamps for both, for there is one algorithm for all. With BENCH_HEADERS it writes its headers.
"""

from __future__ import annotations

from typing import Any

from by_hand import HEADERS, LONG, RATE, REDIS_URL
from plain import fastapi_app, starlette_app
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIASGIMiddleware
from starlette.requests import Request


def api_key(request: Request) -> str:
    return request.headers["x-api-key"]


def limited(app: Any) -> Any:
    app.state.limiter = Limiter(
        key_func=api_key,
        application_limits=[f"{RATE}/minute", f"{LONG}/month"],
        storage_uri=REDIS_URL,
        strategy="moving-window",
        headers_enabled=HEADERS,
    )
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
    app.add_middleware(SlowAPIASGIMiddleware)
    return app


in_fastapi = limited(fastapi_app())
in_starlette = limited(starlette_app())
