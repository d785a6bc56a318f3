"""What is needed of redis-py: connections from a URL or a client, and replies with their errors.

The only file that imports redis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis.asyncio import Connection, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from ratelimit.model import StoreUnavailable

__all__ = [
    "Command",
    "Connection",
    "ConnectionPool",
    "Demoted",
    "NoScript",
    "Reply",
    "aborting",
    "connect",
    "connections",
    "read",
]

Command = tuple[bytes | str | int, ...]
Reply = Any


class NoScript(StoreUnavailable):
    """The script cache lost the script: a restart, a failover or SCRIPT FLUSH."""


class Demoted(StoreUnavailable):
    """READONLY: what was the master is a replica now, and keeps its connections open."""


def connections(redis: str | Redis) -> ConnectionPool:
    """What makes connections: from a client, or from a URL (redis://, rediss://, unix://).

    Raises ValueError for a URL that no connection can be made from, without the URL: it may hold a password.
    """
    try:
        pool = (Redis.from_url(redis) if isinstance(redis, str) else redis).connection_pool
        pool.make_connection()  # type: ignore[no-untyped-call]  # connects nowhere, and knows its options
    except ValueError:
        reason = "its host, its port, its database or an option can't be read"
    except (TypeError, RedisError) as error:
        reason = str(error)
    else:
        return pool
    # Not from within `except`: the first error quotes a piece of the URL, and reporters show what an error came from.
    raise ValueError(f"no connection to Redis can be made from this URL: {reason}")


async def connect(pool: ConnectionPool) -> Connection:
    """A new connection, tried once: redis-py by itself would try ten times. Raises what redis-py raises."""
    connection: Connection = pool.make_connection()  # type: ignore[no-untyped-call]
    connection.retry = Retry(NoBackoff(), 0)
    connection.socket_timeout = None
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


def aborting(connection: Connection) -> Callable[[], None]:
    """What ends a connection at once. Closing would first wait for a server that stands still to read the rest."""
    transport = getattr(getattr(connection, "_writer", None), "transport", None)  # redis-py has no public way to it
    return transport.abort if transport else lambda: None


async def read(connection: Connection) -> Reply | StoreUnavailable:
    """The next reply. An error that the server replied is returned, one of the connection is raised."""
    try:
        return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
    except NoScriptError as error:
        return NoScript(reason(error))
    except ReadOnlyError as error:
        return Demoted(reason(error))
    except ResponseError as error:
        return StoreUnavailable(reason(error))


def reason(error: BaseException) -> str:
    """An error in a line: its type and what it says."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
