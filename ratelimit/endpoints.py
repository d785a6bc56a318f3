"""What the endpoints of an app come to under a policy: the list by route, what is told of it at start, and limits that
contradict each other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import isclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from ratelimit.checks.values import EXEMPT
from ratelimit.ground.words import listed, shown
from ratelimit.model import Classify, Limit, Message
from ratelimit.operations import ClassifyByOwn, ClassifyByRules, classify_for
from ratelimit.policy import Policy
from ratelimit.routes.app import AppRoutes, Checked
from ratelimit.routes.marks import MADE, Declares
from ratelimit.routes.tree import Node

Why = Literal["rule", "decorator", "dependency", "shape", "guess"]

REST = "{rest:path}"  # of what is served below a path
HANDLERS = ("get", "post", "put", "patch", "delete", "options", "head")  # of a class that answers by methods

_log = logging.getLogger("ratelimit")
_declared: WeakKeyDictionary[Policy, dict[str, Declares]] = WeakKeyDictionary()  # of its middlewares, by name


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
    routes = AppRoutes(app, checked(policy))
    found = tuple(row for node in routes.nodes() for row in _rows(node, routes, policy))
    if wrong := wrong_in(routes):
        raise ValueError("\n".join(wrong))
    return found


def _unseen(limit: Limit) -> None:
    pass


def checked(policy: Policy, seen: Callable[[Limit], None] = _unseen) -> Checked:
    """What finds the limits that an endpoint may not declare under a policy: one name is one counter."""
    taken = {limit.name: tier for tier, limits in policy.tiers.items() for limit in limits}
    known = _declared.setdefault(policy, {})

    def check(name: str, limits: tuple[Declares, ...]) -> str | None:
        for one in limits:
            called = f"limit {shown(one.limit.name)}"
            if one.limit.name in taken:
                tier = shown(taken[one.limit.name])
                return f"{called} of {name}, declared at {one.where}, is a limit of the tier {tier} too; rename one"
            seen(one.limit)
            first = known.setdefault(one.limit.name, one)
            if first.limit != one.limit:
                where = f"declared at {one.where}, is another one than at {first.where}"
                return f"{called} of {name}, {where}: one name is one counter; give both the same numbers, or two names"
        return None

    return check


def wrong_in(routes: AppRoutes) -> list[str]:
    """What is wrong with limits that are declared, each once."""
    said = [routes.said(node, method) for node in routes.nodes() for method in _methods(node)]
    return [*dict.fromkeys(one.wrong for one in said if one is not None and one.wrong is not None)]


def limiting(
    classify: Classify, app: object, policy: Policy, seen: Callable[[Limit], None]
) -> ClassifyByRules | ClassifyByOwn:
    """The `classify` of a middleware, by the routes of its app. They are told of at the first request. `seen` is called
    with each limit that an endpoint declares, before its first request is decided."""
    return classify_for(classify, app, checked(policy, seen), partial(_first, policy))


def started(message: Message, routes: AppRoutes, policy: Policy) -> Message:
    """What an app tells the server when it has started: not where limits that are declared contradict each other."""
    if message["type"] != "lifespan.startup.complete":
        return message
    _first(policy, routes)
    wrong = wrong_in(routes)
    return {"type": "lifespan.startup.failed", "message": "\n".join(wrong)} if wrong else message


def _first(policy: Policy, routes: AppRoutes) -> None:
    if routes.told:
        return
    routes.told = True
    try:
        tell(routes, policy)
    except Exception:  # noqa: BLE001 - what is only told must cost no request
        _log.warning("what the routes are can't be told", exc_info=True)
    if not MADE:
        routes.forget()


def tell(routes: AppRoutes, policy: Policy) -> None:
    """At start: a line for each route, and what its author would not expect."""
    declared: dict[str, Limit] = {}
    for node in routes.nodes():
        if not node.steps:
            continue
        for row in _rows(node, routes, policy):
            _tell_of(row)
            if row.operation is None and node.limits:
                names = listed(shown(one.limit.name) for one in node.limits)
                _log.warning(
                    "%s is exempt by a rule: the limits that it declares are not charged: %s", _called(row), names
                )
        declared.update({one.limit.name: one.limit for one in node.limits})
    for wrong in wrong_in(routes):
        _log.critical("%s", wrong)
    for elsewhere in policy.elsewhere:
        if wrong_name := elsewhere.wrong(declared):
            _log.warning("%s: %s", elsewhere.where, wrong_name)


def _tell_of(row: RouteLimits) -> None:
    if row.why == "guess":
        what = "%s goes by a guess at the path: a rule of [operations], or operation(...) around what is served, tells"
        _log.warning(what, _called(row))
    if _log.isEnabledFor(logging.DEBUG):
        limits = "; ".join(f"{tier}: {listed(limit.name for limit in of)}" for tier, of in row.limits.items())
        units = " with units" if row.units else ""
        _log.debug("%s is %s by %s%s: %s", _called(row), row.operation or EXEMPT, row.why, units, limits)


def _called(row: RouteLimits) -> str:
    """`GET,HEAD /v2/invoices/{id} of api.example.com`"""
    methods = "WEBSOCKET" if row.websocket else ",".join(row.methods or ("*",))
    return f"{methods} {row.path}{f' of {row.host}' if row.host else ''}"


def _methods(node: Node) -> tuple[str, ...]:
    if node.methods is not None:
        return tuple(sorted(node.methods))
    if isclass(node.endpoint):
        found = {handler.upper() for handler in HANDLERS if hasattr(node.endpoint, handler)}
        return tuple(sorted(found | ({"HEAD"} if "GET" in found else set()))) or ("GET",)
    return ("GET",)


def _rows(node: Node, routes: AppRoutes, policy: Policy) -> Iterator[RouteLimits]:
    rows: dict[tuple[object, ...], list[str]] = {}
    for method in _methods(node):
        rows.setdefault(_said(node, method, routes, policy), []).append(method)
    for (operation, why, units, limits), methods in rows.items():
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


def _said(node: Node, method: str, routes: AppRoutes, policy: Policy) -> tuple[object, ...]:
    endpoint = routes.said(node, method)
    rules = policy.classify if isinstance(policy.classify, ClassifyByRules) else ClassifyByRules()
    rest = "" if node.websocket is not None else f"/{REST}"
    found, operation, why = rules.said_of("WEBSOCKET" if node.websocket else method, node.path + rest, node.own + rest)
    if not found and endpoint is not None and endpoint.operation is not None:
        operation, why = endpoint.operation, endpoint.why
    named = operation
    if endpoint is not None and operation is not None and endpoint.wrong is None:
        named = endpoint.named(operation)
    limits = () if named is None else tuple((tier, policy.applying(tier, named)) for tier in policy.tiers)
    return operation, why, endpoint is not None and (endpoint.units_of is not None or endpoint.units != 1), limits
