"""What is no store is refused by name where the middleware is made, with what to give instead: otherwise each request
would find a store that is out of reach, and the limits be off."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import redis
import redis.asyncio as aioredis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel
from redis.sentinel import Sentinel as SyncSentinel

from ratelimit import MemoryStore, RateLimitMiddleware, RedisStore, open_store
from ratelimit.stores.connection.dial import connections
from tests.acceptance import plain, policy


class Own(redis.Redis):
    """Somebody's own."""


def async_of_a_sync_pool() -> aioredis.Redis:
    client = aioredis.Redis()
    client.connection_pool = redis.ConnectionPool()  # type: ignore[assignment]
    return client


SYNC = "redis.asyncio.Redis with the same arguments, as this one would halt the event loop"
CLUSTER = "the cluster's URL: redis+cluster://h1:7000,h2:7001"
SENTINELS = "what master_for(name) of redis.asyncio.sentinel.Sentinel returns, or redis+sentinel://h1:26379/name"
POOL = "redis.asyncio.Redis(connection_pool=…) with a pool of redis.asyncio, or a URL"
ANY = "a URL or redis.asyncio.Redis(…)"
MISTAKES: dict[str, tuple[Any, str, str]] = {  # what is given, what it is called, what to give instead
    "synchronous": (lambda: redis.Redis(password="s3cret"), "redis.client.Redis", SYNC),
    "of a URL": (lambda: redis.from_url("redis://:s3cret@h"), "redis.client.Redis", SYNC),
    "somebody's own": (Own, f"{__name__}.Own", SYNC),
    "a class": (lambda: aioredis.Redis, "the class redis.asyncio.client.Redis", SYNC.partition(",")[0]),
    "a cluster": (
        lambda: aioredis.RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", 1)]),
        "redis.asyncio.cluster.RedisCluster",
        CLUSTER,
    ),
    "a synchronous cluster": (
        lambda: redis.RedisCluster.__new__(redis.RedisCluster),  # made, it asks the nodes at once
        "redis.cluster.RedisCluster",
        CLUSTER,
    ),
    "sentinels": (lambda: Sentinel([("127.0.0.1", 1)]), "redis.asyncio.sentinel.Sentinel", SENTINELS),
    "synchronous sentinels": (lambda: SyncSentinel([("127.0.0.1", 1)]), "redis.sentinel.Sentinel", SENTINELS),
    "a pool": (redis.ConnectionPool, "redis.connection.ConnectionPool", POOL),
    "a blocking pool": (redis.BlockingConnectionPool, "redis.connection.BlockingConnectionPool", POOL),
    "a pool of redis.asyncio": (aioredis.ConnectionPool, "redis.asyncio.connection.ConnectionPool", POOL),
    "a synchronous pool in a client": (async_of_a_sync_pool, "redis.connection.ConnectionPool", POOL),
    "nothing": (lambda: None, "None", ANY),
    "bytes": (lambda: b"redis://:s3cret@h", "builtins.bytes", ANY),
    "another store": (MemoryStore, "ratelimit.stores.memory.MemoryStore", ANY),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_given_to_a_store_on_redis(mistake: str) -> None:
    """It says what it was given, without a password, and what to give."""
    given, called, instead = MISTAKES[mistake]
    words = f"a store on Redis is given a URL or a client of redis.asyncio, not {called}: give {instead}"
    with pytest.raises(TypeError, match=f"^{re.escape(words)}"):
        RedisStore(given())


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.1:6379", "http://h", "memory://"])
def test_a_text_that_is_no_url_of_redis(text: str) -> None:
    """A text is a URL, or it is refused as one."""
    with pytest.raises(ValueError, match=r"^the URL of the store "):
        RedisStore(text)


def test_given_as_a_url() -> None:
    """`open_store` takes a text alone."""
    with pytest.raises(TypeError, match=r"not redis\.asyncio\.client\.Redis: "):
        open_store(aioredis.Redis())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "called"),
    [
        (redis.Redis(), "redis.client.Redis"),
        (aioredis.Redis(), "redis.asyncio.client.Redis"),
        (MemoryStore, "the class ratelimit.stores.memory.MemoryStore"),
        (b"memory://", "builtins.bytes"),
        (0, "builtins.int"),
    ],
)
def test_given_to_the_middleware(given: Any, called: str, caplog: pytest.LogCaptureFixture) -> None:
    """A client is no store; it is in the log too, as a server may take no notice of errors there."""
    words = f"a Store or its URL is needed, not {called}: give RedisStore(…) of a client of redis.asyncio, or a URL"
    with pytest.raises(TypeError, match=f"^{re.escape(words)}$"):
        RateLimitMiddleware(plain, policy(), store=given)
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.CRITICAL, f"store: {words}")]


@pytest.mark.parametrize(
    "client",
    [
        aioredis.Redis(),
        aioredis.StrictRedis(),
        aioredis.Redis(connection_pool=aioredis.BlockingConnectionPool()),
        Sentinel([("127.0.0.1", 1)]).master_for("m"),
    ],
)
def test_what_is_taken(client: Any) -> None:
    """A client of redis.asyncio, however it comes by its connections."""
    assert connections(client) is client.connection_pool
    assert RedisStore(client).prefix == "ratelimit"
