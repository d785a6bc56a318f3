"""The list by route: what is limited where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import isclass
from typing import Any, Literal, NamedTuple

from ratelimit.endpoints.conflicts import checked
from ratelimit.model import Limit
from ratelimit.operations import ClassifyByRules
from ratelimit.operations.said import said_of
from ratelimit.policy import Policy
from ratelimit.policy.tiers import Tier, compile_tier, counters_of
from ratelimit.routes.app import AppRoutes, Manner
from ratelimit.routes.paths import WEBSOCKET
from ratelimit.routes.tree import Node

Why = Literal["rule", "decorator", "dependency", "shape", "guess"]

REST = "{rest:path}"  # of what is served below a path
HANDLERS = ("get", "post", "put", "patch", "delete", "options", "head")  # of a class that answers by methods


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """What is limited where, of one route, or of those of its methods that are the same operation.

    `methods` is None where it takes any, as a Mount does, and of a WebSocket. `operation` is None where it is exempt.
    `why` says what tells it: a rule of the policy, the endpoint's own decorator, a dependency, or the shape of the
    request; `guess` is a shape that the routes say nothing of, so that it may be another one for some paths. `units`:
    whether a function computes them. `limits` are those that apply, by tier, with those that the endpoint declares.
    """

    path: str
    methods: tuple[str, ...] | None
    host: str | None
    operation: str | None
    why: Why
    units: bool
    limits: Mapping[str, tuple[Limit, ...]]
    websocket: bool = False


def routes_of(app: Any, policy: Policy) -> tuple[RouteLimits, ...]:
    """The list by route, in the order in which they are asked: what `policy` limits of `app`.

    Of a policy with a `classify` of its own only the endpoints' own operations are known. Raises ValueError where the
    limits that endpoints declare contradict each other, or have the name of a limit of a tier.
    """
    routes = AppRoutes(app, Manner(checked(policy)))
    asked = under(policy)
    found = tuple(row for node in routes.nodes() for row in rows(node, routes, asked))
    if wrong := wrong_in(routes):
        raise ValueError("\n".join(wrong))
    return found


def wrong_in(routes: AppRoutes) -> list[str]:
    """What is wrong with limits that are declared, each once."""
    said = [routes.said(node, method) for node in routes.nodes() for method in _methods(node)]
    return [*dict.fromkeys(one.wrong for one in said if one is not None and one.wrong is not None)]


def _methods(node: Node) -> tuple[str, ...]:
    if node.methods is not None:
        return tuple(sorted(node.methods))
    if isclass(node.endpoint):
        found = {handler.upper() for handler in HANDLERS if hasattr(node.endpoint, handler)}
        return tuple(sorted(found | ({"HEAD"} if "GET" in found else set()))) or ("GET",)
    return ("GET",)


class Under(NamedTuple):
    """A policy, as rows ask it."""

    rules: ClassifyByRules
    tiers: Mapping[str, Tier]


def under(policy: Policy) -> Under:
    rules = policy.classify if isinstance(policy.classify, ClassifyByRules) else ClassifyByRules()
    return Under(rules, {name: compile_tier(name, limits) for name, limits in policy.tiers.items()})


def _limits(tier: Tier, operation: str) -> tuple[Limit, ...]:
    """Those of a tier that an operation reaches, with those that its endpoint declares."""
    return tuple([counter.limit for counter in counters_of(tier, operation)])


def rows(node: Node, routes: AppRoutes, under: Under) -> Iterator[RouteLimits]:
    said: dict[tuple[object, ...], list[str]] = {}
    for method in _methods(node):
        said.setdefault(_said(node, method, routes, under), []).append(method)
    for (operation, why, units, limits), methods in said.items():
        any_method = node.methods is None and not isclass(node.endpoint)
        yield RouteLimits(
            path=node.path or "/",
            methods=None if any_method else tuple(methods),
            host=node.host,
            operation=operation,  # type: ignore[arg-type]
            why=why,  # type: ignore[arg-type]
            units=bool(units),
            limits=dict(limits),  # type: ignore[call-overload]
            websocket=bool(node.websocket),
        )


def _said(node: Node, method: str, routes: AppRoutes, under: Under) -> tuple[object, ...]:
    endpoint = routes.said(node, method)
    rest = "" if node.websocket is not None else f"/{REST}"
    asked = WEBSOCKET if node.websocket else method
    found, operation, why = said_of(under.rules, asked, node.path + rest, node.own + rest)
    if not found and endpoint is not None and endpoint.operation is not None:
        operation, why = endpoint.operation, endpoint.why
    named = operation
    if endpoint is not None and operation is not None and endpoint.wrong is None:
        named = endpoint.named(operation)
    limits = () if named is None else tuple((name, _limits(tier, named)) for name, tier in under.tiers.items())
    return operation, why, endpoint is not None and (endpoint.units_of is not None or endpoint.units != 1), limits
