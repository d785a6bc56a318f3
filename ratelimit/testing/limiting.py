"""A client whose app counts in memory, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from functools import partial
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, overload

from ratelimit.ground.words import kind_of
from ratelimit.middleware import RateLimitMiddleware
from ratelimit.model import ASGIApp
from ratelimit.styles import wire
from ratelimit.testing.clock import START, Clock
from ratelimit.testing.recorded import Counting, Recorder, now_ms, real_now_ms, watch, watch_account

if TYPE_CHECKING:
    from ratelimit.testing.client import LimitedClient

Start = Clock | int | str | datetime

_VERBS = ("acquire", "peek", "charge", "refund", "hold", "settle", "reset", "renew", "release", "close")
# Where Starlette and FastAPI keep what they wrap, and a limiter the one that decides on its handshakes.
_INSIDE = ("app", "middleware_stack", "router", "original_router", "_handshakes", "_renewed")


@overload
def limited_client(
    app: ASGIApp, *, clock: Start = START, lifespan: bool = True, client_class: None = None, **options: Any
) -> AbstractContextManager[LimitedClient]: ...
@overload
def limited_client(
    app: ASGIApp, *, clock: Start = START, lifespan: bool = True, client_class: Callable[..., Any], **options: Any
) -> AbstractContextManager[Any]: ...
@contextmanager
def limited_client(
    app: ASGIApp,
    *,
    clock: Start = START,
    lifespan: bool = True,
    client_class: Callable[..., Any] | None = None,
    **options: Any,
) -> Iterator[Any]:
    """A client of `app`: Starlette's TestClient with these options, or what `client_class(app, **options)` makes.

    While it is open, every RateLimitMiddleware in the app counts in a memory of its own instead of its store, and where
    middlewares share a store they share that; also in apps that are mounted, and where the policy is a path. What is
    told of instants goes by the same clock: `client.clock.advance("1m")`. `client.decisions` are all that were made,
    each a Recorded; `assert_denied` and `assert_left` read that of a response. Nobody waits for a clock that stands:
    where a tier has `wait`, a denial is told at once. At the end all is as it was.

    The client is entered, so that the app's lifespan runs, but for `lifespan=False`, and for one that is entered by
    `async with`, which is left to you. ValueError where no limiter is found: what wraps it has to keep it as `.app`.
    """
    moved = clock if isinstance(clock, Clock) else Clock(clock)
    with ExitStack() as undo:
        limiters = list(_limiters(app, undo))
        if not limiters:
            raise ValueError(
                f"no RateLimitMiddleware in {kind_of(app)}: add it before, with app.add_middleware(...), or give the"
                " limited app itself; what wraps it has to keep it as .app"
            )
        _put_in(limiters, moved, undo)
        _tell_instants(moved, undo)
        recorder = Recorder(app, moved)
        client = (client_class or _test_client())(recorder.app, **options)
        client.clock, client.decisions, client.ratelimit_recorder = moved, recorder.decisions, recorder
        if lifespan and hasattr(client, "__enter__"):
            client = undo.enter_context(client)
        yield client


def _test_client() -> Callable[..., Any]:
    from ratelimit.testing.client import LimitedClient  # needs starlette: for who gives no other

    return LimitedClient


def _put_in(limiters: Sequence[RateLimitMiddleware], clock: Clock, undo: ExitStack) -> None:
    stores = {id(limiter._opened): limiter._opened for limiter in limiters}
    for store in stores.values():
        memory = Counting(clock)
        _set(store, {"asyncio_only": False, **{verb: getattr(memory, verb) for verb in _VERBS}}, undo)
    for limiter in limiters:
        # nobody waits for a clock that stands, and no test is traffic
        _set(limiter, {**watch(limiter), "_turns": None, "_recording": None}, undo)
    for account in {limiter._account for limiter in limiters}:
        _set(account, watch_account(account), undo)


def _set(owner: Any, attributes: dict[str, Any], undo: ExitStack) -> None:
    """Put attributes over those that it has."""
    before = dict(getattr(owner, "__dict__", {}))
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
    except AttributeError:
        slots = f"{kind_of(owner)} has __slots__, so that nothing can be put in its place; leave them out"
        raise TypeError(slots) from None

    def put_back() -> None:
        for name in attributes:
            if name in before:
                setattr(owner, name, before[name])
            else:
                delattr(owner, name)

    undo.callback(put_back)


_open: list[Clock] = []  # of the clients that are


def _tell_instants(clock: Clock, undo: ExitStack) -> None:
    """One function in place of the clock of headers, while any client is open: it asks whose request it is."""

    def close() -> None:
        _open.remove(clock)
        if not _open:
            wire.now_ms = real_now_ms

    _open.append(clock)
    wire.now_ms = now_ms
    undo.callback(close)


def _limiters(app: object, undo: ExitStack) -> Iterator[RateLimitMiddleware]:
    """Those in an app and in what it mounts. An app that has not served yet builds its middlewares here."""
    found: set[int] = set()
    left: list[Any] = [app]
    while left:
        one = left.pop()
        if one is None or id(one) in found:
            continue
        found.add(id(one))
        if isinstance(one, RateLimitMiddleware):
            one._of_handshakes()  # made now, that it is put back as well
            yield one
        if _has(one, "middleware_stack") and one.middleware_stack is None:
            _build(one, undo)
        left += one.args if isinstance(one, partial) else [getattr(one, name) for name in _INSIDE if _has(one, name)]
        routes = one.routes if _has(one, "routes") else None
        left += routes if isinstance(routes, Sequence) else ()


def _has(one: object, name: str) -> bool:
    """By itself: a mock of an app has whatever it is asked for, without an end."""
    return getattr_static(one, name, None) is not None or name in getattr(one, "__dict__", ())


def _build(app: Any, undo: ExitStack) -> None:
    """As its first request would; and not for longer than the client is open, as others may be added."""
    app.middleware_stack = app.build_middleware_stack()
    undo.callback(setattr, app, "middleware_stack", None)
