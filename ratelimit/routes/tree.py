"""The routes of an app as its framework matches them: which endpoint it will really run, and what that one says.

As Starlette does it: in order, the first that takes path, method and host; a Mount or a Host answers all that it takes,
itself or not at all. A tree of segments leads to the few routes that may match, the framework's own patterns decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

from ratelimit.model import Scope
from ratelimit.routes.declared import PARAMETER, pattern_of
from ratelimit.routes.marks import Declares, Mark
from ratelimit.routes.paths import Segment, Wild, split_path
from ratelimit.routes.routed import Endpoint
from ratelimit.routes.table import Table

_ONE_SEGMENT = re.compile(r"(?:\[[0-9A-Za-z-]+\]|\\d|\{\d+(?:,\d*)?\}|[-+?])*")  # patterns that match no slash
_PLAIN = frozenset({"[^/]+", r"[0-9]+(\.[0-9]+)?"})


class Step(NamedTuple):
    """What one pattern takes of a path, or of a host."""

    pattern: re.Pattern[str]
    convertors: Mapping[str, Any]
    of: str  # "route", "mount" or "host"
    root: str = ""  # the root_path that the app behind it says itself


ITSELF = Step(re.compile(""), {}, "app")


class Asked(NamedTuple):
    """What of a request its route is found by."""

    websocket: bool
    method: str
    path: str
    host: Callable[[], str]


@dataclass(eq=False)
class Node:
    """A route, a Mount or a Host; or an app that has no routes itself, `below` which nothing is known.

    `path` is its whole path for people, `mark` what is said of all that it answers, by whatever is around it.
    """

    path: str
    host: str | None
    step: Step
    steps: tuple[Step, ...]  # all that lead here, this one included
    mark: Mark | None
    why: str
    index: tuple[Segment, ...]
    methods: frozenset[str] | None = None
    websocket: bool | None = None  # None: it takes both
    endpoint: Any = None
    limits: tuple[Declares, ...] = ()
    below: Level | None = None
    matches: Callable[[Scope], bool] | None = None  # of a route that has its own way
    number: int = 0  # in its level
    own: str = ""  # its path in its router
    said: dict[str, Endpoint | None] = field(default_factory=dict)  # by method; None: it says nothing

    def answers(self, asked: Asked) -> bool:
        if self.websocket is not None and asked.websocket is not self.websocket:
            return False
        return self.methods is None or asked.websocket or asked.method in self.methods


@dataclass(eq=False)
class Level:
    """The routes of one router, in their order."""

    nodes: list[Node]
    table: Table[list[Node]] = field(init=False)

    def __post_init__(self) -> None:
        alike: dict[tuple[Segment, ...], list[Node]] = {}
        for number, node in enumerate(self.nodes):
            node.number = number
            alike.setdefault(node.index, []).append(node)
        self.table = Table(alike.items())

    def candidates(self, path: str) -> list[Node]:
        found = self.table.find_all(split_path(path))
        if len(found) == 1:
            return found[0]
        return sorted([node for nodes in found for node in nodes], key=attrgetter("number"))


def find(node: Node, asked: Asked, root: str, scope: Scope) -> Node | None:
    """The node that answers: a route, or the app below which nothing more is known. None: no route takes it."""
    level = node.below
    if level is None:
        return node
    path = path_at(asked.path, root)
    for one in level.candidates(path):
        step = one.step
        if one.matches is not None:
            if not one.matches({**scope, "path": asked.path, "root_path": root}):
                continue
        elif not one.answers(asked):
            continue
        match = step.pattern.match(path) if step.of != "host" else None
        if match is None:
            if one.matches is None:
                continue
        elif step.of == "mount":
            return find(one, asked, step.root or root + mounted(path, match), scope)
        return find(one, asked, step.root or root, scope)
    return None if node.mark is None else node


def mounted(path: str, match: re.Match[str]) -> str:
    """What a Mount takes of a path: it becomes a part of the root_path."""
    rest = len(match.groupdict().get("path", "")) + 1
    return path[:-rest]


def path_at(path: str, root: str) -> str:
    """The path below a root_path as Starlette's get_route_path has it."""
    if not root or not path.startswith(root):
        return path
    if path == root:
        return ""
    return path[len(root) :] if path[len(root)] == "/" else path


def index_of(path: str, convertors: Mapping[str, Any]) -> tuple[Segment, ...]:
    """What takes at least the paths that a route takes."""
    segments: list[Segment] = []
    for text in split_path(path):
        found = PARAMETER.findall(text)
        if not found:
            segments.append(text)
        elif all(_in_a_segment(pattern_of(name, kind or None, convertors)) for name, kind in found):
            segments.append(Wild.ONE)
        else:
            return (*segments, Wild.REST)
    return tuple(segments)


def _in_a_segment(pattern: str) -> bool:
    return pattern in _PLAIN or (_ONE_SEGMENT.fullmatch(pattern) is not None and re.fullmatch(pattern, "") is None)


def params_of(node: Node, asked: Asked, root: str) -> dict[str, Any] | None:
    """The path parameters of a request that the node answers, as the framework converts them."""
    params: dict[str, Any] = {}
    for step in node.steps:
        if step.of == "app":
            root = step.root
            continue
        path = path_at(asked.path, root)
        if step.of == "host":  # which an older Starlette compares as it is written
            match = step.pattern.match(asked.host().lower()) or step.pattern.match(asked.host())
        else:
            match = step.pattern.match(path)
        if match is None:
            return None
        found = match.groupdict()
        if step.of == "mount":
            root += mounted(path, match)
            found.pop("path", None)
        root = step.root or root
        params.update({name: step.convertors[name].convert(text) for name, text in found.items()})
    return params


def every(node: Node) -> Iterator[Node]:
    """All that may answer, in the order in which they are asked."""
    if node.below is None:
        yield node
        return
    for one in node.below.nodes:
        yield from every(one)
    if node.mark is not None:
        yield node
