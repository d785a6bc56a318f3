"""The store on Redis or Valkey, shared by any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ratelimit.ground.loops import PerLoop, needs_asyncio
from ratelimit.ground.tracebacks import without_locals
from ratelimit.model import Charge, Decision, Lease
from ratelimit.stores.batching.queue import DecisionQueue
from ratelimit.stores.connection.dial import ConnectionPool, connections, connections_to_master
from ratelimit.stores.fallback.gates import keep_account
from ratelimit.stores.fallback.local import LocalLimiter
from ratelimit.stores.lua.scripts import Scripts, called, without_room
from ratelimit.stores.routing.parts import split_url
from ratelimit.stores.routing.sentinel import Sentinels
from ratelimit.stores.routing.urls import SENTINELS, SentinelUrl, problem_of, with_credentials

if TYPE_CHECKING:
    from redis.asyncio import Redis


class RedisStore:
    """Keeps counters in Redis 7 or Valkey.

    `redis` is a URL or a client of redis.asyncio, of which only the connection settings are used: redis://, rediss://,
    unix://, and redis+sentinel://h1:26379,h2:26379/mymaster/0 and rediss+sentinel://, where each connection goes to the
    server that is the master then. Every key begins with `prefix`. No call waits longer than `timeout` seconds. One
    connection an event loop.

    ValueError for a URL that is not supported; TypeError for what is neither, a synchronous client for one.

    Pass the same tuple of charges for the same caller again, as Policy.charges gives it: what is prepared, remembered
    and taken ahead belongs to that object.
    """

    asyncio_only = True

    @without_locals
    def __init__(self, redis: str | Redis, *, prefix: str = "ratelimit", timeout: float = 0.1) -> None:
        self._pool = _connections(redis) if isinstance(redis, str) else connections(redis)
        self.prefix = prefix
        self._prefix = f"{prefix}:"
        self.timeout = self._timeout = timeout
        self.scripts = Scripts()
        self._keeps_account = False
        self._queues = PerLoop(self._new_group)

    def acquire(self, charges: Sequence[Charge]) -> Coroutine[Any, Any, Decision]:
        # Not `async` itself: one coroutine a request less.
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise needs_asyncio(self) from None
        return self._queues[loop].acquire(charges)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        written = partial(self.scripts.renewal, self._prefix, leases)
        return without_room(leases, await called(self._queue().link, written, self._timeout))

    async def release(self, leases: Sequence[Lease]) -> None:
        queue = self._queue()
        queue.post_release(leases)
        await queue.link.wait_until_sent()

    async def close(self) -> None:
        if queue := self._queues.pop(asyncio.get_running_loop(), None):
            await queue.close()

    def keep_account(self) -> None:
        """Before the first request: from now on `local` knows what was seen, and what it admits will be charged."""
        self._keeps_account = True

    def local(self) -> LocalLimiter:
        """What decides on this event loop while the store can't. Asked for after `keep_account`."""
        gate = self._queue().gate
        assert gate  # noqa: S101 - it is kept
        return gate.local

    def _new_group(self) -> DecisionQueue:
        queue = DecisionQueue(self._pool, self.scripts, self._prefix, self._timeout)
        if self._keeps_account:
            keep_account(queue, self.scripts, self._prefix, self._timeout)
        return queue

    def _queue(self) -> DecisionQueue:
        return self._queues[asyncio.get_running_loop()]


def _connections(url: str) -> ConnectionPool:
    scheme = split_url(url).scheme
    if scheme not in ("redis", "rediss", "unix", *SENTINELS):
        raise ValueError("the URL of the store is none of a server or of sentinels; open_store takes any")
    if problem := problem_of(url):
        raise ValueError(f"the URL of the store {problem}")
    url = with_credentials(url)
    if scheme in SENTINELS:
        sentinels = SentinelUrl.of(url)
        return connections_to_master(sentinels.any_node, sentinels.name, Sentinels(sentinels))
    return connections(url)
