"""What calls are taken for: by the routes of an app, else by the rules themselves, as if each were a route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ratelimit.checks.values import EXEMPT
from ratelimit.comparison.changes import Change
from ratelimit.endpoints.listing import routes_of
from ratelimit.operations import ClassifyByRules
from ratelimit.operations.said import said_of
from ratelimit.policy import Policy
from ratelimit.routes.paths import WEBSOCKET

_ANY = ("GET", "POST", "PUT", "PATCH", "DELETE", WEBSOCKET)  # of a rule for all methods, those that are asked about
_Route = tuple[str, str]  # what is before and behind the method: host and path
_Said = Mapping[tuple[str, _Route], str]  # by method


def compare_routes(old: Policy, new: Policy, app: Any = None) -> Iterator[Change]:
    """ValueError where the limits that endpoints declare contradict a policy."""
    if app is not None:
        before, after = _by_routes(app, old), _by_routes(app, new)
    elif isinstance(old.classify, ClassifyByRules) and isinstance(new.classify, ClassifyByRules):
        asked = _rules(old.classify, new.classify)
        before, after = _by_rules(asked, old.classify), _by_rules(asked, new.classify)
    else:
        return
    groups: dict[tuple[_Route, str, str], list[str]] = {}
    for (method, route), one in before.items():
        other = after.get((method, route), one)
        if one != other:
            groups.setdefault((route, one, other), []).append(method)
    for ((host, path), one, other), methods in groups.items():
        called = f"{','.join(methods)} {path}{f' of {host}' if host else ''}"
        sentence = f"{called} is {other}, which was {one}"
        yield Change("operation", called, f"who calls {called}", "changed", one, other, sentence)


def _by_routes(app: Any, policy: Policy) -> dict[tuple[str, _Route], str]:
    """A path that several routes have goes by the first of them."""
    found: dict[tuple[str, _Route], str] = {}
    for row in routes_of(app, policy):
        methods = (WEBSOCKET,) if row.websocket else row.methods or ("*",)
        for method in methods:
            found.setdefault((method, (row.host or "", row.path)), row.operation or EXEMPT)
    return found


def _rules(*both: ClassifyByRules) -> list[tuple[str, str]]:
    """Methods and paths of all rules, each once."""
    written = [(rule.method, rule.path) for rules in both for rule in rules.rules]
    asked = [(method, path) for named, path in written for method in (_ANY if named == "*" else (named,))]
    return [*dict.fromkeys(asked)]


def _by_rules(asked: list[tuple[str, str]], rules: ClassifyByRules) -> dict[tuple[str, _Route], str]:
    found = {}
    for method, path in asked:
        pattern = "/".join({"*": "{one}", "**": "{rest:path}"}.get(text, text) for text in path.split("/"))
        _, operation, _ = said_of(rules, method, pattern, pattern)
        found[method, ("", path)] = operation or EXEMPT
    return found
