"""A `classify` of the user's own: it names the operation, the endpoint still says its units and its limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

from ratelimit.model import Classify, Scope
from ratelimit.routes.app import AppRoutes
from ratelimit.routes.marks import MADE


class ClassifyByOwn:
    """Called with a scope, returns what `own` does, with what the endpoint says besides; None is exempt."""

    __slots__ = ("_first", "own", "routes")

    def __init__(self, own: Classify, routes: AppRoutes, first: Callable[[AppRoutes], None]) -> None:
        self.own = own
        self.routes = routes
        self._first: Callable[[AppRoutes], None] | None = first

    def __call__(self, scope: Scope) -> str | Awaitable[str | None] | None:
        said = self.own(scope)
        if not MADE:
            return said
        if self._first is not None:
            first, self._first = self._first, None
            first(self.routes)
        return self._settled(said, scope) if isawaitable(said) else self._at_endpoint(said, scope)

    async def _settled(self, said: Awaitable[Any], scope: Scope) -> Any:
        return self._at_endpoint(await said, scope)

    def _at_endpoint(self, said: Any, scope: Scope) -> Any:
        """What is no text is for others to complain of."""
        endpoint = self.routes.endpoint(scope) if said is None or isinstance(said, str) else None
        if endpoint is None:
            return said
        return endpoint.exempt if said is None else endpoint.named(said)
