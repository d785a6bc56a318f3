"""The rules of a policy: what they are written as, and which of them takes a path; and the methods of requests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ratelimit.checks.values import EXEMPT
from ratelimit.model import Scope
from ratelimit.routes.paths import WEBSOCKET as WEBSOCKET
from ratelimit.routes.paths import Segment, Wild, folded_pattern, split_path
from ratelimit.routes.table import Table

USUAL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
READING = frozenset({"GET", "HEAD"})
PREFLIGHT = "preflight"  # stands for its method: only rules of OPTIONS by name take it
HANDSHAKE = "handshake"  # of a WebSocket, which has no method: a request of HTTP may have any
BY_METHOD: Mapping[str, str | None] = {
    "POST": "create",
    "PUT": "write",
    "PATCH": "write",
    "DELETE": "write",
    PREFLIGHT: None,
    HANDSHAKE: "connect",
}

_ALLOWED = 'write a method in capitals or *, a space, and a path from /, such as "POST /v2/invoices" or "* /docs/**"'
_METHOD = re.compile(r"\*|[A-Z][A-Z-]*")
_PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]*\}")
_NO_TEXT = re.compile(r"[*{}?#\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}|\A\.\.?\Z")
_WHY = {
    "?": "the query is not looked at; write the path alone",
    "#": "a fragment is never sent; write the path alone",
    ".": "dot segments are resolved; write the path that they lead to",
    "..": "dot segments are resolved; write the path that they lead to",
}


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
                why = _WHY.get(wrong[0])
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


class RuleTable:
    """The rules of some methods: those that charge match folded paths, those that exempt paths as they are."""

    __slots__ = ("_all", "_charging", "_exempting", "_exempts", "_rules", "find", "operations")

    def __init__(self, rules: Sequence[Rule], methods: set[str]) -> None:
        self._rules = [rule for rule in rules if rule.method in methods]
        listed = [(r.segments if r.operation is None else folded_pattern(r.segments), r) for r in self._rules]
        self.operations = [rule.operation for rule in self._rules]
        self._all = Table(listed)
        self.find = self._all.find  # for a path that is folded as it is
        numbered = [(pattern, number) for number, (pattern, _) in enumerate(listed)]
        self._charging = Table(entry for entry in numbered if self.operations[entry[1]] is not None)
        self._exempting = Table(entry for entry in numbered if self.operations[entry[1]] is None)
        self._exempts = None in self.operations

    def first(self, segments: list[str], folded: list[str]) -> Rule | None:
        """The first rule that takes any other path."""
        if not self._exempts:
            return self._all.find_routed(folded)
        found = (self._charging.find_routed(folded), self._exempting.find_routed(segments))
        first = min((number for number in found if number is not None), default=None)
        return None if first is None else self._rules[first]


def unusual(method: str, scope: Scope) -> str:
    if scope.get("type") == "websocket":
        return HANDSHAKE
    method = str.upper(method) or "GET"  # one server hands on "get" as it came, and some apps answer it
    return PREFLIGHT if method == "OPTIONS" and _is_preflight(scope) else method


def _is_preflight(scope: Scope) -> bool:
    """The Fetch standard, section 3.2.1: OPTIONS with Origin and Access-Control-Request-Method."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names
