"""What goes out: the answer to a denied request, and the app's response to an allowed one with headers added.

Headers are of families, and a family is told whole or not at all: what a proxied upstream counts and what we count
never mix. Where two policies limit one request, one of them tells its limits: the tighter one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Protocol

from ratelimit.answers.awaited import awaited
from ratelimit.model import Answer, Decision, Headers, Message, Scope, Send

# What browsers show to a script of another origin anyway, or what is none of its business.
_NOT_EXPOSED = frozenset({b"content-type", b"content-length", b"cache-control"})
_EXPOSE = b"access-control-expose-headers"
_OF_LIMITS = frozenset({b"x-ratelimit", b"ratelimit", b"retry-after"})  # the families that tell of limits

_NAMES = {b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset", b"x-ratelimit-window"}
_NAMES |= {b"ratelimit", b"ratelimit-policy"}
_FIRST = frozenset({b"x", b"X", b"r", b"R"})  # what most names of an app's headers do not begin with
_BEGINNINGS = frozenset({b"x-ratelimi", b"ratelimit", b"ratelimit-", b"retry-afte"})  # of any of these families

# The names of nearly all that an app sends. None is of a family that tells of limits, nor says what is exposed.
_USUAL = frozenset(
    b"""
    content-type content-length content-encoding content-disposition content-language content-location content-range
    content-security-policy date server location allow link vary etag last-modified cache-control expires age pragma
    accept-ranges set-cookie www-authenticate transfer-encoding connection keep-alive server-timing traceparent
    strict-transport-security referrer-policy permissions-policy cross-origin-opener-policy
    cross-origin-resource-policy access-control-allow-origin access-control-allow-credentials x-content-type-options
    x-frame-options x-xss-protection x-powered-by x-process-time x-request-id x-correlation-id x-trace-id
    """.split()
)
_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding"})

# What a limiter has told in the response on its way out. Where another is around it, each has something from the start.
Told = tuple[Decision | None, Headers]
NOTHING_YET: Told = (None, [])


class _Account(Protocol):
    apart: bool  # none of its headers meets those of others: their names are known, and no policy was around or within


class _Control(Protocol):
    """What is asked for here of the control of a request, which imports this file."""

    told: Told | None

    @property
    def account(self) -> _Account: ...

    @property
    def decision(self) -> Decision: ...

    @property
    def around(self) -> _Control | None: ...


async def answer(
    whole: Answer, scope: Scope, send: Send, decision: Decision | None = None, control: _Control | None = None
) -> None:
    """Send a whole response, without a body to a HEAD. `decision` is the denial that it tells, `control` that of the
    request that it denies: none where it was denied at the door, the one in the scope is of the limiter around then."""
    headers = [*whole.headers, (b"content-length", b"%d" % len(whole.body)), (b"cache-control", b"no-store")]
    if has_origin(scope):
        headers += _exposing(headers)
    if decision is not None:
        _tell(control or scope.get("ratelimit.control"), decision, [*headers])  # what is sent is others' to change
    await send({"type": "http.response.start", "status": whole.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope.get("method") in ("HEAD", "head") else whole.body})


def within_another(control: _Control) -> None:
    """Of a request that came through another policy: what is told here is kept for that one."""
    control.told, control.account.apart = NOTHING_YET, False


@awaited
def send_with_headers(of: tuple[Send, Headers, _Control, Scope], message: Message) -> Awaitable[None]:
    """`MethodType(send_with_headers, (send, headers, control, scope))` is a `send` that adds these headers, some, to an
    allowed response: made faster than a closure, and without a call for it. It returns the server's own awaitable."""
    if message["type"] != "http.response.start":
        return of[0](message)
    send, ours, control, scope = of
    headers = [*message.get("headers", ())]  # ASGI lets an app send them as any iterable, or not at all
    # Nearly always nothing meets, and nobody comes from elsewhere. In this function, as a call takes 0.5 µs here, and
    # in loops: with map() and itemgetter() it takes half as many bytecodes and a fifth more instructions.
    apart = control.account.apart
    for name, _ in headers:
        if name not in _USUAL:
            apart = False
    if apart:
        headers += ours
        for header in scope["headers"]:
            if header[0] == b"origin":
                headers += _exposing(ours)
                break
    else:
        headers = _merged(headers, ours, control, scope)
    message = {**message}  # and one dict, where {**message, "headers": headers} makes two
    message["headers"] = headers
    return send(message)


