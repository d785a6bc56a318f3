"""Matching a path against many patterns at once, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Generic, TypeVar

WEBSOCKET = "WEBSOCKET"  # the method of handshakes, as rules name it
ENDS = 128  # segments at either end of a long path that are looked at: a path of 64 kB may have 32,000
TESTED = 128  # characters of a segment that is tried on an app's own patterns: {a}-{b}-{c} can take n³ steps

_T = TypeVar("_T")


class Wild(Enum):
    ONE = "*"  # one segment
    REST = "**"  # any number of segments, also none


Segment = str | Wild | re.Pattern[str]


def split_path(path: str) -> list[str]:
    """The segments of a path. Empty ones do not count: neither a trailing nor a doubled slash leads around a rule.

    A newline at the end does not count either, as the `$` of Starlette's routes matches before it: `/invoices%0A` is
    routed as `/invoices`. One that is a segment by itself stays: it could be the {id} of `/invoices/{id}`.

    In a path of more than 256 segments, which nobody sends in earnest, `**` is taken to be what lies in the middle.
    """
    segments = [*filter(None, path.split("/"))]
    if path[-1:] == "\n":
        segments[-1] = segments[-1][:-1] or "\n"
    return segments if len(segments) <= 2 * ENDS else segments[:ENDS] + segments[-ENDS:]


def client_path(path: str, root_path: str) -> str:
    """The path that the client sees: with `root_path`, which ASGI includes, and which a proxy may have cut off."""
    root = root_path.rstrip("/")
    return path if path == root or path.startswith(root + "/") else root + path


def path_below(path: str, root_path: str) -> str:
    """The path as an app at `root_path` routes it."""
    root = root_path.rstrip("/")
    return path[len(root) :] if path == root or path.startswith(root + "/") else path


def fold(path: str) -> str:
    """The same for whatever any server takes for the same, whatever the case.

    Upper case, as Windows compares, and then lower: a long s is an s, the Kelvin sign a k, ß is ss, and an i with a dot
    or without is an i, as it is to Python's re.IGNORECASE.
    """
    return path.lower() if path.isascii() else path.replace("İ", "i").upper().casefold()


def folded_pattern(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """As it is compared with folded paths."""
    return tuple(_folded(segment) for segment in segments)


def _folded(segment: Segment) -> Segment:
    if isinstance(segment, str):
        return fold(segment)
    if isinstance(segment, re.Pattern) and segment.pattern.upper() != segment.pattern.lower():
        return re.compile(segment.pattern, re.IGNORECASE)
    return segment


class _Node:
    """A place in the tree of patterns. `order` is that of the first pattern that ends here; where it `forks`, a segment
    may lead to several places."""

    __slots__ = ("forks", "loops", "one", "order", "rest", "tests", "texts")

    def __init__(self, order: int, *, loops: bool = False) -> None:
        self.texts: dict[str, _Node] = {}
        self.one: _Node | None = None
        self.tests: dict[re.Pattern[str], _Node] = {}
        self.rest: _Node | None = None
        self.loops = loops
        self.order = order
        self.forks = False

    def child(self, segment: Segment, order: int) -> _Node:
        if segment is Wild.REST:
            if self.loops:  # "**/**" is "**"
                return self
            self.forks = True
            self.rest = self.rest or _Node(order, loops=True)
            return self.rest
        if segment is Wild.ONE:
            self.one = self.one or _Node(order)
            return self.one
        if isinstance(segment, str):
            return self.texts.setdefault(segment, _Node(order))
        self.forks = True
        return self.tests.setdefault(segment, _Node(order))

    def after(self, segment: str) -> list[_Node]:
        """The places that a segment leads to from here."""
        places = [self] if self.loops else []
        child = self.texts.get(segment)
        if child is not None:
            places.append(child)
        if self.one is not None:
            places.append(self.one)
        if self.tests and len(segment) <= TESTED:
            places += [child for test, child in self.tests.items() if test.fullmatch(segment)]
        return _with_rest(places)

    def children(self) -> list[_Node]:
        """The places that any segment may lead to from here."""
        places = [*self.texts.values(), *self.tests.values()]
        if self.loops:
            places.append(self)
        if self.one is not None:
            places.append(self.one)
        return _with_rest(places)


def _with_rest(places: list[_Node]) -> list[_Node]:
    """A ** behind a place is reached with no further segment."""
    return places + [place.rest for place in places if place.rest is not None]


def _routed(segments: Sequence[str]) -> list[Sequence[str]]:
    """`/a/%0A` is routed as `/a/` too, by a `$` that matches before a newline at the end."""
    return [segments, segments[:-1]] if segments and segments[-1] == "\n" else [segments]


class Table(Generic[_T]):
    """Patterns with a value each; `find` returns the value of the first that matches, None where none does.

    The patterns share one tree, and all that still match are followed together, segment by segment. So the time is the
    length of the path times the places in the tree that match at once: the same for 1,000 rules as for 10.
    """

    def __init__(self, patterns: Iterable[tuple[Sequence[Segment], _T]]) -> None:
        entries = list(patterns)
        none = len(entries)
        self._values: list[_T | None] = [*(value for _, value in entries), None]
        self._root = _Node(none)
        for order, (segments, _) in enumerate(entries):
            node = self._root
            for segment in segments:
                node = node.child(segment, none)
            node.order = min(node.order, order)

    def find(self, segments: Sequence[str]) -> _T | None:
        node = self._root
        waiting = iter(segments)
        for segment in waiting:  # nearly always there is a single place to be at
            child = node.texts.get(segment)
            if child is None:
                child = node.one
            elif node.one:
                return self._follow(node, [segment, *waiting])
            if node.forks:
                return self._follow(node, [segment, *waiting])
            if child is None:
                return None
            node = child
        return self._values[node.order if node.rest is None else min(node.order, node.rest.order)]

    def find_routed(self, segments: Sequence[str]) -> _T | None:
        """`/a/%0A` is routed as `/a/` where there is such a route, else as an item of `/a/{id}`."""
        if segments and segments[-1] == "\n":
            found = self.find(segments[:-1])
            if found is not None:
                return found
        return self.find(segments)

    def _follow(self, node: _Node, segments: Sequence[str]) -> _T | None:
        """All places at once that the segments may lead to from here; of very many those at the ends."""
        if len(segments) > 2 * ENDS:
            segments = [*segments[:ENDS], *segments[-ENDS:]]
        active = [node] if node.rest is None else [node, node.rest]
        for segment in segments:
            if len(active) == 1:
                active = active[0].after(segment)
            else:  # a place counts once: two ways to it, as in **/a/**, would double at every step
                active = list({place: None for node in active for place in node.after(segment)})
            if not active:
                return None
        return self._values[min(node.order for node in active)]

    def find_all(self, segments: Sequence[str]) -> list[_T]:
        """The values of all that match, in their order; of patterns that are alike the first one's."""
        ends = {node.order for path in _routed(segments) for node in self._ends(path)}
        return [value for order in sorted(ends) if (value := self._values[order]) is not None]

    def _ends(self, segments: Sequence[str]) -> Iterable[_Node]:
        active = _with_rest([self._root])
        for segment in segments:
            active = [*dict.fromkeys([place for node in active for place in node.after(segment)])]
        return active

    def meets(self, pattern: Sequence[Segment]) -> bool:
        """Whether there may be a path that `pattern`, of texts and wild ones, matches and one of these as well."""
        active = {*_with_rest([self._root])}
        for segment in pattern:
            if segment is Wild.REST:
                further = active
                while further:  # whatever is further down
                    further = {child for node in further for child in node.children()} - active
                    active |= further
            elif segment is Wild.ONE:
                active = {child for node in active for child in node.children()}
            else:
                active = {child for node in active for child in node.after(str(segment))}
        return any(node.order < len(self._values) - 1 for node in active)
