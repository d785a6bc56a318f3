"""What is needed of redis-py: connections from a URL or a client.

The only file that imports redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import hiredis
from redis.asyncio import Connection, ConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.breaker import Proof, Proving, Trial
from ratelimit.stores.connection.errors import NoScript, NotMaster, Replied, advised, no_client
from ratelimit.stores.connection.handshake import Address, check_single, looked_up, reuse_context
from ratelimit.stores.connection.socket import Reply, Socket, Transport, command

__all__ = [
    "ConnectionPool",
    "connect",
    "connections",
    "connections_to_master",
    "reason",
]


WORDS = {  # redis-py takes the word off what a server says
    BusyLoadingError: "LOADING",
    MasterDownError: "MASTERDOWN",
    ReadOnlyError: "READONLY",
    AuthenticationError: "WRONGPASS",
}
UNASKED = ("HELLO must be called", "Authentication required")  # of NOAUTH: nobody has presented a password


class Finder(Protocol):
    """Where a connection to the master goes. The name of the method is redis-py's."""

    async def discover_master(self, name: str) -> tuple[str, int]:
        """Host and port of the master at this moment. Whatever it raises, no connection is made."""


def connections(redis: str | Redis) -> ConnectionPool:
    """What makes connections: from a client, or from a URL (redis://, rediss://, unix://).

    Raises ValueError for a URL that no connection can be made from, without the URL: it may hold a password. TypeError
    for what is neither.
    """
    if not isinstance(redis, str | Redis):
        raise no_client(redis)
    if isinstance(redis, Redis) and not isinstance(redis.connection_pool, ConnectionPool):
        raise no_client(redis.connection_pool)
    try:
        pool = (Redis.from_url(redis) if isinstance(redis, str) else redis).connection_pool
        pool.make_connection()  # type: ignore[no-untyped-call]  # connects nowhere, and knows its options
    except ValueError:
        why = "its host, its port, its database or an option can't be read"
    except TypeError as error:
        option = str(error).rpartition("argument ")[2]
        why = f"it has an option {option}, which this kind of URL does not know; those of TLS need rediss"
    except RedisError as error:
        why = str(error)
    else:
        return pool
    # Not from within `except`: the first error quotes a piece of the URL, and reporters show what an error came from.
    raise ValueError(f"no connection to Redis can be made from this URL: {why}")


def connections_to_master(url: str, name: str, finder: Finder) -> ConnectionPool:
    """What makes connections to where the master is then. Of the URL all but the address counts.

    Raises ValueError as `connections` does.
    """
    connections(url)
    options: dict[str, Any] = {**parse_url(url)}
    secure = options.pop("connection_class", None) is SSLConnection
    options = {option: value for option, value in options.items() if option not in ("host", "port")}
    return SentinelConnectionPool(name, finder, ssl=secure, **options)  # type: ignore[no-untyped-call]


async def connect(
    pool: ConnectionPool, on_reply: Callable[[Reply], None], on_lost: Callable[[str], None], proof: Proof
) -> Transport:
    """A new connection that has proved to be of use, tried once: redis-py by itself would try ten times. Raises what
    redis-py raises, and StoreUnavailable."""
    connection: Connection = pool.make_connection()  # type: ignore[no-untyped-call]
    connection.retry = Retry(NoBackoff(), 0)
    connection.socket_timeout = None
    try:
        if type(connection) in (Connection, SSLConnection):  # a Unix socket has no name, and that of fakeredis is none
            await looked_up(connection.host, connection.port)
        if isinstance(connection, SSLConnection):
            reuse_context(connection.ssl_context, pool.connection_kwargs)
        await _greeted(connection)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    if proof.single:
        kind = Trial(lambda: command("HELLO"), partial(_check_kind, connection))
        proof = proof._replace(trials=(kind, *proof.trials))
    proving = Proving(proof)
    writer = getattr(connection, "_writer", None)  # redis-py has no public way to the transport; fakeredis has none
    wire: Socket | _Generic
    if isinstance(writer, asyncio.StreamWriter):
        connection._writer = connection._reader = None  # ours from here on: who drops a connection closes its writer
        wire = Socket(writer, proving.heard, proving.lost)
    else:
        wire = _Generic(connection, proving.heard, proving.lost)
    try:
        await proving.proved(wire)
    except BaseException:
        wire.abort()
        raise
    wire.on_reply, wire.on_lost = on_reply, on_lost
    return wire


async def _greeted(connection: Connection) -> None:
    """Connect, also to a server on which HELLO was renamed."""
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except ResponseError as error:
        if "HELLO" not in str(error).upper() or connection.protocol in (2, "2"):
            raise
        connection.protocol = 2
        await connection.connect()  # type: ignore[no-untyped-call]


def _check_kind(connection: Connection, hello: Reply) -> None:
    scheme = "rediss" if isinstance(connection, SSLConnection) else "redis"
    host = getattr(connection, "host", None)  # a Unix socket has none
    check_single(hello, scheme, Address(host, connection.port) if host else None)


class _Generic:
    """A Transport on redis-py's own sending and reading."""

    def __init__(
        self, connection: Connection, on_reply: Callable[[Reply], None], on_lost: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self.on_reply = on_reply
        self.on_lost = on_lost
        self._commands: asyncio.Queue[bytes] = asyncio.Queue()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def write(self, commands: bytes) -> None:
        self._commands.put_nowait(commands)

    drained = None

    def abort(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        why = "the connection was closed"
        try:
            while True:
                commands = await self._commands.get()
                await self._connection.send_packed_command([commands], check_health=False)
                for _ in range(_number(commands)):
                    self.on_reply(await _read(self._connection))
        except (RedisError, OSError) as error:
            why = reason(error)
        finally:
            self.on_lost(why)
            with suppress(RedisError):
                await self._connection.disconnect(nowait=True)


def _number(commands: bytes) -> int:
    reader = hiredis.Reader()
    reader.feed(commands)
    return len(list(iter(reader.gets, False)))


async def _read(connection: Connection) -> Reply | StoreUnavailable:
    try:
        return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
    except NoScriptError as error:
        return NoScript(reason(error))
    except ReadOnlyError as error:
        return NotMaster(reason(error))
    except ResponseError as error:
        return Replied(reason(error))


def reason(error: BaseException) -> str:
    """An error in a line: its type and what it says, or what a server says, and what to do about it."""
    if type(error) is StoreUnavailable or isinstance(error, Replied):
        return str(error)
    if isinstance(error, AuthenticationError) and str(error).startswith(UNASKED):
        return advised("NOAUTH Authentication required.")
    if word := next((word for kind, word in WORDS.items() if isinstance(error, kind)), ""):
        return advised(f"{word} {error}")
    return f"{type(error).__name__}: {advised(str(error))}" if str(error) else type(error).__name__
