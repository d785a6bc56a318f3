"""One of the floors of benchmarks/floors.py: what no limiter can be faster than. BENCH_FLOOR is its name."""

from __future__ import annotations

import os

from by_hand import REDIS_URL
from plain import fastapi_app, starlette_app

from benchmarks.floors import floor

name = os.environ["BENCH_FLOOR"]
in_fastapi = floor(name, fastapi_app(), REDIS_URL)
in_starlette = floor(name, starlette_app(), REDIS_URL)
