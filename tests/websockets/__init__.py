"""Connections of WebSockets, as a server hands them to an app."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from ratelimit.model import ASGIApp, Message, Scope
from tests.acceptance import ANA, scope_of

T = TypeVar("T")

CONNECT: Message = {"type": "websocket.connect"}
ACCEPT: Message = {"type": "websocket.accept"}
GONE: Message = {"type": "websocket.disconnect", "code": 1005}


def text(said: str) -> Message:
    return {"type": "websocket.receive", "text": said}


def scope_of_a_handshake(
    path: str = "/feed", api_key: str | None = ANA, *, answers: bool = True, **headers: str
) -> Scope:
    """As a server makes it; `answers`: it has the extension for denials with a response."""
    scope = scope_of(path, api_key=api_key, **headers)
    del scope["method"]
    more: dict[str, Any] = {"extensions": {"websocket.http.response": {}}} if answers else {}
    return {**scope, "type": "websocket", "scheme": "ws", "subprotocols": [], **more}


class Connection:
    """A client that sends what it is given and then closes, unless it `stays`. `sent` is what the app has sent."""

    def __init__(self, *incoming: Message, stays: bool = False) -> None:
        self.incoming = deque([CONNECT, *incoming])
        self.sent: list[Message] = []
        self.received = 0
        self._stays = stays
        self._more = asyncio.Event()

    async def receive(self) -> Message:
        while not self.incoming:
            if not self._stays:
                return GONE
            self._more.clear()
            await self._more.wait()
        self.received += 1
        return self.incoming.popleft()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def says(self, *messages: Message) -> None:
        self.incoming += messages
        self._more.set()

    @property
    def kinds(self) -> list[str]:
        return [message["type"].removeprefix("websocket.") for message in self.sent]


async def connect(app: ASGIApp, *incoming: Message, scope: Scope | None = None, **keywords: Any) -> Connection:
    """A connection from its handshake to its end."""
    connection = Connection(*incoming)
    await app(scope or scope_of_a_handshake(**keywords), connection.receive, connection.send)
    return connection


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    """Accepts, and sends back what it receives."""
    assert await receive() == CONNECT
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


def run(test: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(test)


async def settled() -> None:
    """All that can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)
