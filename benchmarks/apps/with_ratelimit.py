"""ratelimit, as its README says: the middleware, a policy; the store is that of RATELIMIT_STORE_URL.

With BENCH_STYLE each response has the headers of that style. Without it allowed ones have none, as most peers'.
"""

from __future__ import annotations

import os

from plain import fastapi_app, starlette_app

from benchmarks import policy
from ratelimit import RateLimitMiddleware, parse_policy

limits = parse_policy(
    policy.text(
        rate=int(os.environ.get("BENCH_RATE", policy.RATE)),
        long=int(os.environ.get("BENCH_LONG", policy.LONG)),
        style=os.environ.get("BENCH_STYLE", "lendworks"),
        reserve=bool(os.environ.get("BENCH_RESERVE")),
    )
)


class Silent:
    """The policy's own style, without headers on allowed responses."""

    log_id_header = None
    denied = staticmethod(limits.style.denied)
    unavailable = staticmethod(limits.style.unavailable)

    @staticmethod
    def headers(*_: object) -> list[tuple[bytes, bytes]]:
        return []


style = None if "BENCH_STYLE" in os.environ else Silent()
in_fastapi = fastapi_app()
in_fastapi.add_middleware(RateLimitMiddleware, policy=limits, style=style)
in_starlette = starlette_app()
in_starlette.add_middleware(RateLimitMiddleware, policy=limits, style=style)
