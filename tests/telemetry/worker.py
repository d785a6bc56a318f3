"""The app of the processes that tests start: its metrics are scraped at /metrics."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.telemetry.prometheus import Prometheus, metrics_app

POLICY = """
style = "ietf"
[operations]
exempt = ["GET /health", "GET /metrics/**"]
[tiers.anonymous]
limits = [ { name = "ip", rate = "20/hour" } ]
"""


async def endpoint(request: Request) -> Response:
    return PlainTextResponse("here you are")


app = Starlette(routes=[Route("/health", endpoint), Mount("/metrics", metrics_app()), Route("/{anything}", endpoint)])
app.add_middleware(RateLimitMiddleware, policy=parse_policy(POLICY, "worker"), telemetry=Prometheus())
