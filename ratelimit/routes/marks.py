"""What is said at an endpoint: the operation that it is, and how many units a request of it counts.

`@operation(...)` says it of a function, a class or an app that is served; `as_operation(...)` of all routes that have
it among their dependencies. FastAPI and Starlette are not imported: a mark is found where the routes are read.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from inspect import isbuiltin, isclass, iscoroutinefunction, isfunction, ismethod, signature
from typing import Any, TypeVar, cast

from ratelimit.checks import values as checks
from ratelimit.ground.words import shown
from ratelimit.model import Limit, Receive, Scope, Send

Units = int | Callable[[Any], int]

MADE: list[int] = []  # how many marks there are: while it is empty, no request is asked for one

_T = TypeVar("_T", bound=Callable[..., Any])

_log = logging.getLogger("ratelimit")

_TWICE = (
    'operation("%s") at %s does not count: what it is on is %s already, and of several the innermost counts. Leave it'
    " out, or write a function of its own for another route"
)
_NAME = "__ratelimit_operation__"
_WRAPPED = 32  # wrappers of an endpoint that are looked through
_ASGI = ("scope", "receive", "send")


@dataclass(frozen=True, slots=True)
class Mark:
    operation: str | None
    units: Units = 1
    own_usage: bool = False  # callers read there what they have used: known ones are charged nothing for it


class MarkedApp:
    """An app that is served, with its mark. In all else it is the app."""

    def __init__(self, app: Any, mark: Mark) -> None:
        self.app = app
        self.mark = mark

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    def __getattr__(self, name: str) -> Any:
        if name == "app":  # a copy that has nothing yet
            raise AttributeError(name)
        return getattr(self.app, name)


class AsOperation:
    """A dependency that does nothing when it is called. Async: FastAPI would start a thread for it otherwise."""

    def __init__(self, mark: Mark) -> None:
        self.mark = mark

    async def __call__(self) -> None:
        pass


class Declares:
    """A dependency that declares a limit, made at `where`: `app/exports.py:12`."""

    limit: Limit
    where: str


def operation(name: str, units: Units = 1) -> Callable[[_T], _T]:
    """Say what operation an endpoint is, whatever the shape of its requests: `@operation("heavy_write")`.

    On a function or a class, sync or async, in any order with decorators that use functools.wraps: of several the
    innermost counts. On an app that is served, `Mount("/files", operation("detail_read")(app))`, it is for all that the
    app answers and that says nothing itself. A rule of the policy comes before it.

    `units` multiplies the cost of a request in each rate and quota: a number, or a function of the request (path, query
    and headers, never the body), which is a `starlette.requests.Request` where Starlette is installed, else the scope.
    A ValueError of it, and what is no whole number from 0 on, is answered with 400; anything else that it raises is the
    app's own error. Raises ValueError or TypeError where that is written already.
    """
    mark = Mark(_named(name), _units(units))
    _made()

    def marked(target: _T) -> _T:
        if isinstance(target, staticmethod):  # whoever reads it from its class has the function alone
            return cast("_T", staticmethod(marked(target.__func__)))
        if not callable(target):
            raise TypeError(f'operation("{name}") is for a function, a class or an app, not for {shown(target)}')
        if _is_app(target):
            return cast("_T", MarkedApp(target, mark))
        _made()  # routes that were read before have to be read again
        if not hasattr(target, "__dict__") or ismethod(target) or isbuiltin(target):
            target = cast("_T", partial(target))
        known = vars(target).get(_NAME)
        if known is None:
            setattr(target, _NAME, mark)
        elif known != mark:
            _log.warning(_TWICE, name, where(), shown(known.operation))
        return target

    return marked


def as_operation(name: str) -> AsOperation:
    """The same for all routes of a router, an inclusion or an app: `APIRouter(dependencies=[Depends(as_operation(
    "search"))])`. What is nearer to an endpoint comes before it, and its own `@operation` before all of them."""
    _made()
    return AsOperation(Mark(_named(name)))


def own_usage(target: _T) -> _T:
    """Mark an endpoint at which callers read their own usage: known ones are charged nothing for a GET of it, others by
    its shape as for any other, and whatever a rule exempts, it is looked who asks."""
    setattr(target, _NAME, Mark(None, own_usage=True))
    _made()
    return target


def declares(made: Declares) -> None:
    """A limit that is declared is a mark too."""
    _made()


def mark_of(target: Any, method: str | None = None) -> Mark | None:
    """The innermost mark of an endpoint; of a class that answers by methods, `post`, that of the method before all."""
    found = None
    for inner in _inward(target):
        found = _own(inner) or found
    if method is not None and isclass(target):
        handler = getattr(target, method, None) or (getattr(target, "get", None) if method == "head" else None)
        found = (None if handler is None else mark_of(handler)) or found
    return found


def where() -> str:
    """Where the caller of the caller is written: `app/exports.py:12`."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _inward(target: Any) -> Iterator[Any]:
    for _ in range(_WRAPPED):
        yield target
        inner = getattr(target, "func", None) if isinstance(target, partial) else None
        inner = target.app if isinstance(target, MarkedApp) else inner
        inner = inner or getattr(target, "__wrapped__", None) or getattr(target, "__func__", None) or _called(target)
        if inner is None:
            return
        target = inner


def _called(target: Any) -> Any:
    """What answers for an object of a class of the user's own."""
    called = getattr(type(target), "__call__", None)  # noqa: B004 - it is looked at
    return called if isfunction(called) and not isclass(target) else None


def _own(target: Any) -> Mark | None:
    """Of a class also what it inherits, unless it is marked itself; of an object of a class, what that one says."""
    if isinstance(target, MarkedApp):
        return target.mark
    try:
        of_class = getattr(target if isclass(target) else type(target), _NAME, None)
        found = of_class or getattr(target, "__dict__", {}).get(_NAME)
    except Exception:  # noqa: BLE001 - objects of unknown make must cost no request
        return None
    return found if isinstance(found, Mark) else None


def _is_app(target: Any) -> bool:
    """Whether it is called as ASGI calls an app, by the names that nearly all give that; of others the mark is on the
    object itself. An endpoint of FastAPI may have three parameters too."""
    try:
        return not isclass(target) and tuple(signature(target).parameters) == _ASGI
    except (TypeError, ValueError):
        return False


def _named(name: Any) -> str:
    checks.text(name)
    if wrong := checks.wrong_operation(name, None):
        raise ValueError(f'{wrong}, or in [operations] of the policy: exempt = ["GET /health"]')
    return str(name)


def _units(units: Any) -> Units:
    if not callable(units):
        return checks.units(units)
    if iscoroutinefunction(units) or iscoroutinefunction(getattr(units, "__call__", None)):  # noqa: B004
        raise TypeError("units is async: it may go by the path, the query and the headers, so write a plain function")
    return cast("Units", units)


def _made() -> None:
    MADE[:] = [MADE[0] + 1 if MADE else 1]
