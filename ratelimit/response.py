"""What is done as a response goes out: a line in the log, and slots given back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ratelimit.model import Headers, Lease, Message, Scope, Send


class Reported:
    """A `send` that calls `report` once, if there is one, with the log id that goes out, which may be the app's own."""

    __slots__ = ("_header", "_log_id", "_report", "_send")

    def __init__(self, send: Send, header: bytes | None, log_id: str, report: Callable[[str], None] | None) -> None:
        self._send = send
        self._header = header
        self._log_id = log_id
        self._report = report

    def send(self, message: Message) -> Awaitable[None]:
        if self._report and message["type"] == "http.response.start":
            message = _listed(message)
            own = _value(message["headers"], self._header)
            if own is not None:
                self._log_id = own.decode("latin-1")
            self.end()
        return self._send(message)

    def end(self) -> None:
        """The app call has returned or raised, perhaps without a response."""
        if self._report:
            report, self._report = self._report, None
            report(self._log_id)


class Held:
    """A `send` that gives leases back before the end of the response.

    They are on the wire before the server has the last byte that the client waits for: who sends one request after the
    other is never denied by a concurrency limit of one.
    """

    __slots__ = ("_leases", "_left", "_release", "_scope", "_send")

    def __init__(
        self, scope: Scope, send: Send, leases: Sequence[Lease], release: Callable[[Sequence[Lease]], Awaitable[None]]
    ) -> None:
        self._scope = scope
        self._send = send
        self._leases = leases
        self._release = release
        self._left: int | None = None  # bytes that the client still expects, where the app said how many there are

    async def send(self, message: Message) -> None:
        if self._leases:
            kind = message["type"]
            if kind == "http.response.start":
                message = _listed(message)
            if self._ends_with(kind, message):
                await self.end()
        await self._send(message)

    async def end(self) -> None:
        """Nobody waits for the response any more, or the app call has returned or raised."""
        if self._leases:
            leases, self._leases = self._leases, ()
            await self._release(leases)

    def _ends_with(self, kind: str, message: Message) -> bool:
        """Whether the client has all that it waits for when it has this message."""
        if kind == "http.response.start":
            length = _value(message["headers"], b"content-length")
            self._left = int(length) if length and length.isdigit() else None
            bodiless = self._scope["method"] == "HEAD" or message["status"] in (204, 304)
            return bodiless or self._left == 0
        if kind == "http.response.body":
            if self._left is not None:
                self._left -= len(message.get("body", b""))
            return not message.get("more_body", False) or (self._left is not None and self._left <= 0)
        if kind == "http.response.zerocopysend":
            return not message.get("more_body", False)
        return kind == "http.response.pathsend"


def _listed(message: Message) -> Message:
    """The same with a list of headers: ASGI lets an app send them as any iterable, or not at all."""
    return {**message, "headers": [*message.get("headers", ())]}


def _value(headers: Headers, wanted: bytes | None) -> bytes | None:
    return next((value for name, value in headers if name.lower() == wanted), None)
