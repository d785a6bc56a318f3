"""The routes of the app: whether a path ends in a parameter of one.

Starlette and FastAPI are not imported but read by the attributes that their routes have: `path`, `methods`, `endpoint`
and `param_convertors`, of a mounted app `routes` and `app`, and of a router that FastAPI keeps as it was included
`effective_route_contexts()`. What has none of them says nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, ref

from ratelimit.model import Scope
from ratelimit.paths import Segment, Table, Wild, path_below, split_path

_PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?\}")  # as Starlette writes them
_WRAPPERS = 32  # middlewares around a mounted app that are looked through

_log = logging.getLogger("ratelimit")


@dataclass(frozen=True, slots=True)
class _Route:
    segments: tuple[Segment, ...]
    parameter: bool | None  # whether it ends in one; None: an app is mounted here, and nobody else answers below
    answers_get: bool = True
    http: bool = True
    websocket: bool = True


@dataclass(frozen=True, slots=True)
class _Tables:
    count: int
    http: Table[bool | None]
    websocket: Table[bool | None]


class AppRoutes:
    """What the routes of `scope["app"]` say of a path. An app is read once, and again when their number has changed."""

    __slots__ = ("_last", "_tables")

    def __init__(self) -> None:
        self._tables: WeakKeyDictionary[Any, _Tables] = WeakKeyDictionary()
        self._last: tuple[Callable[[], Any], _Tables] | None = None  # a process nearly always has one app

    def ends_in_parameter(self, scope: Scope, segments: list[str]) -> bool | None:
        """Whether the first route that takes a GET of the path ends in a parameter; None if no known route takes it.

        `segments` are those of the path that the client sees.
        """
        app = scope.get("app")
        tables = None if app is None else self._tables_of(app)
        if tables is None:
            return None
        table = tables.websocket if scope["type"] == "websocket" else tables.http
        root = scope.get("root_path")
        verdict = table.find(split_path(path_below(scope, root)) if root else segments)
        # A middleware of a Mount sees the root_path of the mount, but the app that the mount is in
        if verdict is None and "app_root_path" in scope:
            verdict = table.find(split_path(path_below(scope, scope["app_root_path"])))
        return verdict

    def _tables_of(self, app: Any) -> _Tables | None:
        routes = getattr(app, "routes", None)
        if not isinstance(routes, list | Sequence):
            return None
        last = self._last
        if last and last[0]() is app and last[1].count == len(routes):
            return last[1]
        try:
            tables = self._tables.get(app)
            if tables is None or tables.count != len(routes):
                tables = self._tables[app] = _read(app, routes)
            self._last = ref(app), tables
        except TypeError:  # an app without hash or weak references can't be remembered
            return None
        return tables


def _read(app: Any, routes: Sequence[Any]) -> _Tables:
    try:
        found = list(_walk(routes, ()))
    except Exception:  # noqa: BLE001 - objects of unknown make must cost no request
        _log.warning("the routes of %s can't be read: paths go by their shape alone", type(app).__name__, exc_info=True)
        found = []
    # the app prefers a route that answers a GET to one before it that would say 405
    http = sorted((r for r in found if r.http), key=lambda r: not r.answers_get)
    return _Tables(
        len(routes),
        Table((r.segments, r.parameter) for r in http),
        Table((r.segments, r.parameter) for r in found if r.websocket),
    )


def _walk(routes: Iterable[Any], prefix: tuple[Segment, ...]) -> Iterator[_Route]:
    for route in routes:
        if hasattr(route, "effective_route_contexts"):
            for context in route.effective_route_contexts():
                yield from _routes(getattr(context, "starlette_route", None) or context, prefix)
        else:
            yield from _routes(route, prefix)


def _routes(route: Any, prefix: tuple[Segment, ...]) -> Iterator[_Route]:
    path = getattr(route, "path", "")
    here = prefix + _segments(path, getattr(route, "param_convertors", {}))
    if not hasattr(route, "endpoint"):
        yield from _walk(_routes_below(route), here)
        if hasattr(route, "path"):  # a Mount; what is no route at all has none
            yield _Route((*here, Wild.REST), parameter=None)
        return
    http = hasattr(route, "methods")  # routes for WebSocket have none
    answers_get = not http or not route.methods or "GET" in route.methods
    parameter = _PARAMETER.search(path.rstrip("/").rpartition("/")[2]) is not None
    if parameter and here[-1] is Wild.REST:  # {path:path} is a parameter only where there is something in it
        yield _Route((*here, Wild.ONE), True, answers_get, http, not http)
        parameter = False
    yield _Route(here, parameter, answers_get, http, not http)


def _routes_below(route: Any) -> Iterable[Any]:
    """The routes of a mounted app, also of one that middlewares are wrapped around."""
    below = route
    for _ in range(_WRAPPERS):
        routes = getattr(below, "routes", None)
        if routes:
            return routes  # type: ignore[no-any-return]
        below = getattr(below, "app", None)
    return ()


def _segments(path: str, convertors: Mapping[str, Any]) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for text in split_path(path):
        parts = _PARAMETER.split(text)  # text, name, type, text, name, type, … text
        if len(parts) == 1:
            segments.append(text)
            continue
        patterns = [_pattern(name, kind, convertors) for name, kind in zip(parts[1::3], parts[2::3], strict=True)]
        wide = any(re.fullmatch(pattern, sample) for pattern in patterns for sample in ("/", "a/b", "1/2"))
        if len(patterns) == 1 and not parts[0] and not parts[3]:
            if wide:
                segments.append(Wild.REST)
            else:
                segments.append(Wild.ONE if patterns[0] == "[^/]+" else re.compile(patterns[0]))
            continue
        texts = [re.escape(part) for part in parts[::3]]
        segments.append(re.compile("".join(a + f"(?:{b})" for a, b in zip(texts, patterns, strict=False)) + texts[-1]))
        if wide:
            segments.append(Wild.REST)
    return tuple(segments)


def _pattern(name: str, kind: str | None, convertors: Mapping[str, Any]) -> str:
    convertor = convertors.get(name)
    if convertor is not None:
        return str(convertor.regex)
    return ".*" if kind == "path" else "[^/]+"
