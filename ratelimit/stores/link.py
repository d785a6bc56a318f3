"""One connection to Redis, shared by all requests of an event loop: commands go out at once, replies come in order."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from contextvars import Context
from typing import NamedTuple

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection import (
    Command,
    Connection,
    ConnectionPool,
    Demoted,
    Reply,
    aborting,
    connect,
    read,
    reason,
)

CONNECT_TIMEOUT = 5.0  # seconds, in the background: a request waits its own, shorter time
TURNS = 8  # of the event loop in which a reply that has arrived is still read when a caller's time is up
BUSY = 0.005  # seconds that a timer may be late before it shows that this process was too busy to look
STALL = 1.0  # seconds without a reply, and at least five timeouts, after which a connection is given up
GOODBYE = 1.0  # seconds at most that close() waits for what is in line to be sent
POSTS = 10_000  # commands without a reply that are kept while there is no connection, the newest
POST_LIFE = 60.0  # seconds; a lease that is released later than that has ended by itself


class _Call(NamedTuple):
    command: Command
    reply: asyncio.Future[Reply] | None  # None: nobody waits for it
    submitted_at: float


class Link:
    """Connects when it is used, and again after the connection was lost. Belongs to the event loop that uses it."""

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout
        self._unsent: deque[_Call] = deque()
        self._unanswered: deque[tuple[float, _Call]] = deque()  # when it was sent, and what
        self._wake = asyncio.Event()
        self._sent: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._connected = False
        self._stalled = False

    async def call(self, command: Command, deadline: float) -> Reply:
        """Send a command and wait for its reply until `deadline` by the loop's clock.

        Raises NoScript, or StoreUnavailable with the reason. Sent once: after an error it may have been applied.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._submit(command, future)
        timer = loop.call_at(deadline, self._time_is_up, future, deadline, TURNS)
        try:
            return await future
        finally:
            timer.cancel()

    def post(self, command: Command) -> None:
        """Send a command whose reply nobody waits for, when there is a connection."""
        self._submit(command, None)

    async def wait_until_sent(self, deadline: float) -> None:
        """Wait until what was submitted is on the wire, or raise StoreUnavailable at `deadline`.

        Does not wait for a connection: what was posted goes first when there is one.
        """
        if self._connected:
            await self._until_sent(deadline)

    async def _until_sent(self, deadline: float) -> None:
        if not self._unsent:
            return
        loop = asyncio.get_running_loop()
        sent = self._sent = self._sent or loop.create_future()
        await asyncio.wait([sent], timeout=deadline - loop.time())
        if not sent.done():
            raise StoreUnavailable(self._too_late())

    async def close(self) -> None:
        """Send what is in line, also where the connection is only being made; then drop it."""
        with suppress(StoreUnavailable):
            await self._until_sent(asyncio.get_running_loop().time() + min(self._timeout, GOODBYE))
        if task := self._task:
            task.cancel()
            await asyncio.wait([task])

    def _submit(self, command: Command, reply: asyncio.Future[Reply] | None) -> None:
        self._unsent.append(_Call(command, reply, asyncio.get_running_loop().time()))
        self._wake.set()
        if self._task is None:
            self._start()

    def _start(self) -> None:
        # In a context of its own: a connection is not part of the request that happens to be the first.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    async def _run(self) -> None:
        """The life of one connection, from the attempt to make it to its end."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await connect(self._pool)
            self._connected, abort = True, aborting(connection)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(connection))
                await self._write(connection)
        except ExceptionGroup as errors:
            self._reconnect(reason(errors.exceptions[0]))
        except Exception as error:  # noqa: BLE001 - whatever it was, callers are told that the store is out of reach
            self._wait_for_the_next_call(reason(error))
        except asyncio.CancelledError:
            if not self._stalled:
                self._end("the connection was closed")
                raise
            abort()
            self._reconnect(f"no reply for {self._patience():.1f} s")
        finally:
            if connection:
                await connection.disconnect(nowait=True)

    def _reconnect(self, why: str) -> None:
        """The connection was lost: what was sent may have been applied, what was not goes over a new one."""
        unsent, self._unsent = self._unsent, deque()
        self._end(why)
        self._unsent = unsent
        if unsent:
            self._start()

    def _wait_for_the_next_call(self, why: str) -> None:
        """No connection could be made. Leases that wait to be given back are kept for when there is one."""
        oldest = asyncio.get_running_loop().time() - POST_LIFE
        posts = [call for call in self._unsent if call.reply is None and call.submitted_at > oldest]
        self._end(why)
        self._unsent.extend(posts[-POSTS:])

    def _end(self, why: str) -> None:
        for call in (*(call for _, call in self._unanswered), *self._unsent):
            if call.reply and not call.reply.done():
                call.reply.set_exception(StoreUnavailable(why))
        self._unanswered.clear()
        self._unsent.clear()
        self._all_sent()
        self._task, self._connected, self._stalled = None, False, False

    def _all_sent(self) -> None:
        if self._sent:
            self._sent.set_result(None)
            self._sent = None

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            # What nobody waits for any more is not sent: it would be charged for nothing.
            batch = [call for call in self._unsent if call.reply is None or not call.reply.done()]
            self._unsent.clear()
            now = asyncio.get_running_loop().time()
            self._unanswered.extend((now, call) for call in batch)
            packed = connection.pack_commands([call.command for call in batch])
            await connection.send_packed_command(packed, check_health=False)
            if not self._unsent:
                self._all_sent()

    async def _read(self, connection: Connection) -> None:
        while True:
            reply = await read(connection)
            _, call = self._unanswered.popleft()
            if call.reply and not call.reply.done():
                if isinstance(reply, StoreUnavailable):
                    call.reply.set_exception(reply)
                else:
                    call.reply.set_result(reply)
            if isinstance(reply, Demoted):  # the next connection may lead to the new master
                raise reply

    def _time_is_up(self, reply: asyncio.Future[Reply], deadline: float, turns: int) -> None:
        if reply.done():
            return
        loop = asyncio.get_running_loop()
        late = loop.time() - deadline
        if turns == TURNS and late > BUSY:
            # For as long as the timer is late this process was busy, perhaps before it had sent anything: not the
            # store's failure. Given once, and at most as long as the timeout.
            loop.call_later(min(late, self._timeout), self._time_is_up, reply, deadline, turns - 1)
        elif turns:
            loop.call_soon(self._time_is_up, reply, deadline, turns - 1)
        else:
            reply.set_exception(StoreUnavailable(self._too_late()))
            self._give_up_if_stalled(loop.time())

    def _give_up_if_stalled(self, now: float) -> None:
        """One late reply is one caller's; only a connection that says nothing for long is dropped."""
        if self._task and self._unanswered and now - self._unanswered[0][0] >= self._patience():
            self._stalled = True
            self._task.cancel()

    def _patience(self) -> float:
        return max(STALL, 5 * self._timeout)

    def _too_late(self) -> str:
        return f"no reply within {self._timeout * 1000:.0f} ms"
