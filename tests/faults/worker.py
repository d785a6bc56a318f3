"""The app of the worker processes that are behind a faulty store. Its policy is in RATELIMIT_TEST_POLICY.

It says in each answer how long the limiter took for its decision (`x-waited-us`, without the server in front and the
app behind it), how long this process stood still meanwhile (`x-stalled-us`: no store can be blamed for that), and who
decided (`x-decided`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.model import ASGIApp, Message, Receive, Scope, Send

logging.getLogger("ratelimit").addHandler(logging.NullHandler())  # a line for each decision without the store

TICK = 0.005  # seconds


class Stalls:
    """When this process did not come to its event loop."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._expected = float("inf")
        self._late: list[tuple[float, float]] = []  # when it was noticed, and for how long it had lasted

    def since(self, begin: float) -> float:
        """The seconds of all stalls that ended after that."""
        now = time.monotonic()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())
        noticed = sum(late for at, late in self._late if at >= begin)
        return noticed + max(0.0, now - self._expected)

    async def _watch(self) -> None:
        while True:
            self._expected = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            now = time.monotonic()
            self._late = [*self._late[-100:], (now, now - self._expected)]


class Timed:
    """Around everything: what it adds to an answer is what a caller can't see from outside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._stalls = Stalls()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.monotonic()
        reached = scope["reached"] = []

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                decided = reached[0] if reached else time.monotonic()
                store = "ratelimit" in scope and not scope["ratelimit"].unavailable
                message["headers"] = [
                    *message["headers"],
                    (b"x-waited-us", b"%d" % ((decided - begun) * 1e6)),
                    (b"x-stalled-us", b"%d" % (self._stalls.since(begun) * 1e6)),
                    (b"x-decided", b"store" if store else b"here"),
                ]
            await send(message)

        await self._app(scope, receive, timed)


async def endpoint(request: Request) -> Response:
    request.scope["reached"].append(time.monotonic())
    return PlainTextResponse("here you are")


limited = Starlette(routes=[Route("/health", endpoint), Route("/{anything}", endpoint)])
limited.add_middleware(RateLimitMiddleware, policy=parse_policy(os.environ["RATELIMIT_TEST_POLICY"], "worker"))
app = Timed(limited)
