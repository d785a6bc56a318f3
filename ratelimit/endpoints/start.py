"""What a middleware tells of the endpoints that it limits, when it starts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from ratelimit.checks.values import EXEMPT
from ratelimit.endpoints.conflicts import checked
from ratelimit.endpoints.listing import RouteLimits, rows, under, wrong_in
from ratelimit.ground.words import listed, shown
from ratelimit.model import Classify, Limit, Message
from ratelimit.operations import ClassifyByOwn, ClassifyByRules, classify_for
from ratelimit.policy import Policy
from ratelimit.routes.app import AppRoutes, Lenient, Manner
from ratelimit.routes.marks import MADE
from ratelimit.routes.routed import WrongLimits

_log = logging.getLogger("ratelimit")


def limiting(
    classify: Classify, app: object, policy: Policy, seen: Callable[[Limit], None], lenient: Lenient | None = None
) -> ClassifyByRules | ClassifyByOwn:
    """The `classify` of a middleware, by the routes of its app. They are told of at the first request. `seen` is called
    with each limit that an endpoint declares, before its first request is decided."""
    return classify_for(classify, app, Manner(checked(policy, seen), partial(_first, policy), lenient))


def started(message: Message, classify: Classify, policy: Policy) -> Message:
    """What an app tells the server when it has started. Raises where limits that are declared contradict each other:
    from the app's own `send`, so that it ends in order, and says itself that it did not start.
    """
    if message["type"] == "lifespan.startup.complete":
        ready(classify, policy)
    return message


def ready(classify: Classify, policy: Policy) -> None:
    """The same, before a policy is in force."""
    routes = getattr(classify, "routes", None)  # None: all is switched off
    if isinstance(routes, AppRoutes):
        _first(policy, routes)
        if wrong := wrong_in(routes):
            raise WrongLimits("\n".join(wrong))


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
    asked = under(policy)
    for node in routes.nodes():
        if not node.steps:
            continue
        for row in rows(node, routes, asked):
            _tell_of(row)
            if row.operation is None and node.limits:
                names = listed(shown(one.limit.name) for one in node.limits)
                _log.warning(
                    "%s is exempt by a rule: the limits that it declares are not charged: %s", called(row), names
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
        _log.warning(what, called(row))
    if _log.isEnabledFor(logging.DEBUG):
        limits = "; ".join(f"{tier}: {listed(limit.name for limit in of)}" for tier, of in row.limits.items())
        units = " with units" if row.units else ""
        _log.debug("%s is %s by %s%s: %s", called(row), row.operation or EXEMPT, row.why, units, limits)


def called(row: RouteLimits) -> str:
    """`GET,HEAD /v2/invoices/{id} of api.example.com`"""
    methods = "WEBSOCKET" if row.websocket else ",".join(row.methods or ("*",))
    return f"{methods} {row.path}{f' of {row.host}' if row.host else ''}"
