"""What kind of call it is: by the rules of the policy, else by the shape of the request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ratelimit.model import Scope
from ratelimit.paths import Segment, Table, Wild, client_path, split_path
from ratelimit.routes import AppRoutes

EXEMPT = "exempt"  # the name under which rules take requests out of every limit
BUILT_IN = ("detail_read", "search", "create", "write", "heavy_write")  # the last is no shape: only rules give it

_ALLOWED = 'write a method in capitals or *, a space, and a path from /, such as "POST /v2/invoices" or "* /docs/**"'
_METHOD = re.compile(r"\*|[A-Z][A-Z-]*")
_PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]*\}")
_NO_TEXT = re.compile(r"[*{}?#]|%[0-9A-Fa-f]{2}")

_USUAL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_BY_METHOD = {"POST": "create", "PUT": "write", "PATCH": "write", "DELETE": "write"}
_DIGIT = re.compile(r"[0-9]")
_VERSION = re.compile(r"v[0-9]+(\.[0-9]+){0,2}((alpha|beta)[0-9]*)?|[0-9]+(\.[0-9]+){1,2}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rule:
    """`GET /v2/catalogs/*` is `operation`; None is exempt.

    `{name}` and `*` are one segment, `**` is any number of them, also none. Raises ValueError if the method or the path
    can never match a request.
    """

    method: str
    path: str
    operation: str | None

    def __post_init__(self) -> None:
        written = f"{self.method} {self.path}".strip()
        if not _METHOD.fullmatch(self.method) or not self.path.startswith("/") or re.search(r"\s", self.path):
            raise ValueError(f'"{written}" is no rule: {_ALLOWED}')
        for segment in split_path(self.path):
            if isinstance(_segment(segment), str) and (wrong := _NO_TEXT.search(segment)):
                why = {"?": "the query is not looked at", "#": "a fragment is never sent"}.get(wrong[0])
                if wrong[0].startswith("%"):
                    why = "write the character itself, as paths are matched decoded"
                raise ValueError(
                    f'"{segment}" in the rule "{written}" matches nothing: '
                    f"{why or 'a segment is plain text, or * or {name} for one segment, or ** for any number of them'}"
                )

    @classmethod
    def parse(cls, text: str, operation: str | None) -> Rule:
        """A rule from its text, `POST /v2/invoices`. The operation `exempt` is None."""
        method, _, path = text.strip().partition(" ")
        return cls(method, path.lstrip(" "), None if operation == EXEMPT else operation)

    @property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(_segment(text) for text in split_path(self.path))


def _segment(text: str) -> Segment:
    if text == "**":
        return Wild.REST
    return Wild.ONE if text == "*" or _PLACEHOLDER.fullmatch(text) else text


class ClassifyByRules:
    """Called with a scope, returns the operation, or None for a request that is exempt.

    The first rule that matches decides; a GET rule also takes HEAD, and the handshake of a WebSocket is a GET. Rules
    see the path that the client sees, under a mount and behind a `root_path` too. A CORS preflight is always exempt.

    What matches no rule goes by its shape: GET or HEAD of an item is `detail_read`, of anything else `search`, POST is
    `create`, PUT, PATCH and DELETE are `write`, any other method is `search`. An item's path ends in an identifier, a
    segment with a digit in it that is no version (`v2`, `2.0`), or in the parameter of a known route: one of the app in
    `scope["app"]`, where the first that takes the path decides, else one of the rules, whatever its method.
    """

    __slots__ = ("_app_routes", "_by_method", "_items", "_other_methods", "rules")

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._by_method = {
            method: self._table({"*", method} | ({"GET"} if method == "HEAD" else set()))
            for method in {"GET", "HEAD", *(rule.method for rule in self.rules)}
        }
        self._other_methods = self._table({"*"})
        self._items = self._item_table()
        self._app_routes = AppRoutes()

    def __call__(self, scope: Scope) -> str | None:
        method = scope.get("method", "GET")
        if method not in _USUAL:
            method = method.upper()  # one server hands on "get" as it came, and some apps answer it
            if method == "OPTIONS" and _is_preflight(scope):
                return None
        path, root_path = scope["path"], scope.get("root_path")
        if not self.rules and method == "GET":
            _, slash, last = path.rpartition("/")
            if slash and _is_number(last):  # /items/17; what is below says the same, more slowly
                return "detail_read"
        segments = split_path(client_path(path, root_path) if root_path else path)
        rule = self._by_method.get(method, self._other_methods).find(segments)
        if rule is not None:
            return rule.operation
        if method in ("GET", "HEAD"):
            return "detail_read" if self._is_item(scope, segments) else "search"
        return _BY_METHOD.get(method, "search")

    def _is_item(self, scope: Scope, segments: list[str]) -> bool:
        if not segments:
            return False
        last = segments[-1]
        if _is_number(last) or (_DIGIT.search(last) and not _VERSION.fullmatch(last)):
            return True
        parameter = self._app_routes.ends_in_parameter(scope, segments)
        return bool(self._items.find(segments) if parameter is None else parameter)

    def _table(self, methods: set[str]) -> Table[Rule]:
        return Table((rule.segments, rule) for rule in self.rules if rule.method in methods)

    def _item_table(self) -> Table[bool]:
        """Whether the path of a rule ends in {name}. A rule that spells the last segment out knows better than one that
        leaves it open, so those come first."""
        texts = [rule.segments for rule in self.rules if rule.segments and isinstance(rule.segments[-1], str)]
        names = [rule.segments for rule in self.rules if rule.path.rstrip("/").endswith("}")]
        return Table([*((segments, False) for segments in texts), *((segments, True) for segments in names)])


def _is_number(segment: str) -> bool:
    return segment.isdecimal() and segment.isascii()


def _is_preflight(scope: Scope) -> bool:
    """The Fetch standard, section 3.2.1: OPTIONS with Origin and Access-Control-Request-Method."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names
