"""`Route("/rate_limit", usage)`: an ASGI app that answers a caller with its own usage."""

from __future__ import annotations

from ratelimit.answers.headers import answer
from ratelimit.model import Receive, Scope, Send
from ratelimit.usage.answered import answered


class Usage:
    """GET and HEAD: all limits of who asks, as told.py writes them, with an ETag. Known callers are not charged for it.

    It belongs inside of a RateLimitMiddleware, which tells it who asks; RuntimeError without one.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"usage answers requests of HTTP, and this is of {scope['type']}")
        whole = await answered(scope)
        if whole.status not in {200, 304}:
            await answer(whole, scope, send)
            return
        headers = whole.headers
        if whole.status == 200:
            headers = [*headers, (b"content-length", b"%d" % len(whole.body))]
        await send({"type": "http.response.start", "status": whole.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else whole.body})
