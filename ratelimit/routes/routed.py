"""An operation with what its endpoint says besides: units, and limits that it declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ratelimit.ground.memo import Recent
from ratelimit.model import Limit, Readings, Scope
from ratelimit.routes.marks import Mark

DECLARED = "ratelimit.declared"  # in the scope: the names of the declared limits that a request is charged to

_COUNTED = 256  # numbers of units that are kept of an endpoint


class Endpoint:
    """What one endpoint says, and how often a request of it counts. Not to be changed."""

    __slots__ = ("_named", "exempt", "limits", "name", "operation", "own_usage", "units", "units_of", "why", "wrong")

    def __init__(
        self,
        mark: Mark | None,
        why: str,
        limits: tuple[Limit, ...] = (),
        *,
        name: str = "",
        units_of: Callable[[Scope], int] | None = None,
        wrong: str | None = None,
        own_usage: bool = False,
    ) -> None:
        self.operation = None if mark is None else mark.operation
        self.why = why  # "decorator", "dependency" or "shape"
        self.units = 1 if mark is None or callable(mark.units) else mark.units
        self.units_of = units_of
        self.limits = limits
        self.name = name  # for the log: "POST /invoices"
        self.wrong = wrong  # what is wrong with its limits: none of its requests is served
        self.own_usage = own_usage  # of this request no known caller is charged
        # What it is where a rule exempts it: there nobody is charged, but it is asked who that is.
        self.exempt: str | None = Routed((), self, 1, ()) if own_usage else None
        self._named: dict[tuple[str, ...], str] = {}

    def named(self, operation: str) -> str:
        """The operation, of this endpoint; the same object again for the same. ValueError where its limits are wrong:
        to serve it without them would be to let it go unlimited."""
        if self.wrong is not None:
            raise WrongLimits(self.wrong)
        names = operation.operations if isinstance(operation, Readings) else (operation,)
        known = self._named.get(names)
        if known is None:
            plain = self.units == 1 and self.units_of is None and not (self.limits or self.own_usage)
            known = operation if plain else Routed(names, self)
            if len(self._named) < _COUNTED:  # a classify of the user's own may give names without number
                self._named[names] = known
        return known


class WrongLimits(Exception):
    """The limits of an endpoint contradict others."""


class Routed(Readings):
    """As Readings, of an endpoint with units or limits of its own. Its text has it all."""

    __slots__ = ("_counted", "endpoint", "limits", "units")

    def __new__(
        cls,
        operations: tuple[str, ...],
        endpoint: Endpoint,
        units: int | None = None,
        limits: tuple[Limit, ...] | None = None,
    ) -> Routed:
        units = endpoint.units if units is None else units
        limits = endpoint.limits if limits is None else limits
        declared = "·".join([limit.name for limit in limits])  # no name has one
        asked = "own usage" if endpoint.own_usage else units
        made = str.__new__(cls, f"{'·'.join(operations)}×{asked}{'+' * bool(limits)}{declared}")  # noqa: RUF001 - nor it
        made.operations = operations
        made.endpoint = endpoint
        made.units = units
        made.limits = limits
        made._counted = Recent(_COUNTED)
        return made

    _counted: Recent[tuple[int, frozenset[str]], Routed]
    endpoint: Endpoint
    units: int
    limits: tuple[Limit, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        """Of another process only the operations are known."""
        return Readings, (self.operations,)

    def of(self, scope: Scope) -> Routed:
        """As one request of the endpoint counts. Of several policies on it the outermost charges what is declared.

        Raises Refused for units that the client got wrong, and whatever else the app's function raises.
        """
        units = self.units if self.endpoint.units_of is None else self.endpoint.units_of(scope)
        charged: frozenset[str] = scope.get(DECLARED, frozenset())
        if units == self.units and not (self.limits and charged):
            routed = self
        else:
            found = self._counted.get((units, charged))
            if found is None:
                limits = tuple([limit for limit in self.limits if limit.name not in charged])
                found = Routed(self.operations, self.endpoint, units, limits)
                self._counted.put((units, charged), found)
            routed = found
        if routed.limits:
            scope[DECLARED] = charged.union([limit.name for limit in routed.limits])
        return routed
