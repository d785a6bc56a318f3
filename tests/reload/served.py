"""What the processes of a proof serve: an app behind the file of RELOAD_POLICY, that tells how long decisions take."""

from __future__ import annotations

import json
import os
import time

from ratelimit import RateLimitMiddleware, requests_without_store
from ratelimit.model import Receive, Scope, Send
from ratelimit.reload.telling import reloads

worst = 0.0  # seconds from the server's call to that of the app


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    global worst
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": (await receive())["type"] + ".complete"})
        return
    body = b""
    if scope["path"] == "/health":
        told = {"worst": worst, "without_store": requests_without_store(), "reloads": reloads()}
        worst, body = 0.0, json.dumps(told).encode()
    else:
        worst = max(worst, time.perf_counter() - scope["began"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


limited = RateLimitMiddleware(inner, os.environ["RELOAD_POLICY"])


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    scope["began"] = time.perf_counter()
    await limited(scope, receive, send)
