"""Clients that keep on asking, over real connections, and write down what they saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

EVERY = 0.025  # seconds from one request of a connection to the next
HANG = 5.0  # seconds after which nobody waits for an answer any more


@dataclass(frozen=True)
class Seen:
    """One request. `status` is 0 where there was no answer, and `why` says what there was."""

    api_key: str
    sent: float
    status: int
    by_store: bool = False
    waited: float = 0.0  # seconds in the limiter, as the app saw it
    stalled: float = 0.0  # seconds that the app's process stood still meanwhile
    got: float = 0.0
    why: str = ""


class Load:
    """One connection for each API key that is given, each asking all the time until `stop`."""

    def __init__(self, url: str, api_keys: Sequence[str]) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._address = parts.hostname, parts.port
        self._ended = asyncio.Event()
        self.seen: list[Seen] = []
        self._tasks = [asyncio.create_task(self._ask_on(api_key)) for api_key in api_keys]

    async def stop(self) -> list[Seen]:
        self._ended.set()
        await asyncio.gather(*self._tasks)
        return self.seen

    async def _ask_on(self, api_key: str) -> None:
        client = Client(*self._address)
        while not self._ended.is_set():
            pause = asyncio.create_task(asyncio.sleep(EVERY))
            self.seen.append(await client.ask(api_key))
            await pause
        client.close()


class Client:
    """One connection that is kept; another one after an error."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, api_key: str) -> Seen:
        sent = time.monotonic()
        try:
            async with asyncio.timeout(HANG):
                head = await self._head(api_key)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            why = f"no answer within {HANG:.0f} s" if isinstance(error, TimeoutError) else repr(error)
            return Seen(api_key, sent, 0, got=time.monotonic(), why=why)
        by_store = b"x-decided: store" in head
        waited, stalled = number(head, b"x-waited-us") / 1e6, number(head, b"x-stalled-us") / 1e6
        return Seen(api_key, sent, int(head.split()[1]), by_store, waited, stalled, time.monotonic())

    def close(self) -> None:
        if self._writer:
            self._writer.transport.abort()
        self._writer = None

    async def _head(self, api_key: str) -> bytes:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._writer.write(f"GET /a HTTP/1.1\r\nHost: a\r\nX-API-Key: {api_key}\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        await self._reader.readexactly(number(head, b"content-length"))
        return head


def number(head: bytes, name: bytes) -> int:
    """The value of a header; 0 where it is not there."""
    return int(head.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0] or 0)
