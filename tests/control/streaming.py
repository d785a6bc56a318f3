"""An app whose streams take an unknown number of units, for tests that run it in several processes on one Redis."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.model import Receive, Scope, Send

MAX, WINDOW_MS, HELD = 1_000, 2_000, 100
POLICY = parse_policy(
    f"""
[operations]
exempt = ["GET /health"]

[tiers.anonymous]
limits = [{{ name = "tokens", rate = "{MAX}/{WINDOW_MS // 1000} seconds", precision = 20, cost = 0, hold = true }}]

[store]
prefix = "{os.environ.get("STREAMING_PREFIX", "streaming")}"
timeout = "5s"
""",
    "streaming",
)


async def streams(scope: Scope, receive: Receive, send: Send) -> None:
    """`/37` uses 37 units, and says at which instant they were held; `/die` dies in the middle."""
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    body = b""
    what = scope["path"].strip("/")
    if what != "health":
        body = await _held(scope["ratelimit.control"], what)
    await send({"type": "http.response.body", "body": body})


async def _held(control: Any, what: str) -> bytes:
    async with control.hold(HELD, limit="tokens", lease="1s") as held:
        if not held.allowed:
            return b"no"
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        for units in range(0, int(what), 10):
            held.settle(units)
            await asyncio.sleep(0.001)
        held.settle(int(what))
    return f"{held.decision.now_ms} {what}".encode()


app = RateLimitMiddleware(streams, POLICY)
