"""The lendworks example, and at /metrics what Prometheus scrapes. The limiter is around the API alone: a scrape is no
request of it, and needs no rule.

    uvicorn examples.observability.app:app
"""

from __future__ import annotations

from examples.lendworks.app import create_app
from ratelimit.model import Receive, Scope, Send
from ratelimit.telemetry.prometheus import Prometheus, metrics_app

api = create_app(telemetry=Prometheus())
metrics = metrics_app()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    of_metrics = scope["type"] == "http" and scope["path"] == "/metrics"
    await (metrics if of_metrics else api)(scope, receive, send)
