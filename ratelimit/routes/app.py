"""The app that a request is for: the endpoint of it that the framework will really run, and what that one says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from ratelimit.model import Limit, Refused, Scope
from ratelimit.routes.marks import Declares, mark_of
from ratelimit.routes.reading import Tree, read
from ratelimit.routes.routed import Endpoint
from ratelimit.routes.tree import ITSELF, Asked, Node, every, find, params_of
from ratelimit.routes.units import of_mark

APPS = 8  # that share a part of them
METHODS = 64  # of an endpoint that takes any: what it says for more than that is not kept

_log = logging.getLogger("ratelimit")

# What is wrong with the limits that an endpoint declares, if anything is.
Checked = Callable[[str, tuple[Declares, ...]], str | None]


@dataclass(frozen=True, slots=True)
class Lenient:
    """What a process that refuses nobody makes of a request whose units are no number: it is told of, and counts as
    one."""

    refused: Callable[[Refused, Scope], object]

    def units(self, of: Callable[[Scope], int], scope: Scope) -> int:
        try:
            return of(scope)
        except Refused as why:
            self.refused(why, scope)
            return 1


def nothing_first(routes: AppRoutes) -> None:
    pass


def nothing_wrong(name: str, limits: tuple[Declares, ...]) -> None:
    return None


class Manner(NamedTuple):
    """What is made of what endpoints say: `checked` tells what is wrong with limits, `first` is called at the first
    request."""

    checked: Checked = nothing_wrong
    first: Callable[[AppRoutes], None] = nothing_first
    lenient: Lenient | None = None


PLAIN = Manner()


class AppRoutes:
    """The routes of `app`, or where it has none those of the app in the scope. They are read once, and again when
    anything in them has changed: so often as `changes` says."""

    __slots__ = ("_app", "_manner", "_others", "_tree", "changes", "told")

    def __init__(self, app: object, manner: Manner = PLAIN) -> None:
        self._app = app
        self._manner = manner
        self.changes = 0
        self._tree: Tree | None = None
        self.told = False  # at start, of all of them
        self._others: list[AppRoutes] = []  # of the apps that this one is a part of

    def endpoint(self, scope: Scope, path: str | None = None) -> Endpoint | None:
        """What the endpoint says that a request reaches; None where no route takes it, or says anything.

        `path` is another way to read that of the scope. What the app's own routes raise is theirs to show.
        """
        if self._app is None:
            return None
        top = self.tree().top
        if top.below is None and top.mark is None:
            # the outermost router, whose root_path this is; what it hides, an app within may show
            root = scope.get("app_root_path", scope.get("root_path") or "")
            for whole in (scope.get("router"), scope.get("app")):
                if whole is not None and whole is not self._app:
                    found = self._of_whole(whole)._found({**scope, "root_path": root}, path)
                    if found is not None:
                        return found
        return self._found(scope, path)

    def _found(self, scope: Scope, path: str | None) -> Endpoint | None:
        top = self.tree().top
        asked = asked_of(scope, path)
        try:
            node = find(top, asked, top.step.root or scope.get("root_path") or "", scope)
        except Exception:  # noqa: BLE001 - a route of unknown make
            return None
        return None if node is None else self.said(node, asked.method)

    def said(self, node: Node, method: str) -> Endpoint | None:
        """What a node says to requests of a method."""
        handler = method.lower()
        if handler not in node.said:
            made = self._endpoint(node, handler)
            if len(node.said) >= METHODS:
                return made
            node.said[handler] = made
        return node.said[handler]

    def forget(self) -> None:
        """What was read is not needed: it is read again where it is asked for."""
        self._tree = None

    def nodes(self) -> Iterator[Node]:
        """All that may answer a request."""
        if self._app is None:
            return
        yield from every(self.tree().top)

    def tree(self) -> Tree:
        tree = self._tree
        if tree is None or tree.has_changed():
            self.changes += tree is not None
            self._tree = tree = _read(self._app)
        return tree

    def _of_whole(self, whole: Any) -> AppRoutes:
        for other in self._others:
            if other._app is whole:
                return other
        self._others[:] = [AppRoutes(whole, self._manner), *self._others[: APPS - 1]]
        return self._others[0]

    def _endpoint(self, node: Node, handler: str) -> Endpoint | None:
        own = None if node.websocket is None else mark_of(node.endpoint, handler)
        mark = own or node.mark
        if own is not None and own.own_usage and node.mark is not None:  # what is around it says the operation
            own, mark = None, replace(node.mark, own_usage=True)
        if mark is None and not node.limits:
            return None

        def path_params(scope: Scope) -> Mapping[str, Any]:
            return _params(node, scope)

        name = f"{handler.upper()} {node.path or '/'}"
        limits: tuple[Limit, ...] = tuple({one.limit.name: one.limit for one in node.limits}.values())
        why = "decorator" if own is not None else node.why if mark is not None else "shape"
        units_of: Callable[[Scope], int] | None = None if mark is None else of_mark(mark.units, path_params, name)
        if (lenient := self._manner.lenient) is not None:
            units_of = partial(lenient.units, units_of) if units_of else None
        own_usage = mark is not None and mark.own_usage and handler in {"get", "head"}
        wrong = self._manner.checked(name, node.limits)
        return Endpoint(mark, why, limits, name=name, units_of=units_of, wrong=wrong, own_usage=own_usage)


def asked_of(scope: Scope, path: str | None) -> Asked:
    return Asked(
        scope.get("type") == "websocket",
        scope.get("method", "GET"),
        scope["path"] if path is None else path,
        lambda: _host(scope),
    )


def _host(scope: Scope) -> str:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host


def _params(node: Node, scope: Scope) -> Mapping[str, Any]:
    """Those of the route, besides those that are there. What can't be converted is the app's own error."""
    known = scope.get("path_params") or {}
    for root in {scope.get("root_path") or "": 0, scope.get("app_root_path") or "": 0}:
        try:
            found = params_of(node, asked_of(scope, None), root)
        except Exception:  # noqa: BLE001 - as above
            return known
        if found is not None:
            return {**known, **found}
    return known


def _read(app: Any) -> Tree:
    try:
        return read(app)
    except Exception:  # noqa: BLE001 - objects of unknown make must cost no request
        what = "the routes of %s can't be read: what is said at endpoints is not known, and no limit that they declare"
        _log.warning(what, type(app).__name__, exc_info=True)
        return Tree(Node("", None, ITSELF, (), None, "", ()))