def _merged(headers: Headers, ours: Headers, control: _Control, scope: Scope) -> Headers:
    """The app's headers and ours, where some may meet."""
    meet = control.told is not None
    for name, _ in headers:
        if name[:1] in _FIRST and name[:10].lower() in _BEGINNINGS:
            meet = True
    for name, _ in ours:
        if name not in _NAMES and name in _names(headers):
            meet = True
    if meet:
        return _joined(headers, ours, control, scope)
    if has_origin(scope) and _EXPOSE not in _names(headers):
        ours = ours + _exposing(ours)
    return headers + ours


def _names(headers: Headers) -> list[bytes]:
    return [name.lower() for name, _ in headers]


def apart(style: object) -> bool:
    """Whether its headers have names that no app sends: so is every style of this package, alone or in another."""
    inner = getattr(style, "style", None)
    return type(style).__module__.startswith("ratelimit.") and (inner is None or apart(inner))


def has_origin(scope: Scope) -> bool:
    for header in scope["headers"]:  # noqa: SIM110 - any() takes twice as long
        if header[0] == b"origin":
            return True
    return False


def has_body(scope: Scope) -> bool:
    """By its headers. To receive one that has not been asked for would have the client send it, after a 100."""
    return any(line[0] in _OF_A_BODY and line[-1] != b"0" for line in scope["headers"])


def _joined(headers: Headers, ours: Headers, control: _Control, scope: Scope) -> Headers:
    """The app's headers and what is told of ours; of an inner limiter's what stays."""
    decision, (inner, theirs) = control.decision, control.told or NOTHING_YET
    theirs = [field for field in theirs if any(field == (name.lower(), value) for name, value in headers)]
    apps = {_family(name) for name, value in headers if (name.lower(), value) not in theirs}
    ours = [field for field in ours if _family(field[0]) not in apps]
    gone = [field for field in theirs if field[0] == _EXPOSE]  # to be made anew
    limits = [field for field in theirs if _tells(field)]
    if inner is not None and theirs and (limits or not inner.allowed):
        if any(map(_tells, ours)) and _tightness(decision) > _tightness(inner):
            gone += limits
        else:
            decision, ours = inner, [field for field in ours if not _tells(field)]
    theirs = [field for field in theirs if field not in gone]
    both = {_family(name) for name, _ in theirs}  # a log id: the inner limiter's, as the app's own would be kept
    ours = [field for field in ours if _family(field[0]) not in both]
    if _EXPOSE not in apps and has_origin(scope):
        ours += _exposing([*theirs, *ours])
    _tell(control.around, decision, [*theirs, *ours])
    return [(name, value) for name, value in headers if (name.lower(), value) not in gone] + ours


def _tell(control: _Control | None, decision: Decision, headers: Headers) -> None:
    """To this limiter and all around it, as some of them may add nothing: what goes out on its way to them. It is left
    on the controls, which copies of a scope share, and nothing is made for a request with one limiter."""
    while control is not None:
        control.told, control.account.apart = (decision, headers), False
        control = control.around


def _family(name: bytes) -> bytes:
    """`RateLimit-Limit`, `-Remaining` and `-Reset` of earlier drafts tell of the same as `RateLimit`. What tells of no
    limit is a family by itself."""
    name = name.lower()
    if name.startswith(b"x-ratelimit-"):
        return b"x-ratelimit"
    return b"ratelimit" if name == b"ratelimit" or name.startswith(b"ratelimit-") else name


def _tells(field: tuple[bytes, bytes]) -> bool:
    return _family(field[0]) in _OF_LIMITS


def _tightness(decision: Decision) -> tuple[bool, bool, float, float]:
    """In the order of what a client has to mind more. By the rate that headers speak of, else by the tightest limit."""
    states = decision.states if decision.binding is None else (decision.binding,)
    orders = [(s.exceeded, s.wait, -s.share) for s in states if not s.shadow]
    return not decision.allowed, *max(orders, default=(False, 0, -1.0))


def _exposing(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Access-Control-Expose-Headers, for a request of another origin: without it, a browser hides our headers."""
    names = [name for name, _ in headers if name not in _NOT_EXPOSED]
    return [(_EXPOSE, b", ".join(names))] if names else []
