"""What goes out: the answer to a denied request, and the app's response to an allowed one with headers added."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from ratelimit.model import Answer, Decision, Headers, Identity, Lease, Message, Scope, Send, Style

# What browsers show to a script of another origin anyway, or what is none of its business.
_NOT_EXPOSED = frozenset({b"content-type", b"content-length", b"cache-control"})


async def answer(whole: Answer, scope: Scope, send: Send) -> None:
    """Send a whole response, without a body to a HEAD."""
    headers = [*whole.headers, (b"content-length", b"%d" % len(whole.body)), (b"cache-control", b"no-store")]
    headers += _exposing(scope, headers)
    await send({"type": "http.response.start", "status": whole.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else whole.body})


class Admitted:
    """The response to one allowed request: adds headers at its start, gives leases back before its end.

    Leases are on the wire before the server has the last byte that the client waits for: who sends one request after
    the other is never denied by a concurrency limit of one. `report` is called once with the log id that went out.
    """

    __slots__ = (
        "_decision", "_identity", "_leases", "_left", "_log_id", "_release", "_report", "_scope", "_send", "_style",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        send: Send,
        style: Style,
        decision: Decision,
        identity: Identity,
        log_id: str,
        release: Callable[[Sequence[Lease]], Awaitable[None]],
        report: Callable[[str], None],
    ) -> None:
        self._scope = scope
        self._send = send
        self._style = style
        self._decision = decision
        self._identity = identity
        self._log_id = log_id
        self._leases = decision.leases
        self._release = release
        self._report: Callable[[str], None] | None = report
        self._left: int | None = None  # bytes that the client still expects, where the app said how many there are

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            message = self._start(message)
        if self._leases and self._ends_with(kind, message):
            await self._give_back()
        await self._send(message)

    async def end(self) -> None:
        """The app call has returned or raised."""
        self._say()
        if self._leases:
            await self._give_back()

    def _start(self, message: Message) -> Message:
        given = list(message.get("headers", ()))
        names = {name.lower() for name, _ in given}
        ours = self._style.headers(self._decision, self._identity, self._log_id)
        added = [header for header in ours if header[0] not in names]
        if self._style.log_id_header in names:
            self._log_id = _value(given, self._style.log_id_header).decode("latin-1")
        if b"access-control-expose-headers" not in names:
            added += _exposing(self._scope, added)
        self._say()
        return {**message, "headers": given + added}  # also where nothing is added: the app's may be an iterator

    def _ends_with(self, kind: str, message: Message) -> bool:
        """Whether the client has all that it waits for when it has this message."""
        if kind == "http.response.start":
            length = _value(message.get("headers", ()), b"content-length")
            self._left = int(length) if length.isdigit() else None
            bodiless = self._scope["method"] == "HEAD" or message["status"] in (204, 304)
            return bodiless or self._left == 0
        if kind == "http.response.body":
            if self._left is not None:
                self._left -= len(message.get("body", b""))
            return not message.get("more_body", False) or (self._left is not None and self._left <= 0)
        if kind == "http.response.zerocopysend":
            return not message.get("more_body", False)
        return kind == "http.response.pathsend"

    async def _give_back(self) -> None:
        leases, self._leases = self._leases, ()
        await self._release(leases)

    def _say(self) -> None:
        if self._report:
            report, self._report = self._report, None
            report(self._log_id)


def _value(headers: Iterable[tuple[bytes, bytes]], wanted: bytes | None) -> bytes:
    return next((value for name, value in headers if name.lower() == wanted), b"")


def _exposing(scope: Scope, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Access-Control-Expose-Headers for a request of another origin: without it, a browser hides our headers."""
    names = [name for name, _ in headers if name not in _NOT_EXPOSED]
    if names and any(name == b"origin" for name, _ in scope["headers"]):
        return [(b"access-control-expose-headers", b", ".join(names))]
    return []
