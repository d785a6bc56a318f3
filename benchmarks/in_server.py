"""Processor time a request inside uvicorn's own protocol, without a network: what a limiter adds to an app.

Code that is hot in a loop understates its cost 2 to 3 times: in a server it runs cold among 20 µs of other code. Here
uvicorn parses each request and runs the app on uvloop, and only the sockets are not there: a transport that counts takes
what is written, and hands in the next request of its connection. So a figure repeats within 2 µs, where runs with wrk of
a few seconds spread by 0.05 to 0.1 of the throughput.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from benchmarks.policy import CALLERS, api_key

CONNECTIONS = 64
ITEMS = 1_000
WARM = 3_000  # requests before the first that count: caches are filled, and the specializing interpreter is done
TURN = 400  # requests of an app before the next one has its turn: what disturbs one disturbs all

App = Callable[..., Any]


class UnexpectedAnswer(RuntimeError):
    """A benchmark that is wrong is no benchmark."""


@dataclass(slots=True)
class Spent:
    """Microseconds of this process a request, one figure a round."""

    rounds: list[float]

    @property
    def least(self) -> float:
        return min(self.rounds)

    @property
    def middle(self) -> float:
        return median(self.rounds)


class Connections:
    """So many connections of callers who send one request after the other to an app."""

    def __init__(self, app: App, requests: Sequence[bytes], expected: bytes = b"HTTP/1.1 200 OK\r\n") -> None:
        config = Config(app, http="httptools", loop="uvloop", log_level="critical", access_log=False, lifespan="off")
        config.load()
        state = ServerState()
        self._expected = expected
        self._requests = cycle(requests)
        self._left = 0
        self._open = 0
        self._done: asyncio.Future[None] | None = None
        self._clients = [_Client(self, HttpToolsProtocol(config, state, {}), number) for number in range(CONNECTIONS)]

    async def send(self, number: int) -> float:
        """Seconds of processor time that so many requests take this process."""
        self._left, self._open = number, 0
        self._done = asyncio.get_running_loop().create_future()
        before = time.process_time()
        for client in self._clients:
            self.next(client)
        await self._done
        return time.process_time() - before

    def next(self, client: _Client) -> None:
        """Its next request; the round ends with the answer to the last."""
        if self._left:
            self._left -= 1
            self._open += 1
            client.protocol.data_received(next(self._requests))

    def answered(self, client: _Client, answer: bytes) -> None:
        done, self._open = self._done, self._open - 1
        assert done
        if not answer.startswith(self._expected):
            if not done.done():
                done.set_exception(UnexpectedAnswer(answer.decode("latin-1")))
        elif self._left:
            client.soon()
        elif not self._open and not done.done():
            done.set_result(None)


class _Client(asyncio.Transport):
    """One connection, as the protocol sees its transport."""

    def __init__(self, connections: Connections, protocol: HttpToolsProtocol, number: int) -> None:
        super().__init__({"peername": ("127.0.0.1", 50_000 + number), "sockname": ("127.0.0.1", 8_000)})
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self.protocol = protocol
        self._head = b""
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        """The head of a response, then its body: with that it is answered."""
        if not self._head:
            self._head = data
            if b"\r\n\r\n" not in data or not data.endswith(b"}"):
                return
        head, self._head = self._head, b""
        self._connections.answered(self, head)

    def soon(self) -> None:
        self._loop.call_soon(self._connections.next, self)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def requests(callers: int = CALLERS, headers: Mapping[str, str] | None = None) -> list[bytes]:
    """What callers.lua sends, with a few headers that clients send anyway."""
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return [
        f"GET /items/{item} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {api_key(item % callers)}\r\n{more}\r\n".encode()
        for item in range(max(callers, ITEMS))
    ]


async def compared(apps: Mapping[str, Connections], rounds: int) -> dict[str, Spent]:
    """All apps in turns, each turn the one after it first."""
    for connections in apps.values():
        await connections.send(WARM)
    spent = {name: Spent([]) for name in apps}
    for turn in range(rounds):
        for name in _from(list(apps), turn):
            spent[name].rounds.append(await apps[name].send(TURN) / TURN * 1e6)
    return spent


def _from(names: list[str], turn: int) -> Iterator[str]:
    first = turn % len(names)
    yield from names[first:]
    yield from names[:first]
