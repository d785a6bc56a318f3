"""One connection to Redis, shared by all requests of an event loop: commands go out at once, replies come in order.

The only file that imports redis.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from redis.asyncio import Connection, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from ratelimit.model import StoreUnavailable

__all__ = ["Command", "Link", "NoScript", "Reply", "connections"]

Command = tuple[bytes | str | int, ...]
Reply = Any
_Future = asyncio.Future[Reply]

CONNECT_TIMEOUT = 5.0  # seconds, in the background: a request waits its own, shorter time
TURNS = 8  # of the event loop in which a reply that has arrived is still read when a caller's time is up


class NoScript(StoreUnavailable):
    """The script cache lost the script: a restart, a failover or SCRIPT FLUSH."""


def connections(redis: str | Redis) -> ConnectionPool:
    """What makes connections: from a client, or from a URL (redis://, rediss://, unix://; ValueError for another)."""
    return (Redis.from_url(redis) if isinstance(redis, str) else redis).connection_pool


class Link:
    """Connects when it is used, and again after the connection was lost. Belongs to the event loop that uses it."""

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout
        self._unsent: deque[tuple[Command, _Future | None]] = deque()
        self._unanswered: deque[tuple[float, _Future | None]] = deque()  # when it was sent, who waits for the reply
        self._wake = asyncio.Event()
        self._written: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost = ""  # why the connection is being dropped

    async def call(self, command: Command, deadline: float) -> Reply:
        """Send a command and wait for its reply until `deadline` by the loop's clock.

        Raises NoScript, or StoreUnavailable with the reason. Sent once: after an error it may have been applied.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._submit(command, future)
        timer = loop.call_at(deadline, self._time_is_up, future, TURNS)
        try:
            return await future
        finally:
            timer.cancel()

    def post(self, command: Command) -> None:
        """Send a command whose reply nobody waits for."""
        self._submit(command, None)

    async def written(self, deadline: float) -> None:
        """Wait until everything that was submitted is on the wire, or raise StoreUnavailable at `deadline`."""
        if not self._unsent:
            return
        loop = asyncio.get_running_loop()
        written = self._written = self._written or loop.create_future()
        await asyncio.wait([written], timeout=deadline - loop.time())
        if not written.done():
            raise StoreUnavailable(self._too_late())
        if written.cancelled():
            raise StoreUnavailable("the connection was lost before the command was sent")

    async def close(self) -> None:
        """Send what is in line, then drop the connection."""
        with suppress(StoreUnavailable):
            await self.written(asyncio.get_running_loop().time() + self._timeout)
        if task := self._task:
            task.cancel()
            await asyncio.wait([task])

    def _submit(self, command: Command, future: _Future | None) -> None:
        self._unsent.append((command, future))
        self._wake.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """The life of one connection."""
        connection: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        connection.retry = Retry(NoBackoff(), 0)  # redis-py would try ten times
        connection.socket_timeout = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.connect()  # type: ignore[no-untyped-call]
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(connection))
                await self._write(connection)
        except ExceptionGroup as errors:
            self._lost = _reason(errors.exceptions[0])
        except Exception as error:  # noqa: BLE001 - whatever it was, callers are told that the store is out of reach
            self._fail(self._unsent, _reason(error))
        finally:
            reason, self._lost = self._lost, ""
            self._fail(self._unanswered, reason or "the connection was closed")
            if not reason:
                self._fail(self._unsent, "the connection was closed")
            self._task = asyncio.get_running_loop().create_task(self._run()) if self._unsent else None
            await connection.disconnect(nowait=True)

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            # What nobody waits for any more is not sent: it would be charged for nothing.
            batch = [(command, future) for command, future in self._unsent if future is None or not future.done()]
            self._unsent.clear()
            now = asyncio.get_running_loop().time()
            self._unanswered.extend((now, future) for _, future in batch)
            packed = connection.pack_commands([command for command, _ in batch])
            await connection.send_packed_command(packed, check_health=False)
            if self._written and not self._unsent:
                self._written.set_result(None)
                self._written = None

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                reply = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
            except ResponseError as error:
                reply = error
            _, future = self._unanswered.popleft()
            if future and not future.done():
                if isinstance(reply, NoScriptError):
                    future.set_exception(NoScript(_reason(reply)))
                elif isinstance(reply, ResponseError):
                    future.set_exception(StoreUnavailable(_reason(reply)))
                else:
                    future.set_result(reply)
            if isinstance(reply, ReadOnlyError):  # a master that was demoted keeps its connections open
                raise reply

    def _time_is_up(self, future: _Future, turns: int) -> None:
        if future.done():
            return
        loop = asyncio.get_running_loop()
        if turns:  # this process may have been too busy to look: that is no failure of the store
            loop.call_soon(self._time_is_up, future, turns - 1)
            return
        future.set_exception(StoreUnavailable(self._too_late()))
        if self._task and self._unanswered and loop.time() - self._unanswered[0][0] >= self._timeout:
            self._lost = self._too_late()
            self._task.cancel()

    def _fail(self, calls: deque[tuple[Any, _Future | None]], reason: str) -> None:
        for _, future in calls:
            if future and not future.done():
                future.set_exception(StoreUnavailable(reason))
        calls.clear()
        if self._written and not self._unsent:
            self._written.cancel()
            self._written = None

    def _too_late(self) -> str:
        return f"no reply within {self._timeout * 1000:.0f} ms"


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
