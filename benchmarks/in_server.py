"""Processor time a request inside uvicorn's own protocol, without a network: what a limiter adds to an app.

Code that is hot in a loop understates its cost 2 to 3 times: in a server it runs cold among 20 µs of other code. Here
uvicorn parses each request and runs the app on uvloop, and only the sockets are not there: a transport that counts
takes what is written, and hands in the next request of its connection. So a figure repeats within 2 µs, where runs with
wrk of a few seconds spread by 0.05 to 0.1 of the throughput.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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
Watch = Callable[[bytes, float, bytes], None]


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
    def low(self) -> float:
        """The lower quartile."""
        return sorted(self.rounds)[len(self.rounds) // 4]

    @property
    def middle(self) -> float:
        return median(self.rounds)


class Connections:
    """So many connections of callers who send one request after the other to an app.

    With a `watch` each answer is handed to it, with its request and the time.time() at which that was handed in;
    without one an answer that does not begin as `expected` raises UnexpectedAnswer, with the `name`.
    """

    def __init__(
        self,
        app: App,
        requests: Iterable[bytes],
        expected: bytes = b"HTTP/1.1 200 OK\r\n",
        *,
        name: str = "the app",
        watch: Watch | None = None,
    ) -> None:
        config = Config(app, http="httptools", loop="uvloop", log_level="critical", access_log=False, lifespan="off")
        config.load()
        state = ServerState()
        self._expected = expected
        self._name = name
        self._watch = watch
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
            request = next(self._requests)
            if self._watch:
                client.request, client.sent = request, time.time()
            client.protocol.data_received(request)

    def answered(self, client: _Client, head: bytes, body: bytes) -> None:
        done, self._open = self._done, self._open - 1
        assert done
        if self._watch:
            self._watch(client.request, client.sent, head + body)
        elif not head.startswith(self._expected):
            if not done.done():
                done.set_exception(UnexpectedAnswer(f"{self._name}: {(head + body).decode('latin-1')}"))
            return
        if self._left:
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
        self.request, self.sent = b"", 0.0  # where it is watched
        self._head = b""
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        """The head of a response, then its body of JSON: with that it is answered."""
        if not self._head:
            self._head = data
            if not data.endswith(b"}"):
                return
            data = b""
        head, self._head = self._head, b""
        self._connections.answered(self, head, data)

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


async def compared(
    apps: Mapping[str, Connections],
    rounds: int,
    between: Callable[[], object] | None = None,
    turn: int | None = None,
) -> dict[str, Spent]:
    """All apps in turns, each round begun by another one, and `between` the rounds what else has its turn. A turn is
    TURN requests, or `turn`."""
    requests = turn or TURN
    for connections in apps.values():
        await connections.send(WARM)
    spent = {name: Spent([]) for name in apps}
    for number in range(rounds):
        for name in _from(list(apps), number):
            spent[name].rounds.append(await apps[name].send(requests) / requests * 1e6)
        if between:
            between()
    return spent


def _from(names: list[str], number: int) -> Iterator[str]:
    first = number % len(names)
    yield from names[first:]
    yield from names[:first]
