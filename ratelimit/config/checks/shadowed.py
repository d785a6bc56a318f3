"""Rules that never match, because one above them always does.

A rule is covered where every path that it takes is taken by the other: `GET /v2/x` by `* /v2/**`. The rules of a method
share a tree of their segments, and an example of a rule's paths leads to the few above it that could cover it, so that
10,000 rules are no 50,000,000 comparisons. Rules that charge take a path whatever its case, rules that exempt as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ratelimit.config.grammar.messages import Path
from ratelimit.operations import Rule
from ratelimit.routes.paths import Segment, Wild, fold

ASKED = 16  # of the rules that take the example: one of the first nearly always covers it
STEPS = 1_000  # of a comparison: `/**/a/**/a/**/a` with one of its kind takes hundreds, and a longer one no end of them
OTHER = "\0"  # a segment that no rule spells out

_Places = frozenset[int]  # where in a pattern one may be


class Earlier:
    """The rules so far, but those that are covered."""

    def __init__(self) -> None:
        self._trees: dict[tuple[str, bool], _Node] = {}
        self._rules: list[tuple[Rule, Path]] = []

    def add(self, rule: Rule, path: Path) -> None:
        exact = rule.operation is None
        node = self._trees.setdefault((rule.method, exact), _Node())
        for segment in _as_compared(rule.segments, exact=exact):
            node = node.children.setdefault(segment, _Node(loops=segment is Wild.REST))
        node.ends = len(self._rules)
        self._rules.append((rule, path))

    def covering(self, rule: Rule) -> Path | None:
        """Where the first rule is that takes everything that this one takes."""
        for number in sorted(self._taking_an_example(rule))[:ASKED]:
            earlier, path = self._rules[number]
            exact = earlier.operation is None
            if _covers(_as_compared(earlier.segments, exact=exact), _as_compared(rule.segments, exact=exact)):
                return path
        return None

    def _taking_an_example(self, rule: Rule) -> set[int]:
        found = set()
        for method in _methods_that_take(rule.method):
            for exact in (True, False):
                tree = self._trees.get((method, exact))
                active = dict.fromkeys(tree.here() if tree else ())
                for segment in _as_compared(rule.segments, exact=exact):
                    word = segment if isinstance(segment, str) else OTHER
                    active = dict.fromkeys(place for node in active for place in node.after(word))
                found |= {node.ends for node in active if node.ends is not None}
        return found


class _Node:
    __slots__ = ("children", "ends", "loops")

    def __init__(self, *, loops: bool = False) -> None:
        self.children: dict[Segment, _Node] = {}
        self.ends: int | None = None  # the number of the rule that ends here
        self.loops = loops

    def here(self) -> Iterator[_Node]:
        """The place itself, and those behind a ** that need no further segment."""
        yield self
        if rest := self.children.get(Wild.REST):
            yield from rest.here()

    def after(self, segment: str) -> Iterator[_Node]:
        if self.loops:
            yield from self.here()
        for key in (segment, Wild.ONE):
            if child := self.children.get(key):
                yield from child.here()


def _methods_that_take(method: str) -> tuple[str, ...]:
    """Of a * that stands above a rule for OPTIONS, preflights are none: a rule for OPTIONS alone takes those."""
    if method == "HEAD":
        return "*", "GET", "HEAD"
    return (method,) if method in ("*", "OPTIONS") else ("*", method)


def _as_compared(segments: Sequence[Segment], *, exact: bool) -> list[Segment]:
    return [fold(segment) if isinstance(segment, str) and not exact else segment for segment in segments]


def _covers(pattern: list[Segment], other: list[Segment]) -> bool:
    """Whether the pattern takes every path that the other takes. Both are followed together: where the other is, and
    all the places where the pattern may then be. A ** of the other goes on with segments that no pattern spells out,
    which are the hardest to take."""
    waiting = [(0, _with_rest(pattern, {0}))]
    seen = set(waiting)
    while waiting and len(seen) < STEPS:
        at, places = waiting.pop()
        if at == len(other):
            if len(pattern) not in places:
                return False
            continue
        segment = other[at]
        if segment is Wild.REST:
            following = [(at + 1, places), (at, _after(pattern, places, OTHER))]
        else:
            following = [(at + 1, _after(pattern, places, segment if isinstance(segment, str) else OTHER))]
        waiting += [step for step in following if step not in seen]
        seen.update(following)
    return not waiting


def _after(pattern: list[Segment], places: _Places, word: str) -> _Places:
    following = {at for at in places if at < len(pattern) and pattern[at] is Wild.REST}
    following |= {at + 1 for at in places if at < len(pattern) and pattern[at] in (word, Wild.ONE)}
    return _with_rest(pattern, following)


def _with_rest(pattern: list[Segment], places: set[int]) -> _Places:
    """With those behind a **, which may be no segment at all."""
    for at, segment in enumerate(pattern):
        if segment is Wild.REST and at in places:
            places.add(at + 1)
    return frozenset(places)
