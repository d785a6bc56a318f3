"""What is done as a response goes out: a line in the log, with the id that it carries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ratelimit.answers.awaited import awaited
from ratelimit.model import Headers, Message, Send


class Reported:
    """A `send` that calls `report` once, if there is one, with the log id that goes out, which may be the app's own."""

    __slots__ = ("_header", "_report", "_send", "log_id")

    def __init__(self, send: Send, header: bytes | None, log_id: str, report: Callable[[str], None] | None) -> None:
        self._send = send
        self._header = header
        self.log_id = log_id
        self._report = report

    @awaited
    def send(self, message: Message) -> Awaitable[None]:
        if self._report and message["type"] == "http.response.start":
            message = _listed(message)
            own = _value(message["headers"], self._header)
            if own is not None:
                self.log_id = own.decode("latin-1")
            self.end()
        return self._send(message)

    def end(self) -> None:
        """The app call has returned or raised, perhaps without a response."""
        if self._report:
            report, self._report = self._report, None
            report(self.log_id)

    def drop(self) -> None:
        """There is nothing to say."""
        self._report = None


def _listed(message: Message) -> Message:
    """The same with a list of headers: ASGI lets an app send them as any iterable, or not at all."""
    return {**message, "headers": [*message.get("headers", ())]}


def _value(headers: Headers, wanted: bytes | None) -> bytes | None:
    return next((value for name, value in headers if name.lower() == wanted), None)
