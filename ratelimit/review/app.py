"""What of an app a policy limits, route by route, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ratelimit.config.grammar.messages import Path, place
from ratelimit.config.grammar.valid import Valid
from ratelimit.endpoints.conflicts import checked
from ratelimit.endpoints.listing import RouteLimits, rows, under, wrong_in
from ratelimit.endpoints.start import called
from ratelimit.ground.words import listed, shown
from ratelimit.model import Limit
from ratelimit.operations import Rule
from ratelimit.operations.idle import idle_of
from ratelimit.operations.routes import read
from ratelimit.policy import Policy
from ratelimit.review.findings import Finding, Odd, of_odd
from ratelimit.review.limiters import Limiter, limiters_of
from ratelimit.routes.app import AppRoutes, Manner
from ratelimit.routes.declared import owner_of
from ratelimit.routes.tree import Node


class AppReview(NamedTuple):
    """`routes` in the order in which they are asked; of what the limiter is not around there are none."""

    routes: tuple[RouteLimits, ...]
    findings: tuple[Finding, ...]


def review_app(app: Any, policy: Policy, valid: Valid, lines: Mapping[Path, int]) -> AppReview:
    """Every route of an app, however it is wrapped, under a policy. Nothing is started and no request is made."""
    limiters = limiters_of(app)
    routes = AppRoutes(app, Manner(checked(policy)))
    nodes = [node for node in routes.nodes() if node.steps]
    asked = under(policy)
    listing: list[RouteLimits] = []
    outside: list[Node] = []
    exempt: list[tuple[RouteLimits, Node]] = []
    for node in nodes:
        if not limiters or any(limiter.covers(node.path or "/", node.host) for limiter in limiters):
            found = tuple(rows(node, routes, asked))
            listing += found
            exempt += [(row, node) for row in found if row.operation is None and node.limits]
        else:
            outside.append(node)
    findings = [
        *_of_limiters(limiters, outside, nodes),
        *(Finding("error", "limits-contradict", "", wrong) for wrong in wrong_in(routes)),
        *(finding for row in listing for finding in _of_row(row)),
        *(_exempt(row, node) for row, node in exempt),
        *(of_odd(odd, lines) for odd in _of_overrides(policy, valid, nodes)),
        *(of_odd(odd, lines) for odd in _of_rules(app, valid) if not any(one.classifies for one in limiters)),
    ]
    return AppReview(tuple(listing), tuple(findings))


def _of_limiters(limiters: Sequence[Limiter], outside: Sequence[Node], nodes: Sequence[Node]) -> Iterator[Finding]:
    if not nodes:
        yield Finding("warning", "no-routes", "", "no route of the app can be seen", "name the app that has them")
    if not limiters:
        what = "no RateLimitMiddleware can be seen around the app, so that nothing of this is limited"
        yield Finding("warning", "no-limiter", "", what, "write app.add_middleware(RateLimitMiddleware, policy=…)")
    for node in outside:
        methods = "WEBSOCKET" if node.websocket else ",".join(sorted(node.methods or "*"))
        where = f"{methods} {node.path or '/'}{f' of {node.host}' if node.host else ''}"
        yield Finding("warning", "outside", where, "is outside of the limiter, so that nothing limits it")
    if any(limiter.classifies for limiter in limiters):
        what = "the app's own classify names the operations: rules are not asked, and the list has what endpoints say"
        yield Finding("warning", "own-classify", "", what)


def _of_row(row: RouteLimits) -> Iterator[Finding]:
    if row.why == "guess":
        hint = "write a rule in [operations], or operation(…) around what is served"
        yield Finding("warning", "guessed", called(row), "goes by a guess at the path", hint)
    operation = row.operation
    if operation is not None:
        free = [tier for tier, limits in row.limits.items() if not any(_limits(one, operation) for one in limits)]
        if free:
            tiers = "any tier" if len(free) == len(row.limits) else listed(map(shown, free))
            hint = f"write a limit for {operation} there, or exempt the route by a rule"
            yield Finding(
                "warning", "unlimited", called(row), f"is {operation}, which no limit of {tiers} counts", hint
            )


def _limits(limit: Limit, operation: str) -> bool:
    """Whether it takes anything: of what is held, the app takes it itself."""
    return limit.hold or (limit.cost if isinstance(limit.cost, int) else limit.cost.get(operation, 1)) > 0


def _exempt(row: RouteLimits, node: Node) -> Finding:
    names = listed(shown(one.limit.name) for one in node.limits)
    sentence = f"is exempt by a rule: the limits that it declares are not charged: {names}"
    return Finding(
        "warning", "exempt-but-limited", called(row), sentence, "take it out of exempt, or the limits off it"
    )


def _of_overrides(policy: Policy, valid: Valid, nodes: Sequence[Node]) -> Iterator[Odd]:
    """Those of limits that no tier has, and no endpoint declares."""
    declared = {one.limit.name: one.limit for node in nodes for one in node.limits}
    paths = {
        place(path): path
        for at, _ in valid.numbered(("overrides",), valid.file.overrides)
        for path in _named(valid, at)
    }
    for elsewhere in policy.elsewhere:
        if wrong := elsewhere.wrong(declared):
            yield Odd(paths[elsewhere.where], "override-of-nothing", wrong, "")


def _named(valid: Valid, path: Path) -> Iterator[Path]:
    for name in valid.at((*path, "limits")):
        yield (*path, "limits", name)


def _of_rules(app: Any, valid: Valid) -> Iterator[Odd]:
    """Rules that no route matches. An app within which others are mounted may have them."""
    owner = owner_of(app)
    if owner is None:
        return
    paths = {
        (text, name): path
        for name, texts in valid.file.operations.items()
        for path, text in valid.numbered(("operations", name), texts)
    }
    rules = {Rule.parse(text, name): path for (text, name), path in paths.items()}
    for rule, near in idle_of(list(rules), read(owner, watched=False)):
        sentence = f"{shown(f'{rule.method} {rule.path}')} matches no route of the app{near}"
        yield Odd(rules[rule], "rule-without-route", sentence, "" if near else "mend it, or leave it out")
