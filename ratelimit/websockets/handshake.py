"""A handshake is a request: between the server and the app it is spelled as one of HTTP.

    to the server                              to the limiter
    websocket.connect, websocket.disconnect    http.request, http.disconnect
    websocket.accept                           http.response.start of a 101, Switching Protocols
    websocket.close, before it                 http.response.start of a 403, and its only http.response.body
    websocket.close, after it                  the last http.response.body
    websocket.http.response.start, .body       http.response.start, .body
    websocket.receive, websocket.send          as they are

So what the limiter does for a request it does for a handshake: headers, denials, the log, a slot for as long as the
connection lasts. The app and the server have their own messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ratelimit.model import ASGIApp, Message, Receive, Scope, Send
from ratelimit.websockets.messages import Counted

Counting = Callable[[Scope, Receive, Send], Counted | None]  # of a connection its messages; None: they are not charged

START, BODY = "http.response.start", "http.response.body"
_SAID = "ratelimit.websocket"  # in a message of HTTP: the one of a WebSocket that it stands for
_RECEIVED: Mapping[str, Message] = {
    "websocket.connect": {"type": "http.request", "body": b"", "more_body": False},
    "websocket.disconnect": {"type": "http.disconnect"},
}
_OF_AN_ANSWER = frozenset({f"websocket.{START}", f"websocket.{BODY}"})


async def handshake(limiter: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Have `limiter`, whose app is `spoken_to`, decide on a handshake."""
    server = _Server(scope, receive, send)
    await limiter(scope, server.receive, server.send)


def spoken_to(app: ASGIApp, messages_of: Counting) -> ASGIApp:
    """An app for WebSockets, to be called in terms of HTTP."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        client = _Client(receive, send)
        counted = messages_of(scope, client.receive, client.send)
        await app(scope, counted.receive if counted else client.receive, counted.send if counted else client.send)

    return called


class _Server:
    """What the limiter receives, and what it sends. The start of an answer goes out with the first of its body, as a
    server may take what comes after a pause for no part of it (uvicorn on `websockets`)."""

    __slots__ = ("_answers", "_connected", "_receive", "_send", "_start")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._answers = "websocket.http.response" in (scope.get("extensions") or ())
        self._connected = False  # websocket.connect was received
        self._start: Message | None = None  # not sent yet

    async def receive(self) -> Message:
        message = await self._receive()
        spelled = _RECEIVED.get(message["type"])
        if spelled is None:
            return message
        self._connected = True
        return {**spelled, _SAID: message}

    async def send(self, message: Message) -> None:
        said = message.get(_SAID)
        if said is None and message["type"] in (START, BODY):
            await self._answer({**message, "type": f"websocket.{message['type']}"})
        elif said is None:
            await self._send(message)
        elif message["type"] == BODY:
            await self._body(said)
        elif said["type"] == "websocket.accept":
            await self._send({**said, "headers": [*message["headers"]]})
        elif said["type"] != "websocket.close":  # which its body tells
            self._start = {**said, "headers": [*message["headers"]]}

    async def _answer(self, message: Message) -> None:
        """The limiter's own. A server without the extension is told to close, which it does with a bare 403."""
        if message["type"] == f"websocket.{START}":
            self._start = message
            return
        if not self._connected:  # ASGI has it received before anything is sent
            await self._receive()
            self._connected = True
        await (self._body(message) if self._answers else self._send({"type": "websocket.close"}))

    async def _body(self, message: Message) -> None:
        start, self._start = self._start, None
        if start is not None:
            await self._send(start)
        await self._send(message)


class _Client:
    """What the app receives, and what it sends."""

    __slots__ = ("_accepted", "_receive", "_send")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._accepted = False

    async def receive(self) -> Message:
        message = await self._receive()
        said: Message = message.get(_SAID, message)
        return said

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._accepted = True
            await self._send({"type": START, "status": 101, "headers": message.get("headers", ()), _SAID: message})
        elif kind == "websocket.close":
            if not self._accepted:
                await self._send({"type": START, "status": 403, "headers": (), _SAID: message})
            await self._send({"type": BODY, "body": b"", _SAID: message})
        elif kind in _OF_AN_ANSWER:
            await self._send({"headers": (), **message, "type": kind.removeprefix("websocket."), _SAID: message})
        else:
            await self._send(message)
