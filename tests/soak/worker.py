"""The app of the worker processes of the soak. It says at /inside what it has: memory, tasks, open files."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ratelimit import RateLimitMiddleware, parse_policy
from tests.faults.worker import Timed

logging.getLogger("ratelimit").addHandler(logging.NullHandler())

PAGES = os.sysconf("SC_PAGE_SIZE") // 1024  # KiB


async def endpoint(request: Request) -> Response:
    request.scope["reached"].append(0.0)
    await asyncio.sleep(random.uniform(0, 0.02))  # a slot is held for a while
    return PlainTextResponse("here you are")


async def health(_: Request) -> Response:
    return PlainTextResponse("here I am")


async def inside(_: Request) -> Response:
    return JSONResponse({"memory_kib": memory_kib(), "tasks": len(asyncio.all_tasks()), "files": files()})


def memory_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGES


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) - 1  # without that of the look itself


limited = Starlette(routes=[Route("/health", health), Route("/inside", inside), Route("/{anything}", endpoint)])
limited.add_middleware(RateLimitMiddleware, policy=parse_policy(os.environ["RATELIMIT_TEST_POLICY"], "soak"))
app = Timed(limited)
