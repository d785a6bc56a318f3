"""The app of the worker processes that tests start. Its policy is in RATELIMIT_TEST_POLICY."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ratelimit import RateLimitMiddleware, parse_policy


async def endpoint(request: Request) -> Response:
    return PlainTextResponse(str(os.getpid()))


app = Starlette(routes=[Route("/health", endpoint), Route("/{anything}", endpoint)])
app.add_middleware(RateLimitMiddleware, policy=parse_policy(os.environ["RATELIMIT_TEST_POLICY"], "worker"))
