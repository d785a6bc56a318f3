"""What the limiters of an app decide while a test drives it, each Decision with the request that it is of.

A request is known by an id of its own, which it has in its scope and its response in a header, whatever the client:
nothing is told by order.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from inspect import isawaitable
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

from ratelimit.control.account import Account
from ratelimit.middleware import RateLimitMiddleware
from ratelimit.model import ASGIApp, Charge, Decision, Identity, Message, Receive, Scope, Send
from ratelimit.stores.memory import MemoryStore
from ratelimit.styles import wire
from ratelimit.testing.clock import Clock

HEADER = "x-test-decision"  # of a response: the id of its request
KEY = "ratelimit.testing"  # of a scope: the Request
_STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})


@dataclass(frozen=True, slots=True)
class Recorded:
    """One Decision of one limiter: of which request, and what it was taken for."""

    decision: Decision
    operation: str
    identity: Identity
    method: str  # of a WebSocket "WEBSOCKET"
    path: str  # of the scope, as the client sees it


@dataclass(slots=True)
class Request:
    """One request of a test's client, and what was decided about it: by several policies, one after the other."""

    method: str
    path: str
    recorder: Recorder = field(repr=False)
    decisions: list[Recorded] = field(default_factory=list)


@dataclass(slots=True)
class _Asking:
    """A limiter that is about to decide."""

    request: Request
    operation: str = ""
    identity: Identity = field(default_factory=Identity)


_asking: ContextVar[_Asking | None] = ContextVar("ratelimit.testing", default=None)
_recorders: WeakValueDictionary[str, Recorder] = WeakValueDictionary()


class Recorder:
    """Of one client. `app` is what it drives: the app itself, but that requests have ids."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self.name = secrets.token_hex(4)
        self.clock = clock
        self.decisions: list[Recorded] = []
        self.requests: dict[str, Request] = {}
        self.app = _Numbered(app, self)
        self._numbers = count(1)
        _recorders[self.name] = self

    def request(self, scope: Scope) -> tuple[str, Request]:
        made = Request(scope.get("method", "WEBSOCKET"), scope["path"], self)
        number = f"{self.name}-{next(self._numbers)}"
        self.requests[number] = made
        return number, made

    def took(self, asking: _Asking, decision: Decision) -> None:
        request = asking.request
        recorded = Recorded(decision, asking.operation, asking.identity, request.method, request.path)
        request.decisions.append(recorded)
        self.decisions.append(recorded)

    def denied_inside(self, scope: Scope) -> None:
        """Where it was let through and then denied by its app, as units did not fit that it wanted to hold."""
        request, decision = scope[KEY], scope.get("ratelimit")
        latest = request.decisions[-1] if request.decisions else None
        if isinstance(decision, Decision) and not decision.allowed and latest and latest.decision is not decision:
            operation = latest.operation
            self.took(_Asking(request, operation, scope["ratelimit.identity"]), decision)


def request_of(number: str) -> Request:
    """LookupError for an id whose client is gone, or that nobody has given."""
    recorder = _recorders.get(number.partition("-")[0])
    if recorder is None:
        raise LookupError("the client that got this response is gone; keep it as long as its responses")
    return recorder.requests[number]


class _Numbered:
    """The app, with a number for each request. Whatever else is asked of it is the app's."""

    def __init__(self, app: ASGIApp, recorder: Recorder) -> None:
        self._app = app
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        number, scope[KEY] = self._recorder.request(scope)

        async def numbered(message: Message) -> None:
            if message["type"] in _STARTS:
                self._recorder.denied_inside(scope)
                others = [field for field in message.get("headers", ()) if field[0].lower() != HEADER.encode()]
                message = {**message, "headers": [*others, (HEADER.encode(), number.encode())]}
            await send(message)

        try:
            await self._app(scope, receive, numbered)
        finally:
            _asking.set(None)


class Counting(MemoryStore):
    """The memory that counts instead of a limiter's own store, and tells what it decides."""

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        return _took(await super().acquire(charges))

    async def charge(self, charges: Sequence[Charge], units: int = 1) -> Decision:
        return _took(await super().charge(charges, units))

    async def hold(self, charges: Sequence[Charge], units: int, lease_ms: int) -> Decision:
        return _took(await super().hold(charges, units, lease_ms))


def _took(decision: Decision) -> Decision:
    if asking := _asking.get():
        asking.request.recorder.took(asking, decision)
    return decision


def watch(limiter: RateLimitMiddleware) -> dict[str, Any]:
    """What to put in place of its own attributes, so that it is known for which request it decides."""
    classify, identify = limiter._classify, limiter._identify

    def classified(scope: Scope) -> Any:
        request: Request | None = scope.get(KEY)
        asking = _Asking(request) if request else None
        _asking.set(asking)
        return _noted(asking, "operation", classify(scope))

    def identified(scope: Scope) -> Any:
        return _noted(_asking.get(), "identity", identify(scope))

    return {"_classify": classified, "_identify": identified}


def watch_account(account: Account) -> dict[str, Any]:
    """The same of the decision for who is known later, by `identify=deferred()`."""
    acquire = account.acquire

    async def acquired(identity: Identity, *rest: Any, **named: Any) -> Any:
        return await acquire(_noted(_asking.get(), "identity", identity), *rest, **named)

    return {"acquire": acquired}


def _noted(asking: _Asking | None, name: str, said: Any) -> Any:
    if asking is None:
        return said
    if isawaitable(said):
        return _settled(asking, name, said)
    if said is not None:
        setattr(asking, name, said)
    return said


async def _settled(asking: _Asking, name: str, said: Awaitable[Any]) -> Any:
    return _noted(asking, name, await said)


real_now_ms = wire.now_ms


def now_ms() -> int:
    """The clock that headers go by: the test's own in a request of its client, else that of the process."""
    asking = _asking.get()
    return asking.request.recorder.clock.now_ms if asking else real_now_ms()
