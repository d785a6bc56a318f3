"""What is needed of redis-py: connections from a URL or a client.

The only file that imports redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
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
from ratelimit.stores.connection.errors import NoScript, NotMaster, Replied, advised, no_client
from ratelimit.stores.connection.handshake import Address, check_single, looked_up, reuse_context
from ratelimit.stores.connection.socket import Reply, Socket, Transport

__all__ = [
    "OF_A_MASTER",
    "OF_A_NODE",
    "ConnectionPool",
    "Proof",
    "connect",
    "connections",
    "connections_to_master",
    "reason",
]

Proof = tuple[str | int, ...]  # a command: who answers it is of use
# A script that says what it is (by its first line) is refused at once where it could not write: by a replica, while
# data is loaded, while another script runs. PING would be answered by a replica.
OF_A_MASTER: Proof = ("EVAL", "#!lua\nreturn 1", 0)
OF_A_NODE: Proof = ("PING",)  # of a cluster: a replica knows as well who has which slots
# LOADING is a ConnectionError. Any other error is no proof of the contrary: with OOM those who are to be denied still
# are, and a server that does not know the first line of the script (fakeredis) may run ours.
WORDS = {  # redis-py takes the word off what a server says
    BusyLoadingError: "LOADING",
    MasterDownError: "MASTERDOWN",
    ReadOnlyError: "READONLY",
    AuthenticationError: "WRONGPASS",
}
UNASKED = ("HELLO must be called", "Authentication required")  # of NOAUTH: nobody has presented a password
USELESS = (AuthenticationError, MasterDownError, ReadOnlyError)


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
    redis-py raises."""
    connection: Connection = pool.make_connection()  # type: ignore[no-untyped-call]
    connection.retry = Retry(NoBackoff(), 0)
    connection.socket_timeout = None
    try:
        if type(connection) in (Connection, SSLConnection):  # a Unix socket has no name, and that of fakeredis is none
            await looked_up(connection.host, connection.port)
        if isinstance(connection, SSLConnection):
            reuse_context(connection.ssl_context, pool.connection_kwargs)
        await connection.connect()  # type: ignore[no-untyped-call]
        await _prove(connection, proof)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    writer = getattr(connection, "_writer", None)  # redis-py has no public way to the transport; fakeredis has none
    if not isinstance(writer, asyncio.StreamWriter):
        return _Generic(connection, on_reply, on_lost)
    connection._writer = connection._reader = None  # ours from here on: who drops a connection closes its writer
    return Socket(writer, on_reply, on_lost)


async def _prove(connection: Connection, proof: Proof) -> None:
    """Raises what the server says if it is what it would say to every request, and where it is another kind."""
    asked = [("HELLO",), proof] if proof is OF_A_MASTER else [proof]
    await connection.send_packed_command(connection.pack_commands(asked), check_health=False)
    if proof is OF_A_MASTER:
        with suppress(ResponseError):  # a user who may not ask, fakeredis
            _check_kind(connection, await connection.read_response())
    try:
        await connection.read_response()
    except USELESS:
        raise
    except ResponseError as error:
        if str(error).startswith("BUSY "):  # a script runs on and on
            raise


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
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._commands: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def write(self, commands: bytes) -> None:
        reader = hiredis.Reader()
        reader.feed(commands)
        self._commands.put_nowait((commands, sum(1 for _ in iter(reader.gets, False))))

    drained = None

    def abort(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        why = "the connection was closed"
        try:
            while True:
                commands, replies = await self._commands.get()
                await self._connection.send_packed_command([commands], check_health=False)
                for _ in range(replies):
                    self._on_reply(await _read(self._connection))
        except (RedisError, OSError) as error:
            why = reason(error)
        finally:
            self._on_lost(why)
            with suppress(RedisError):
                await self._connection.disconnect(nowait=True)


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
    if type(error) is StoreUnavailable:
        return str(error)
    if isinstance(error, AuthenticationError) and str(error).startswith(UNASKED):
        return advised("NOAUTH Authentication required.")
    if word := next((word for kind, word in WORDS.items() if isinstance(error, kind)), ""):
        return advised(f"{word} {error}")
    return f"{type(error).__name__}: {advised(str(error))}" if str(error) else type(error).__name__
