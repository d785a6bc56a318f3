"""Whether a GET is of an item or of a collection: by the routes of the app, else by a guess."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

from ratelimit.model import Readings, Scope
from ratelimit.operations.idle import say_idle
from ratelimit.operations.routes import NOTHING, Routes, read
from ratelimit.operations.rules import Rule
from ratelimit.routes.declared import owner_of
from ratelimit.routes.paths import fold, folded_pattern, split_path
from ratelimit.routes.table import Table

ITEM, COLLECTION = "detail_read", "search"
_EITHER = Readings((ITEM, COLLECTION))

_DIGIT = re.compile(r"\d").search  # of any script, as some frameworks take them for numbers
_VERSION = re.compile(r"v\d+(\.\d+){0,2}((alpha|beta)\d*)?|\d+(\.\d+){1,2}", re.IGNORECASE).fullmatch


class Items:
    """What the routes of the app say is known: those of `app`, which may be wrapped in middlewares, or where it has
    none those of the app in the scope, which is not kept alive. An app is read once, and again when it has more routes.
    """

    __slots__ = (
        "_app",
        "_changes",
        "_first",
        "_known",
        "_last",
        "_named",
        "_owner",
        "_router",
        "_routes",
        "_ruled",
        "_rules",
        "_spelled_out",
        "ends_in_number",
        "unread",
    )

    def __init__(self, rules: Sequence[Rule], app: object = None, first: Callable[[], None] = lambda: None) -> None:
        self._rules = rules
        self._ruled = any(rule.method in ("*", "GET") for rule in rules)
        self._named = _named(rules)
        self._app = app
        self._changes = 0
        self._first = first  # to be called at the first request
        self.unread = app is not None  # whether its first request is still to come
        self._owner: Any = None  # what has the routes of `app`, once there are any
        self._known: WeakKeyDictionary[Any, Routes] = WeakKeyDictionary()  # by what has them
        # A process nearly always has one app. With what has its list: to ask an app itself takes five times as long.
        self._last: Callable[[], Any] = _nobody
        self._router: Callable[[], Any] = _nobody
        self._routes = NOTHING
        self._spelled_out = NOTHING.spelled_out
        # What says of a path that a GET of it is of an item: None where a rule, or a route, may say otherwise. One that
        # spells a number out may be new for longer, as below
        self.ends_in_number: Callable[[str], object] | None = None

    def operation(self, scope: Scope, root: str | None, path: str, segments: list[str], folded: list[str]) -> str:
        """`path` is as the client sees it, `folded` its segments, or those of the folded path where that is another."""
        if not segments:
            return COLLECTION
        end = segments[-1]
        owner, last = self._owner or scope.get("app"), self._last()
        # A route that spells out a number may be new for longer: to ask whether one is takes a tenth of it all
        if end.isdecimal() and last is owner and end not in self._spelled_out and not root:
            return ITEM
        routes = self._routes
        # None is an app that is gone, and the owner of a scope without one
        if last is None or last is not owner or len(self._router().routes) != routes.length:
            routes = self.routes(scope)
        guess = end.isdecimal() or (_DIGIT(end) is not None and not _VERSION(end))
        if guess and folded[-1] not in routes.spelled_out and not root:
            return ITEM
        exact, any_case = routes.verdicts(scope, root, path, segments, folded)
        if exact is None and any_case is None and routes.has_grown:
            exact, any_case = self.routes(scope, again=True).verdicts(scope, root, path, segments, folded)
        said = any_case if exact is None else exact
        if said is None:
            return ITEM if guess or self._named.find(folded) else COLLECTION
        if any_case is not None and any_case is not said:
            return _EITHER
        return ITEM if said else COLLECTION

    def know(self, scope: Scope) -> bool:
        """Whether a route says it of a path that has one reading; else it is a guess, or a rule's name."""
        segments = split_path(scope["path"])
        folded = split_path(fold(scope["path"]))
        return self.routes(scope).verdicts(scope, None, scope["path"], segments, folded) != (None, None)

    def routes(self, scope: Scope, *, again: bool = False) -> Routes:
        """Of the app that a request is for. The first request says which rules are for none of them."""
        if self._owner is None and self._app is not None:
            self._owner, self._routes = owner_of(self._app), NOTHING
        owner = scope.get("app") if self._owner is None else self._owner
        routes = self._routes_of(owner, again=again)
        if self.unread:
            self.unread = False
            say_idle(self._rules, routes, scope.get("root_path") or "")
            self._first()
        return routes

    def as_of(self, changes: int) -> None:
        """So often has anything in the routes changed: what was read before that is forgotten."""
        if changes != self._changes:
            self._changes = changes
            self._routes, self._last, self.ends_in_number = NOTHING, _nobody, None
            self._known.clear()

    def _routes_of(self, owner: Any, *, again: bool) -> Routes:
        routes = getattr(owner, "routes", None)
        if not isinstance(routes, list | Sequence):
            return NOTHING
        try:
            of: Callable[[], Any] = ref(owner)
            known = self._routes if owner is self._owner else self._known.get(owner)
            if known is None or known.length != len(routes) or again or known is NOTHING:
                known = read(owner, watched=owner is self._owner)
                if owner is not self._owner:
                    self._known[owner] = known
            router = getattr(owner, "router", owner)
            self._router = ref(router if getattr(router, "routes", None) is routes else owner)
        except TypeError:  # an app without hash or weak references can't be remembered
            return NOTHING
        self._routes, self._spelled_out, self._last = known, known.spelled_out, of
        self.ends_in_number = known.ends_in_number if owner is self._owner and not self._ruled else None
        return known


def _named(rules: Sequence[Rule]) -> Table[bool]:
    """Whether the path of a rule ends in {name}. A rule that spells the last segment out knows better than one that
    leaves it open, so those come first."""
    patterns = [(folded_pattern(rule.segments), rule.path.rstrip("/").endswith("}")) for rule in rules]
    texts = [pattern for pattern, _ in patterns if pattern and isinstance(pattern[-1], str)]
    names = [pattern for pattern, is_name in patterns if is_name]
    return Table([*((pattern, False) for pattern in texts), *((pattern, True) for pattern in names)])


def _nobody() -> object:
    """A reference to an app before there was one: to nothing that an app could be."""
    return _nobody
