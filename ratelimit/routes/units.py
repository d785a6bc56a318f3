"""How many units a request counts, by the function that its endpoint has for that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from time import monotonic
from typing import Any

from ratelimit.ground.printable import in_a_line
from ratelimit.model import FOREVER, Refused, Scope
from ratelimit.routes.marks import Units

EVERY = 60.0  # seconds between two lines about one endpoint

_log = logging.getLogger("ratelimit")


@dataclass(slots=True)
class UnitsOf:
    """Called with a scope, the units of a request of one endpoint. Refused is the client's mistake."""

    function: Callable[[Any], int]
    path_params: Callable[[Scope], Mapping[str, Any]]
    name: str  # for the log: "POST /invoices"
    _told_at: float = field(default=float("-inf"), init=False)

    def __call__(self, scope: Scope) -> int:
        try:
            units = self.function(connection({**scope, "path_params": self.path_params(scope)}))
            if isawaitable(units):
                getattr(units, "close", lambda: None)()
                raise TypeError("units returned something to await: write a plain function")  # noqa: TRY301
        except ValueError as error:
            raise refused() from error
        except Exception:
            self._tell()
            raise
        if not isinstance(units, int) or isinstance(units, bool) or units < 0:
            raise refused()
        return min(units, FOREVER)

    def _tell(self) -> None:
        now = monotonic()
        if now - self._told_at >= EVERY:
            self._told_at = now
            what = "units of the endpoint %s raised, and the request is answered as an error of the app"
            _log.exception(what, in_a_line(self.name))


def connection(scope: Scope) -> Any:
    """What units are computed from: a request without a body, or the scope where Starlette is not there."""
    try:
        from starlette.requests import HTTPConnection, Request
    except ImportError:
        return scope
    return Request(scope) if scope["type"] == "http" else HTTPConnection(scope)


def of_mark(units: Units, path_params: Callable[[Scope], Mapping[str, Any]], name: str) -> UnitsOf | None:
    return UnitsOf(units, path_params, name) if callable(units) else None


def refused() -> Refused:
    """What a client is told whose request has no number of units."""
    return Refused(400, "invalid_request", "The number of units that this request asks for is not a whole number.")
