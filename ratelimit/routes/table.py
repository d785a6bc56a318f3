"""Matching a path against many patterns at once, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from ratelimit.routes.paths import ENDS, Segment, Wild

TESTED = 128  # characters of a segment that is tried on an app's own patterns: {a}-{b}-{c} can take n³ steps

_T = TypeVar("_T")


class _Node(Generic[_T]):
    """A place in the tree of patterns. `order` is that of the first pattern that ends here.

    What a walk needs is prepared when the tree is whole: `found` is the value of the first pattern that ends here, also
    by a ** that takes nothing; `forks` is whether a segment that is no text of this place may lead to several others,
    `several` whether one that leads here may lead elsewhere too; `depth` is how many segments have led here.
    """

    __slots__ = ("depth", "forks", "found", "loops", "one", "order", "rest", "several", "tests", "texts")

    def __init__(self, order: int, *, loops: bool = False) -> None:
        self.texts: dict[str, _Node[_T]] = {}
        self.one: _Node[_T] | None = None
        self.tests: dict[re.Pattern[str], _Node[_T]] = {}
        self.rest: _Node[_T] | None = None
        self.loops = loops
        self.order = order
        self.forks = False
        self.several = False
        self.depth = 0
        self.found: _T | None = None

    def child(self, segment: Segment, order: int) -> _Node[_T]:
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

    def after(self, segment: str) -> list[_Node[_T]]:
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

    def settle(self, values: Sequence[_T | None]) -> list[_Node[_T]]:
        """When the tree is whole: what a walk would find out at each step. Returns the places behind this one."""
        self.found = values[self.order if self.rest is None else min(self.order, self.rest.order)]
        behind = [*self.texts.values(), *self.tests.values()]
        for text in self.texts.values():
            text.several = self.forks or self.one is not None
        if self.one is not None:
            self.one.several = self.forks
            behind.append(self.one)
        if self.rest is not None:
            behind.append(self.rest)
        for node in behind:
            node.depth = self.depth + 1
        return behind

    def children(self) -> list[_Node[_T]]:
        """The places that any segment may lead to from here."""
        places = [*self.texts.values(), *self.tests.values()]
        if self.loops:
            places.append(self)
        if self.one is not None:
            places.append(self.one)
        return _with_rest(places)


def _with_rest(places: list[_Node[_T]]) -> list[_Node[_T]]:
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
        self._root: _Node[_T] = _Node(none)
        for order, (segments, _) in enumerate(entries):
            node = self._root
            for segment in segments:
                node = node.child(segment, none)
            node.order = min(node.order, order)
        unsettled = [self._root]
        while unsettled:
            unsettled += unsettled.pop().settle(self._values)

    def find(self, segments: Sequence[str]) -> _T | None:
        node = self._root
        for segment in segments:  # nearly always there is a single place to be at
            child = node.texts.get(segment, node.one)
            if child is None:
                return self._follow(node, segments[node.depth :]) if node.forks else None
            if child.several:
                return self._follow(node, segments[node.depth :])
            node = child
        return node.found

    def find_routed(self, segments: Sequence[str]) -> _T | None:
        """`/a/%0A` is routed as `/a/` where there is such a route, else as an item of `/a/{id}`."""
        if segments and segments[-1] == "\n":
            found = self.find(segments[:-1])
            if found is not None:
                return found
        return self.find(segments)

    def _follow(self, node: _Node[_T], segments: Sequence[str]) -> _T | None:
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

    def _ends(self, segments: Sequence[str]) -> Iterable[_Node[_T]]:
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
