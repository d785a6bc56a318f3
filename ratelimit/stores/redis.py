"""The store on Redis or Valkey, shared by any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ratelimit.loops import PerLoop, needs_asyncio
from ratelimit.model import Charge, Decision, Lease
from ratelimit.stores.accounts import keep_account
from ratelimit.stores.connection import ConnectionPool, connections, connections_to_master
from ratelimit.stores.group import Group
from ratelimit.stores.local import Local
from ratelimit.stores.parts import split_url
from ratelimit.stores.scripts import Scripts, called, without_room
from ratelimit.stores.sentinel import Sentinels
from ratelimit.stores.urls import SENTINELS, SentinelUrl, problem_of, with_credentials
from ratelimit.tracebacks import without_locals

if TYPE_CHECKING:
    from redis.asyncio import Redis


class RedisStore:
    """Keeps counters in Redis 7 or Valkey.

    `redis` is a URL or a client of redis.asyncio, of which only the connection settings are used: redis://, rediss://,
    unix://, and redis+sentinel://h1:26379,h2:26379/mymaster/0 and rediss+sentinel://, where each connection goes to the
    server that is the master then. Every key begins with `prefix`. No call waits longer than `timeout` seconds. One
    connection an event loop.

    Pass the same tuple of charges for the same caller again, as Policy.charges gives it: what is prepared, remembered
    and taken ahead belongs to that object.
    """

    asyncio_only = True

    @without_locals
    def __init__(self, redis: str | Redis, *, prefix: str = "ratelimit", timeout: float = 0.1) -> None:
        self._pool = _connections(redis) if isinstance(redis, str) else connections(redis)
        self.prefix = prefix
        self._prefix = f"{prefix}:"
        self._timeout = timeout
        self.scripts = Scripts()
        self._keeps_account = False
        self._groups = PerLoop(self._new_group)

    def acquire(self, charges: Sequence[Charge]) -> Coroutine[Any, Any, Decision]:
        # Not `async` itself: one coroutine a request less.
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise needs_asyncio(self) from None
        return self._groups[loop].acquire(charges)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        written = partial(self.scripts.renewal, self._prefix, leases)
        return without_room(leases, await called(self._group().link, written, self._timeout))

    async def release(self, leases: Sequence[Lease]) -> None:
        group = self._group()
        group.post_release(leases)
        await group.link.wait_until_sent()

    async def close(self) -> None:
        if group := self._groups.pop(asyncio.get_running_loop(), None):
            await group.close()

    def keep_account(self) -> None:
        """Before the first request: from now on `local` knows what was seen, and what it admits will be charged."""
        self._keeps_account = True

    def local(self) -> Local:
        """What decides on this event loop while the store can't. Asked for after `keep_account`."""
        account = self._group().account
        assert account  # noqa: S101 - it is kept
        return account.local

    def _new_group(self) -> Group:
        group = Group(self._pool, self.scripts, self._prefix, self._timeout)
        if self._keeps_account:
            keep_account(group, self.scripts, self._prefix, self._timeout)
        return group

    def _group(self) -> Group:
        return self._groups[asyncio.get_running_loop()]


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
