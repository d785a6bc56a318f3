"""One connection to Redis, shared by all requests of an event loop: commands go out at once, replies come in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import NamedTuple

from ratelimit.model import StoreUnavailable
from ratelimit.stores.alarm import in_time
from ratelimit.stores.connection import ConnectionPool, connect, reason
from ratelimit.stores.wire import Demoted, Reply, Wire

CONNECT_TIMEOUT = 5.0  # seconds, in the background: a request waits its own, shorter time
STALL = 1.0  # seconds without a reply, and at least five timeouts, after which a connection is given up
GOODBYE = 1.0  # seconds at most that close() waits for what is in line
POSTS = 10_000  # commands without a reply that are kept while there is no connection, the newest
POST_LIFE = 60.0  # seconds; a lease that is released later than that has ended by itself

Done = Callable[[Reply], None]  # called with a reply; with a StoreUnavailable where there is none


class _Call(NamedTuple):
    command: bytes
    reply: asyncio.Future[Reply] | None  # None: nobody waits for it
    submitted_at: float


class Link:
    """Of one event loop. Connects when it is used, and again after the connection was lost while somebody waits.

    Whoever keeps its own line uses `ready`, `connect` and `send`; it is told by `on_ready` when it may send, by
    `on_failure` that no connection could be made, and is asked by `wanted` whether it waits for one.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        timeout: float,
        *,
        on_ready: Callable[[], None],
        on_failure: Callable[[StoreUnavailable], None],
        wanted: Callable[[], bool],
    ) -> None:
        self._now = asyncio.get_running_loop().time
        self._pool = pool
        self._timeout = timeout
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._wanted = wanted
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[str] | None = None
        self._unsent: deque[_Call] = deque()
        self._unanswered: deque[tuple[float, Done]] = deque()  # when it was sent, and who waits
        self._idle: asyncio.Future[None] | None = None
        self._closed = False
        self.number = 0  # of connections that were made

    @property
    def ready(self) -> bool:
        """Whether what is sent leaves this process at once."""
        return self._wire is not None and self._wire.drained is None

    def connect(self) -> None:
        if self._closed:  # nobody would ever end a connection that is made now
            self._on_failure(StoreUnavailable("the store was closed"))
        elif self._task is None:  # in a context of its own: a connection is no part of the request that is the first
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    def send(self, commands: bytes, *done: Done) -> None:
        """Send commands when the link is `ready`, a `done` for each. Sent once: after an error they may be applied."""
        wire = self._wire
        assert wire  # noqa: S101 - it is ready
        self._unanswered.extend([(self._now(), one) for one in done])
        wire.write(commands)
        if wire.drained:
            wire.drained.add_done_callback(lambda _: self._resume(wire))

    async def call(self, command: bytes, patience: float = 0.0) -> Reply:
        """Send a command, now or when there is a connection, and wait for its reply. Raises StoreUnavailable."""
        reply = self.submit(command)
        return await in_time(reply, patience or self._timeout, lambda: self._fail(reply))

    def submit(self, command: bytes) -> asyncio.Future[Reply]:
        """Send a command, now or when there is a connection: its reply or an error."""
        self._submit(_Call(command, reply := asyncio.get_running_loop().create_future(), self._now()))
        return reply

    def post(self, command: bytes) -> None:
        """Send what may be done twice, now or when there is a connection; again if that is lost before it replies."""
        self._submit(_Call(command, None, self._now()))

    async def wait_until_sent(self) -> None:
        """Wait until what was sent has left this process, not for a connection. Raises StoreUnavailable in time."""
        deadline = self._now() + self._timeout
        while self._wire and (drained := self._wire.drained):
            await asyncio.wait([drained], timeout=deadline - self._now())
            if not drained.done():
                raise StoreUnavailable(self.too_late())

    async def close(self) -> None:
        """Have what is in line answered, also where the connection is only being made; then drop it for good."""
        if self._unsent or self._unanswered:
            self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._idle], timeout=min(self._timeout, GOODBYE))
        self._closed = True
        if task := self._task:
            task.cancel()
            await asyncio.wait([task])
            if self._task:  # it had not even begun
                self._give_up("the connection was closed")

    def drop_if_stalled(self) -> None:
        """One late reply is one caller's; only a connection that says nothing for long is dropped."""
        patience = max(STALL, 5 * self._timeout)
        if self._unanswered and self._now() - self._unanswered[0][0] >= patience:
            self.drop(f"no reply for {patience:.1f} s")

    def too_late(self) -> str:
        return f"no reply within {self._timeout * 1000:.0f} ms"

    async def _run(self) -> None:
        """The life of one connection, from the attempt to make it to its end."""
        self._lost = lost = asyncio.get_running_loop().create_future()
        wire: Wire | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                wire = await connect(self._pool, self._replied, partial(self.drop, lost=lost))
            if not lost.done():
                self._wire, self.number = wire, self.number + 1
                self._resume(wire)
            self._end(await lost)
            if self._unsent or self._wanted():
                self.connect()
        except asyncio.CancelledError:
            for _ in range(0 if self._closed else 100):  # turns for who is cancelled with it and gives slots back:
                await asyncio.sleep(0)  # a loop that ends without close() cancels all its tasks at once
            self._give_up("the connection was closed")
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, callers are told that the store is out of reach
            self._give_up(reason(error))
        finally:
            if wire:
                wire.abort()

    def _resume(self, wire: Wire) -> None:
        """Send what is in line for as long as it leaves this process."""
        while self._unsent and self._wire is wire and self.ready:
            call = self._unsent.popleft()
            if call.reply is None or not call.reply.done():  # else it would be done for nothing
                self._submit(call)
        if self._wire is wire and self.ready:
            self._on_ready()

    def _end(self, why: str) -> None:
        """What was sent may have been applied; what was not, or was posted, goes over a new connection."""
        self._task = self._wire = None
        unanswered, self._unanswered = self._unanswered, deque()
        for _, done in unanswered:
            done(StoreUnavailable(why))
        self._tell_if_idle()

    def _give_up(self, why: str) -> None:
        """There is no connection. Leases that wait to be given back are kept for when there is one."""
        unsent, self._unsent = self._unsent, deque()
        self._end(why)
        self._on_failure(StoreUnavailable(why))
        for call in unsent:
            self._settle(call, StoreUnavailable(why))
        self._unsent = deque([*self._unsent][-POSTS:])

    def _submit(self, call: _Call) -> None:
        if self.ready:
            self.send(call.command, partial(self._settle, call))
        else:
            self._unsent.append(call)
            self.connect()

    def _settle(self, call: _Call, reply: Reply) -> None:
        failed = isinstance(reply, StoreUnavailable)
        if call.reply and not call.reply.done():
            (call.reply.set_exception if failed else call.reply.set_result)(reply)
        elif failed and not (call.reply or self._wire or self._closed) and call.submitted_at > self._now() - POST_LIFE:
            self._unsent.append(call)

    def _replied(self, reply: Reply) -> None:
        if not self._unanswered:
            self.drop("a reply that nobody asked for")
            return
        _, done = self._unanswered.popleft()
        done(reply)
        if isinstance(reply, Demoted):  # the next connection may lead to the new master
            self.drop(str(reply))
        self._tell_if_idle()

    def drop(self, why: str, lost: asyncio.Future[str] | None = None) -> None:
        """Write nothing more to this connection, where uvloop would raise; what it has not answered fails."""
        lost = lost or self._lost
        if lost is self._lost:
            self._wire = None
        if lost and not lost.done():
            lost.set_result(why)

    def _fail(self, reply: asyncio.Future[Reply]) -> None:
        reply.set_exception(StoreUnavailable(self.too_late()))
        self.drop_if_stalled()

    def _tell_if_idle(self) -> None:
        if self._idle and not self._unsent and not self._unanswered:
            self._idle.set_result(None)
            self._idle = None
