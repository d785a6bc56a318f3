"""What an app declares: its routes, one by one.

Starlette and FastAPI are not imported but read by the attributes that their routes have: `path`, `methods`, `endpoint`
and `param_convertors`, of a mounted app `routes` and `app`. A router that FastAPI keeps as it was included is read by
its public `iter_route_contexts`, before 0.137.2 by `original_router` and `effective_route_contexts()`. What has none of
them says nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ratelimit.routes.paths import WEBSOCKET, Segment, Wild, split_path

PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?\}")  # as Starlette writes them
WRAPPERS = 32  # middlewares around an app that are looked through


@dataclass(frozen=True, slots=True)
class Route:
    segments: tuple[Segment, ...]
    parameter: bool | None  # whether it ends in one; None says nothing: an app is mounted here, or it takes any path
    methods: frozenset[str] | None = None  # None: any
    http: bool = True
    websocket: bool = True

    def answers(self, method: str) -> bool:
        return self.methods is None or method in self.methods

    def may_answer(self, method: str | None) -> bool:
        """None is any method. What takes any path may hand it on to an app that answers."""
        if method is None or self.parameter is None:
            return True
        return self.websocket if method == WEBSOCKET else self.http and self.answers(method)


@dataclass(slots=True)
class Declared:
    routes: list[Route] = field(default_factory=list)
    lists: list[Sequence[Any]] = field(default_factory=list)  # that were read: one that has grown has new routes
    whole: bool = True  # whether there is nothing else that may take a path


def owner_of(app: object) -> Any:
    """The app itself or the one that it wraps, by `.app`, whichever has a list of routes; None where none has."""
    for _ in range(WRAPPERS):
        if app is None:  # asked for each request, of an app without routes
            break
        try:
            routes = getattr(app, "routes", None)
        except Exception:  # noqa: BLE001 - objects of unknown make must cost no request
            return None
        if isinstance(routes, Sequence) and any(hasattr(route, "path") or hasattr(route, "app") for route in routes):
            return app
        app = getattr(app, "app", None)
    return None


def declared(owner: Any) -> Declared:
    found = Declared(whole=not has_fallbacks(getattr(owner, "router", owner)))
    _walk(owner.routes, (), found)
    return found


def included(route: Any) -> Iterator[tuple[Any, Any]]:
    """Each route as it was written and as it answers where it is included; one that is none of FastAPI's, itself."""
    if not hasattr(route, "effective_route_contexts"):
        yield route, route
        return
    public = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    for context in public([route]) if public else route.effective_route_contexts():
        yield context.original_route, getattr(context, "starlette_route", None) or context


def _walk(routes: Sequence[Any], prefix: tuple[Segment, ...], found: Declared) -> None:
    found.lists.append(routes)
    for route in routes:
        if hasattr(route, "effective_route_contexts"):
            _watch(getattr(route, "original_router", None), found)
        for written, answering in included(route):
            _read(written, answering, prefix, found)


def _watch(router: Any, found: Declared) -> None:
    """The lists of a router that FastAPI has included, and of those that it includes."""
    routes = getattr(router, "routes", ())
    found.lists.append(routes)
    found.whole = found.whole and not has_fallbacks(router)
    for route in routes:
        if hasattr(route, "effective_route_contexts"):
            _watch(getattr(route, "original_router", None), found)


def has_fallbacks(router: Any) -> bool:
    """FastAPI keeps apart what takes a path that no route takes: the files of a frontend."""
    return bool(getattr(router, "_low_priority_routes", ()))


def _read(written: Any, route: Any, prefix: tuple[Segment, ...], found: Declared) -> None:
    path = getattr(route, "path", "") or ""
    here = prefix + _segments(path, getattr(route, "param_convertors", {}))
    if hasattr(written, "endpoint"):
        http = hasattr(written, "methods")  # routes for WebSocket have none
        methods = frozenset(route.methods) if http and route.methods else None
        parameter = (
            None if Wild.REST in here[-1:] else PARAMETER.search(path.rstrip("/").rpartition("/")[2]) is not None
        )
        found.routes.append(Route(here, parameter, methods, http, not http))
        return
    owner = owner_of(route)
    if owner is not None:
        _walk(owner.routes, here, found)
    if hasattr(written, "path"):  # a Mount: nobody else answers below it
        found.routes.append(Route((*here, Wild.REST), None))
    else:  # a Host, or what is no route at all
        found.whole = False


def _segments(path: str, convertors: Mapping[str, Any]) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for text in split_path(path):
        parts = PARAMETER.split(text)  # text, name, type, text, name, type, … text
        if len(parts) == 1:
            segments.append(text)
            continue
        patterns = [pattern_of(name, kind, convertors) for name, kind in zip(parts[1::3], parts[2::3], strict=True)]
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


def pattern_of(name: str, kind: str | None, convertors: Mapping[str, Any]) -> str:
    convertor = convertors.get(name)
    if convertor is not None:
        return str(convertor.regex)
    return ".*" if kind == "path" else "[^/]+"
