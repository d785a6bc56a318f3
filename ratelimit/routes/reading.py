"""Reads the routes of an app into a tree, and notices when anything in it has changed."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import is_
from typing import Any

from ratelimit.ground.printable import in_a_line
from ratelimit.routes.declared import WRAPPERS, included
from ratelimit.routes.marks import MADE, AsOperation, Declares, MarkedApp, mark_of
from ratelimit.routes.paths import Wild
from ratelimit.routes.tree import ITSELF, Level, Node, Step, index_of

_log = logging.getLogger("ratelimit")

_STOCK = ("starlette.routing", "fastapi.routing")  # whose patterns say all that their `matches` does
_NOBODY = re.compile(r"(?!)")
_DEEPEST = 32  # mounts within each other


@dataclass
class Tree:
    """An app as it was read. `top` is the app itself."""

    top: Node
    marks: int = field(default_factory=lambda: sum(MADE))
    lists: list[tuple[Any, Sequence[Any]]] = field(default_factory=list)  # routers, and what their routes were
    apps: list[tuple[Any, Any]] = field(default_factory=list)  # mounts, and what they served

    def has_changed(self) -> bool:
        """Whether a route was added, taken away or replaced anywhere, or a mark was made since then."""
        if sum(MADE) != self.marks:
            return True
        try:
            for router, were in self.lists:
                if not _same(router.routes, were):
                    return True
            return any(mount.app is not app for mount, app in self.apps)
        except Exception:  # noqa: BLE001 - objects of unknown make must cost no request
            return True

    def settle(self) -> None:
        """What gives other objects each time it is asked is asked no more."""
        self.lists = [(router, were) for router, were in self.lists if _same(router.routes, were)]


def _same(routes: Sequence[Any], were: Sequence[Any]) -> bool:
    """By identity: to Starlette, routes of the same endpoint are equal whatever they depend on."""
    return len(routes) == len(were) and all(map(is_, routes, were))


def read(app: Any) -> Tree:
    tree = Tree(Node("", None, ITSELF, (), None, "", ()))
    _read_app(app, tree.top, tree, 0)
    tree.settle()
    return tree


def _read_app(app: Any, node: Node, tree: Tree, depth: int) -> None:
    """What is served: its mark, and its routes where it has some. Middlewares around it are looked through."""
    for _ in range(WRAPPERS):
        mark = app.mark if isinstance(app, MarkedApp) else None if app is None else mark_of(app)
        if mark is not None:
            node.mark, node.why = mark, "decorator"
        routes = None if isinstance(app, MarkedApp) or depth >= _DEEPEST else getattr(app, "routes", None)
        if isinstance(routes, Sequence) and all(hasattr(route, "matches") for route in routes):
            root = getattr(app, "root_path", None)  # which a FastAPI sets, whatever the scope has
            if isinstance(root, str) and root:
                node.step = node.step._replace(root=root)
                node.steps = (*node.steps[:-1], node.step)
            router = getattr(app, "router", app)
            node.below = _level(router if getattr(router, "routes", None) is routes else app, node, tree, depth)
            return
        inner = getattr(app, "app", None)
        if inner is None:
            node.endpoint = app
            return
        app = inner


def _level(router: Any, above: Node, tree: Tree, depth: int) -> Level:
    routes = router.routes
    tree.lists.append((router, routes[:]))
    nodes = [_node(written, route, above, tree, depth) for one in routes for written, route in _answering(one, tree)]
    nodes += [_last(route, above) for route in _low_priority(router)]
    return Level(nodes)


def _answering(route: Any, tree: Tree) -> Iterator[tuple[Any, Any]]:
    if hasattr(route, "effective_route_contexts"):
        _watch(route, tree)
    return included(route)


def _watch(route: Any, tree: Tree) -> None:
    router = route.original_router
    tree.lists.append((router, router.routes[:]))
    for inner in router.routes:
        if hasattr(inner, "effective_route_contexts"):
            _watch(inner, tree)


def _node(written: Any, route: Any, above: Node, tree: Tree, depth: int) -> Node:
    convertors = getattr(route, "param_convertors", None) or {}
    host = getattr(route, "host_regex", None)
    if host is not None:
        step = Step(host, convertors, "host")
        node = replace(above, host=getattr(route, "host", None), step=step, index=(Wild.REST,), below=None, said={})
        node.matches = _own_way(route)
    else:
        path = getattr(route, "path", None) or ""
        leaf = hasattr(written, "endpoint")
        pattern = getattr(route, "path_regex", None)
        step = Step(pattern or _NOBODY, convertors, "route" if leaf else "mount")
        index = index_of(path, convertors) if leaf else (*index_of(path, convertors), Wild.REST)
        node = replace(
            above, path=above.path + path, own=path, step=step, index=index, below=None, matches=None, said={}
        )
        if leaf:
            http = hasattr(written, "methods")
            node.websocket = not http
            node.methods = frozenset(route.methods) if http and route.methods else None
            node.endpoint = route.endpoint
            _read_dependencies(route, node)
        if pattern is None or (written is route and not _is_stock(written)):
            node.index, node.matches = (Wild.REST,), _own_way(route)
        elif hasattr(written, "dependant") and hasattr(written, "methods") and not _is_stock(written):
            node.index, node.matches = (Wild.REST,), _own_way_included(written, route)
    node.steps = (*above.steps, step)
    if not hasattr(written, "endpoint") and hasattr(route, "app") and depth < _DEEPEST:
        tree.apps.append((route, route.app))
        try:
            _read_app(route.app, node, tree, depth + 1)
        except Exception:  # noqa: BLE001 - of the other routes it is known what they say
            what = "the routes of %s at %s can't be read: what is said at its endpoints is not known"
            _log.warning(what, type(route.app).__name__, in_a_line(node.path or "/"), exc_info=True)
            node.below = None
    return node


def _read_dependencies(route: Any, node: Node) -> None:
    """What is nearest to the endpoint comes last in FastAPI's own order, and its parameters after that."""
    found = [*_calls(getattr(route, "dependant", None))]
    marks = [call.mark for call in found if isinstance(call, AsOperation)]
    if marks:
        node.mark, node.why = marks[-1], "dependency"
    node.limits = tuple([call for call in found if isinstance(call, Declares)])


