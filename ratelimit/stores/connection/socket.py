"""The wire: commands as bytes, replies as they come, in RESP: https://redis.io/docs/latest/develop/reference/protocol-spec

Taken over from redis-py once it has connected, greeted and authenticated: its own path costs a task switch and a dozen
calls for each command, which is more than the script takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import hiredis

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.errors import error_of

Reply = Any  # an int, bytes, None, or a list of them; an error that the server replied is a StoreUnavailable
Part = bytes | str | int


class Transport(Protocol):
    """What a link needs of a connection that is up. Every command gets one reply, in their order."""

    def write(self, commands: bytes) -> None:
        """Send commands, each of them whole."""

    @property
    def drained(self) -> asyncio.Future[None] | None:
        """Done when all that was written has left this process; None: it has."""

    def abort(self) -> None:
        """End it at once, without waiting for a server that stands still to read the rest."""


def bulk(part: Part) -> bytes:
    """One part of a command: its length, and itself."""
    if isinstance(part, int):
        return NUMBERS[part] if 0 <= part < len(NUMBERS) else _bulk(b"%d" % part)
    return _bulk(part.encode() if isinstance(part, str) else part)


def _bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


NUMBERS = [_bulk(b"%d" % number) for number in range(1_024)]


def command(*parts: Part) -> bytes:
    return b"*%d\r\n%b" % (len(parts), b"".join(map(bulk, parts)))


ASKING = command("ASKING")  # before a command for a slot that a node of a cluster does not have yet


class Socket(asyncio.Protocol):
    """A Transport on that of a stream, which is read no more.

    `on_reply` is called for each reply, `on_lost` once when the connection has ended.
    """

    def __init__(
        self, stream: asyncio.StreamWriter, on_reply: Callable[[Reply], None], on_lost: Callable[[str], None]
    ) -> None:
        self._stream = stream  # it closes its transport when it is dropped
        self._transport = transport = stream.transport
        self.on_reply = on_reply
        self.on_lost = on_lost
        self._reader = hiredis.Reader(protocolError=StoreUnavailable, replyError=error_of, notEnoughData=self)
        self.write = transport.write
        self.abort = transport.abort
        self.drained: asyncio.Future[None] | None = None
        transport.set_protocol(self)
        # write() writes, also on uvloop, which else waits for the turn's end. TLS pauses at `high`, and not above it.
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("ssl_object") else 0)

    def pause_writing(self) -> None:
        self.drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        self._all_written()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not self:
                if not isinstance(reply, hiredis.PushNotification):
                    self.on_reply(reply)
        except Exception as error:  # noqa: BLE001 - also a list without end, or as the key of a map
            self._lost(f"what the server sent is no reply: {error!r}")
            self._transport.abort()

    def eof_received(self) -> None:
        self._lost("the server closed the connection")  # a turn sooner than `connection_lost` says it

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(f"{type(error).__name__}: {error}" if error else "the server closed the connection")
        self._all_written()  # after it is known to be lost: who waits for that goes on to the next connection

    def _all_written(self) -> None:
        if self.drained:
            self.drained.set_result(None)
            self.drained = None

    def _lost(self, why: str) -> None:
        on_lost, self.on_lost = self.on_lost, _nothing
        on_lost(why)


def _nothing(_: str) -> None:
    """It was said before."""
