"""What the routes of the app say of a path: whether it ends in a parameter of one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

from ratelimit.model import Scope
from ratelimit.routes.declared import Declared, Route, declared
from ratelimit.routes.paths import fold, folded_pattern, path_below, split_path
from ratelimit.routes.table import Table

_log = logging.getLogger("ratelimit")

# What no route is for but one that ends in a parameter, unless it is spelled out
_is_number = re.compile("[0-9]+").fullmatch
_ends_in_number = re.compile("[a-z0-9/_-]*/[0-9]+").fullmatch

Verdicts = tuple[bool | None, bool | None]  # of the path as it is written, and whatever its case


class _Tables:
    """Whether the first route that takes a path ends in a parameter, for paths as they are and for folded ones."""

    __slots__ = ("_any_case", "_exact")

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact = Table((route.segments, route.parameter) for route in routes)
        folded = [folded_pattern(route.segments) for route in routes]
        same = all(route.segments == other for route, other in zip(routes, folded, strict=True))
        self._any_case = self._exact if same else Table(zip(folded, (r.parameter for r in routes), strict=True))

    def verdicts(self, segments: list[str], folded: list[str]) -> Verdicts:
        exact = self._exact.find_routed(segments)
        if folded is segments and self._any_case is self._exact:
            return exact, exact
        return exact, self._any_case.find_routed(folded)


class Routes:
    """What one app has said when it was read."""

    __slots__ = ("_count", "_found", "_tables", "ends_in_number", "length", "spelled_out")

    def __init__(self, length: int, found: Declared) -> None:
        self.length = length  # of the list that the app has
        self._found = found
        self._count = sum(map(len, found.lists))
        # the app prefers a route that answers a GET to one before it that would say 405
        self._tables = _Tables(sorted((r for r in found.routes if r.http), key=lambda r: not r.answers("GET")))
        # the last segments of literal routes: whatever else a path ends in, no route says that it is no parameter
        last = [r.segments[-1] for r in found.routes if r.segments]
        self.spelled_out = frozenset(fold(segment) for segment in last if isinstance(segment, str))
        # what says of a path that it is an item's, whatever routes there are: None where one spells a number out
        spelled = any(map(_is_number, self.spelled_out))
        self.ends_in_number: Callable[[str], object] | None = None if spelled else _ends_in_number

    def verdicts(self, scope: Scope, root: str | None, path: str, segments: list[str], folded: list[str]) -> Verdicts:
        """Whether the first route that takes a GET of the path ends in a parameter; None where no route says so.

        `path` is as the client sees it; `segments` are its own, `folded` the same or those of the folded path.
        """
        if not root:
            return self._tables.verdicts(segments, folded)
        # A middleware of a Mount sees the root_path of the mount, but perhaps the app that the mount is in
        for base in (root, scope.get("app_root_path")):
            if base is not None:
                said = self._tables.verdicts(
                    split_path(path_below(path, base)), split_path(path_below(fold(path), fold(base)))
                )
                if said != (None, None):
                    return said
        return None, None

    @property
    def has_grown(self) -> bool:
        """Whether there are more routes by now, also in what is mounted or included."""
        return sum(map(len, self._found.lists)) != self._count

    @property
    def declared(self) -> list[Route]:
        return self._found.routes

    @property
    def whole(self) -> bool:
        """Whether nothing may take a path but what is declared."""
        return self._found.whole


def read(owner: Any, *, watched: bool) -> Routes:
    """What an app declares. Its lists are held to be `watched`, and most likely the app by them."""
    length = len(owner.routes)
    try:
        found = declared(owner)
        if not watched:
            found.lists.clear()
        return Routes(length, found)
    except Exception:  # noqa: BLE001 - objects of unknown make must cost no request
        what = type(owner).__name__
        _log.warning("the routes of %s can't be read: paths go by their shape alone", what, exc_info=True)
        return Routes(length, Declared(whole=False))


NOTHING = Routes(0, Declared(whole=False))
