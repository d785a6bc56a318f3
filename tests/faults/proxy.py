"""A TCP proxy that is a bad network: it delays, cuts, swallows, corrupts and refuses, from one moment to the next.

It runs in a thread of its own, so that a test that is busy does not slow the network down.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

HIGH_WATER = 2**20  # bytes on the way in one direction


class Network:
    """What is wrong at the moment; nothing, unless it is said."""

    delay = 0.0  # seconds that replies are on the way
    hole = False  # nothing arrives any more, in any direction, and no connection ends
    cut_after: int | None = None  # bytes of a reply after which its connection is reset
    garbage: random.Random | None = None  # bytes of replies are these dice's


class Proxy:
    """Forwards to a port of loopback; `port` is its own. What its methods do is in force when they return."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._network = Network()
        self._pairs: set[_Pair] = set()
        self._reserved = reserved_port()  # the port stays ours while nobody listens
        self.port: int = self._reserved.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy to {target}")

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._within(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._within(self._hang_up)
        self._within(self._refuse)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._reserved.close()

    def reset(self) -> None:
        """Cut all connections at once, as a router that is restarted."""
        self._within(self._hang_up)

    @contextmanager
    def delaying(self, seconds: float) -> Iterator[None]:
        """Replies arrive so much later."""
        with self._being(delay=seconds):
            yield

    @contextmanager
    def cutting(self, after: int) -> Iterator[None]:
        """Every connection is reset after so many bytes of a reply."""
        with self._being(cut_after=after):
            yield

    @contextmanager
    def corrupting(self, seed: int) -> Iterator[None]:
        """Every reply is noise of its length."""
        with self._being(garbage=random.Random(seed)):
            yield

    @contextmanager
    def swallowing(self) -> Iterator[None]:
        """Nothing arrives, and nothing ends. A connection that saw it is dead for good: a firewall has forgotten it."""
        with self._being(hole=True):
            yield

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """No connection is accepted, and those that there were are cut."""
        self._within(self._refuse)
        self._within(self._hang_up)
        try:
            yield
        finally:
            self._within(self._listen)

    @contextmanager
    def _being(self, **state: object) -> Iterator[None]:
        self._within(lambda: self._set(**state))
        try:
            yield
        finally:
            self._within(lambda: self._set(**{name: getattr(Network, name) for name in state}))

    def _set(self, **state: object) -> None:
        for name, value in state.items():
            setattr(self._network, name, value)
        for pair in self._pairs:
            pair.dead = pair.dead or self._network.hole
            pair.flush.set()

    def _within(self, what: Callable[[], object]) -> None:
        async def done() -> None:
            result = what()
            if asyncio.iscoroutine(result):
                await result

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(20)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def _refuse(self) -> None:
        if self._server:
            self._server.close()
        self._server = None

    async def _hang_up(self) -> None:
        tasks = [pair.task for pair in self._pairs]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = _Pair(self._network, writer)
        self._pairs.add(pair)
        with suppress(OSError, asyncio.CancelledError):
            await pair.run(reader, self._target)
        pair.end()
        self._pairs.discard(pair)


class _Pair:
    """A connection of a client, and ours to the server for it."""

    def __init__(self, network: Network, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.task = task
        self.dead = network.hole
        self.flush = asyncio.Event()
        self._network = network
        self._writers = [client]
        self._replied = 0

    async def run(self, client: asyncio.StreamReader, target: int) -> None:
        server, writer = await asyncio.open_connection("127.0.0.1", target)
        self._writers.append(writer)
        ways = {asyncio.ensure_future(self._requests(client)), asyncio.ensure_future(self._replies(server))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self, client: asyncio.StreamReader) -> None:
        while data := await client.read(65_536):
            if not self.dead:
                self._writers[1].write(data)
                await self._writers[1].drain()

    async def _replies(self, server: asyncio.StreamReader) -> None:
        """Read as they come and passed on in their order, late if that is what is wrong."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        passing = asyncio.ensure_future(self._pass_on(late))
        try:
            while data := await server.read(65_536):
                late.put_nowait((asyncio.get_running_loop().time(), data))
                if passing.done():
                    return
        finally:
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)

    async def _pass_on(self, late: asyncio.Queue[tuple[float, bytes]]) -> None:
        while True:
            arrived, data = await late.get()
            while (wait := arrived + self._network.delay - asyncio.get_running_loop().time()) > 0:
                self.flush.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.flush.wait(), wait)
            if not self.dead:
                self._reply(data)

    def _reply(self, data: bytes) -> None:
        if dice := self._network.garbage:
            data = dice.randbytes(len(data))
        if (after := self._network.cut_after) is not None:
            data = data[:after]
        self._writers[0].write(data)
        if after is not None:
            self.task.cancel()

    def end(self) -> None:
        """With a reset in both directions: nobody says goodbye in a fault, and in none the client has gone already."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


def reserved_port() -> socket.socket:
    """A port of loopback that nobody else is given, also while the server that is to listen there is gone."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved
