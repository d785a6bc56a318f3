"""What kind of call it is: by the rules of the policy, else by the shape of the request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from functools import partial

from ratelimit.ground.malformed import explained
from ratelimit.model import Classify, Readings, Scope
from ratelimit.operations.items import ITEM, Items
from ratelimit.operations.own import ClassifyByOwn as ClassifyByOwn
from ratelimit.operations.readings import is_odd, readings
from ratelimit.operations.rules import BY_METHOD, HANDSHAKE, PREFLIGHT, READING, USUAL, WEBSOCKET, RuleTable, unusual
from ratelimit.operations.rules import Rule as Rule
from ratelimit.routes.app import PLAIN, AppRoutes, Manner
from ratelimit.routes.marks import MADE
from ratelimit.routes.paths import client_path, fold, split_path
from ratelimit.routes.routed import Endpoint

_DIGITS = "0123456789"
_NOT_SIMPLE = re.compile(r"[^a-z0-9/_-]").search  # what is simple is read in one way, whatever the case


class ClassifyByRules:
    """Called with a scope, returns the operation, or None for a request that is exempt.

    The first rule that matches decides; a GET rule also takes HEAD, and the handshake of a WebSocket is taken by rules
    of the method WEBSOCKET. Rules see the path that the client sees, under a mount and behind a `root_path` too: those
    that charge whatever the case, those that exempt as it is written. A CORS preflight is exempt where no rule of the
    method OPTIONS takes it.

    What matches no rule goes by its shape: GET or HEAD of an item is `detail_read`, of anything else `search`, POST is
    `create`, PUT, PATCH and DELETE are `write`, a handshake is `connect`, any other method is `search`. What the routes
    of the app say of a path is known: one that ends in a parameter is an item's, one that is spelled out is not. A
    mounted app and a route that takes any path say nothing. Then an item's path ends in an identifier, a segment with a
    digit in it that is no version (`v2`, `2.0`), or in the parameter of a rule, whatever its method.

    A path that what is behind may read in several ways is exempt where all of them are, and otherwise all that it may
    be: `Readings`, if that is more than one operation.

    What is said at the endpoint that the app will really run (`@operation`, `as_operation`) comes after the rules and
    before the shape, and with it its units and the limits that it declares.

    ValueError says what is wrong with a scope that is not ASGI's.
    """

    __slots__ = ("_by_method", "_gets", "_items", "_other_methods", "routes", "rules")

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._by_method = {
            method: RuleTable(self.rules, methods)
            for method, methods in {
                **{rule.method: {"*", rule.method} for rule in self.rules if rule.method != WEBSOCKET},
                "GET": {"*", "GET"},
                "HEAD": {"*", "GET", "HEAD"},
                PREFLIGHT: {"OPTIONS"},
                HANDSHAKE: {"*", WEBSOCKET},
            }.items()
        }
        self._other_methods = RuleTable(self.rules, {"*"})
        self._gets = self._by_method["GET"]
        self._items = Items(self.rules)
        self.routes = AppRoutes(None)

    def for_app(self, app: object, manner: Manner = PLAIN) -> ClassifyByRules:
        """The same, for the middleware that wraps `app`: its routes are known, also without an app in the scope. The
        first request says which rules are for none of them."""
        bound = copy(self)
        bound.routes = AppRoutes(app, manner)
        bound._items = Items(self.rules, app, partial(manner.first, bound.routes))
        return bound

    def __call__(self, scope: Scope) -> str | None:
        try:
            path = scope["path"]
            root = scope.get("root_path")
            method = scope.get("method", "")
            if method == "GET":
                # an item of an app without rules and marks: 52 bytecodes, where what follows has 120
                if (
                    (ends_in_number := self._items.ends_in_number)
                    and not (root or MADE)
                    and path
                    and path[-1] in _DIGITS  # 50 ns, which spare a path of anything else the 140 of the next
                    and ends_in_number(path)
                    and "//" not in path
                ):
                    return ITEM
                table = self._gets
            else:
                method = method if method in USUAL else unusual(method, scope)
                table = self._by_method.get(method, self._other_methods)
            if root:
                path = client_path(path, root)
            if _NOT_SIMPLE(path) or "//" in path:
                return self._of_readings(scope, method) if is_odd(path) else self._of_letters(scope, method, path)
            plain = path.strip("/")
            segments = plain.split("/") if plain else []
            rule = table.find(segments) if table.operations else None
            if MADE:
                return self._at_endpoint(scope, method, path, rule, segments, segments, self.routes.endpoint(scope))
            if rule is None and method in READING:
                return self._items.operation(scope, root, path, segments, segments)
            if self._items.unread:
                self._items.routes(scope)
            return rule.operation if rule else BY_METHOD.get(method, "search")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise explained(scope, error) from None

    def _at_endpoint(
        self,
        scope: Scope,
        method: str,
        path: str,
        rule: Rule | None,
        segments: list[str],
        folded: list[str],
        endpoint: Endpoint | None,
    ) -> str | None:
        """By a rule, else by what the endpoint says, else by the shape."""
        self._items.as_of(self.routes.changes)
        if self._items.unread:
            self._items.routes(scope)
        if rule is not None:
            operation = rule.operation
        elif endpoint is not None and endpoint.operation is not None and method != PREFLIGHT:
            operation = endpoint.operation
        elif method in READING:
            operation = self._items.operation(scope, scope.get("root_path"), path, segments, folded)
        else:
            operation = BY_METHOD.get(method, "search")
        if endpoint is None:
            return operation
        return endpoint.exempt if operation is None else endpoint.named(operation)

    def shape_of(self, method: str) -> str | None:
        """Of a method that reads nothing."""
        return BY_METHOD.get(HANDSHAKE if method == WEBSOCKET else method, "search")

    def rule_of(self, method: str, segments: list[str]) -> Rule | None:
        """The rule that takes a request of a method."""
        table = self._by_method.get(HANDSHAKE if method == WEBSOCKET else method, self._other_methods)
        return table.first(segments, [fold(text) for text in segments])

    def _of_readings(self, scope: Scope, method: str) -> str | None:
        paths = readings(scope["path"], scope.get("root_path") or "", scope.get("raw_path"))
        if paths is None:
            found = self._all(method)
        else:
            # to rules and shapes, paths of the same segments are one; to the app they are not
            told_apart = {path if MADE else tuple(split_path(path)): path for path in reversed(paths)}
            # the first is the path itself, which the app routes as the scope has it
            as_it_is = {paths[0]: scope["path"]}
            found = [self._of_reading(scope, method, p, as_it_is.get(p, p)) for p in reversed(told_apart.values())]
        charged = tuple(dict.fromkeys(name for one in found if one is not None for name in _operations_of(one)))
        said = Readings(charged) if len(charged) > 1 else next(iter(charged), None)
        if not MADE or said is None or (endpoint := self.routes.endpoint(scope)) is None:
            return said
        own = endpoint.operation
        return endpoint.named(Readings((*charged, own)) if paths is None and own and own not in charged else said)

    def _of_letters(self, scope: Scope, method: str, path: str) -> str | None:
        """Of a path with capitals, or other characters that are read in one way."""
        plain = path.strip("/")
        return self._any_case(scope, method, path, plain.split("/"), plain.lower().split("/"), scope["path"])

    def _of_reading(self, scope: Scope, method: str, path: str, routed: str) -> str | None:
        return self._any_case(scope, method, path, split_path(path), split_path(fold(path)), routed)

    def _any_case(
        self, scope: Scope, method: str, path: str, segments: list[str], folded: list[str], routed: str
    ) -> str | None:
        table = self._by_method.get(method, self._other_methods)
        rule = table.first(segments, folded) if table.operations else None
        if MADE:
            endpoint = self.routes.endpoint(scope, routed)
            return self._at_endpoint(scope, method, path, rule, segments, folded, endpoint)
        if rule is None and method in READING:
            return self._items.operation(scope, scope.get("root_path"), path, segments, folded)
        if self._items.unread:
            self._items.routes(scope)
        return rule.operation if rule else BY_METHOD.get(method, "search")

    def _all(self, method: str) -> list[str | None]:
        """Every operation that a request with this method may be."""
        table = self._by_method.get(method, self._other_methods)
        shapes = ["detail_read", "search"] if method in READING else [BY_METHOD.get(method, "search")]
        return [*shapes, *table.operations]


def classify_for(classify: Classify, app: object, manner: Manner = PLAIN) -> ClassifyByRules | ClassifyByOwn:
    """The same for the middleware that wraps `app`: by its routes, or with what they say besides the operation."""
    if isinstance(classify, ClassifyByRules):
        return classify.for_app(app, manner)
    return ClassifyByOwn(classify, AppRoutes(app, manner), manner.first)


def _operations_of(operation: str) -> tuple[str, ...]:
    return operation.operations if isinstance(operation, Readings) else (operation,)
