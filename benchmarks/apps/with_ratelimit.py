"""ratelimit, as its README says: the middleware, a policy; the store is that of RATELIMIT_STORE_URL.

BENCH_STYLE is the style of the headers on allowed responses, or "silent": none, as most peers have it.
"""

from __future__ import annotations

import os
from typing import Any

from plain import fastapi_app, starlette_app

from benchmarks import policy
from benchmarks.limited import DEFAULT_STYLE, limited

style = os.environ.get("BENCH_STYLE", DEFAULT_STYLE)
settings: dict[str, Any] = {
    "rate": int(os.environ.get("BENCH_RATE", policy.RATE)),
    "long": int(os.environ.get("BENCH_LONG", policy.LONG)),
    "limits": int(os.environ.get("BENCH_LIMITS", "2")),
    "reserve": bool(os.environ.get("BENCH_RESERVE")),
}
in_fastapi = limited(fastapi_app(), style, **settings)
in_starlette = limited(starlette_app(), style, **settings)
