"""The id under which the log tells of a request, for the app's own lines."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar

from ratelimit.model import ASGIApp, Receive, Scope, Send

# Empty where a request has none: its answer carries none, and there is nothing to say of it.
log_id: ContextVar[str] = ContextVar("log_id", default="")


async def under(name: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """The app call of a request of this id."""
    token = log_id.set(name)
    try:
        await app(scope, receive, send)
    finally:
        with suppress(ValueError):  # it was closed, by somebody in another context
            log_id.reset(token)
