"""Where in an app the limiter is, and what it was told: found without a request, however the app is wrapped."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from ratelimit.middleware import RateLimitMiddleware
from ratelimit.operations import ClassifyByOwn
from ratelimit.routes.declared import WRAPPERS, included

_DEEPEST = 32  # mounts within each other


class Limiter(NamedTuple):
    """`below` is the path that it is around, "" for all of them; `identifies` and `classifies` whether the app says
    itself who calls, and what for."""

    below: str
    host: str | None
    identifies: bool
    classifies: bool

    def covers(self, path: str, host: str | None) -> bool:
        """Whether a route is within it."""
        return (self.host is None or self.host == host) and (path == self.below or path.startswith(f"{self.below}/"))


def limiters_of(app: Any) -> tuple[Limiter, ...]:
    return tuple(_around(app, "", None, 0))


def _around(app: Any, below: str, host: str | None, depth: int) -> Iterator[Limiter]:
    """What is around the routes of an app, from outside, and then what is around each of them."""
    for _ in range(WRAPPERS):
        if isinstance(app, RateLimitMiddleware):
            yield _made(app, below, host)
        if not hasattr(app, "user_middleware"):  # a Router is made with its middlewares
            made_with = islice(_wrapped(getattr(app, "middleware_stack", None)), WRAPPERS)
            yield from (_made(one, below, host) for one in made_with if isinstance(one, RateLimitMiddleware))
        for told in getattr(app, "user_middleware", ()):
            given = getattr(told, "kwargs", None) or getattr(told, "options", {})  # as an older Starlette has them
            made = told.cls
            if isinstance(made, partial):
                given, made = {**made.keywords, **given}, made.func
            if isinstance(made, type) and issubclass(made, RateLimitMiddleware):
                yield Limiter(below, host, *(given.get(name) is not None for name in ("identify", "classify")))
        if hasattr(app, "routes") or not hasattr(app, "app"):
            break
        app = app.app
    if depth < _DEEPEST:
        for route in getattr(app, "routes", None) or ():
            yield from _at(route, below, host, depth)


def _made(limiter: RateLimitMiddleware, below: str, host: str | None) -> Limiter:
    identifies = limiter._identify is not limiter.policy.identify
    return Limiter(below, host, identifies, isinstance(limiter._classify, ClassifyByOwn))


def _wrapped(app: Any) -> Iterator[Any]:
    while app is not None:
        yield app
        app = getattr(app, "app", None)


def _at(route: Any, below: str, host: str | None, depth: int) -> Iterator[Limiter]:
    for _, answering in included(route):
        path = below + (getattr(answering, "path", None) or "")
        yield from _around(getattr(answering, "app", None), path, getattr(answering, "host", host), depth + 1)
