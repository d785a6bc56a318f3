"""A CORSMiddleware inside the limiter: no 429 passes through it, so that a browser shows none of them to a script."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from ratelimit.answers.headers import has_origin
from ratelimit.model import ASGIApp, Scope

_LAYERS = 32  # middlewares that are looked through

_log = logging.getLogger("ratelimit")


class CorsInside:
    """Says so once, at the first denial of a request of another origin."""

    __slots__ = ("_app",)

    def __init__(self, app: ASGIApp) -> None:
        self._app: ASGIApp | None = app  # None: it was looked at

    def denied(self, scope: Scope) -> None:
        if self._app is not None and scope["type"] == "http" and has_origin(scope):
            app, self._app = self._app, None
            if is_inside(app):
                _log.warning(
                    "CORSMiddleware is inside of the limiter: a browser can read no 429. Put it around, as"
                    " CORSMiddleware(RateLimitMiddleware(app, ...), ...), or add it after:"
                    " app.add_middleware(RateLimitMiddleware, ...), then app.add_middleware(CORSMiddleware, ...)"
                )


def is_inside(app: object) -> bool:
    """Whether a CORSMiddleware is among the middlewares below, known by its name: Starlette is not imported."""
    try:
        return any("CORSMiddleware" in [kind.__name__ for kind in made.__mro__] for made in _classes(app))
    except Exception:  # noqa: BLE001 - objects of unknown make must cost no answer
        return False


def _classes(app: Any) -> Iterator[type]:
    for _ in range(_LAYERS):
        if app is None:
            return
        yield type(app)
        # Of a whole Starlette app: what `app.add_middleware` adds, and what the first request has made of it.
        yield from (made for added in getattr(app, "user_middleware", ()) if isinstance(made := added.cls, type))
        app = getattr(app, "app", None) or getattr(app, "middleware_stack", None)