def _calls(dependant: Any) -> Iterator[Any]:
    for inner in getattr(dependant, "dependencies", ()):
        yield inner.call
        yield from _calls(inner)


def _is_stock(written: Any) -> bool:
    return getattr(getattr(type(written), "matches", None), "__module__", None) in _STOCK


def _own_way(route: Any) -> Any:
    def matches(scope: Any) -> bool:
        return _is_full(*route.matches(scope))

    return matches


def _own_way_included(written: Any, route: Any) -> Any:
    """FastAPI asks the route that was included, and tells it in the scope as what it answers there."""
    context = getattr(route, "_route_context", None) or route

    def matches(scope: Any) -> bool:
        told = {**scope.get("fastapi", {}), "effective_route_context": context}
        return _is_full(*written.matches({**scope, "fastapi": told}))

    return matches


def _is_full(match: Any, _: Any) -> bool:
    return bool(getattr(match, "name", None) == "FULL")


def _low_priority(router: Any) -> Iterator[Any]:
    """What FastAPI asks where no route takes a path: the files of a frontend."""
    yield from getattr(router, "_low_priority_routes", ())
    for route in router.routes:
        if hasattr(route, "effective_low_priority_routes"):
            yield from route.effective_low_priority_routes()


def _last(route: Any, above: Node) -> Node:
    own = "/{frontend:path}"
    node = replace(above, path=above.path + own, own=own, index=(Wild.REST,), websocket=False, below=None, said={})
    node.matches, node.endpoint = _own_way(route), route
    _read_dependencies(route, node)
    return node
