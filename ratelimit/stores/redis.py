"""The store on Redis or Valkey, shared by any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from ratelimit.loops import PerLoop
from ratelimit.model import Charge, Decision, Lease
from ratelimit.stores.connection import connections
from ratelimit.stores.group import Group
from ratelimit.stores.leasing import without_room
from ratelimit.stores.scripts import Scripts
from ratelimit.stores.wire import NoScript

if TYPE_CHECKING:
    from redis.asyncio import Redis


class RedisStore:
    """Keeps counters in Redis 7 or Valkey.

    `redis` is a URL (redis://, rediss://, unix://) or a client of redis.asyncio, of which only the connection settings
    are used. Every key begins with `prefix`. No call waits longer than `timeout` seconds. One connection an event loop.

    Pass the same tuple of charges for the same caller again, as Policy.charges gives it: what is prepared, remembered
    and taken ahead belongs to that object.
    """

    def __init__(self, redis: str | Redis, *, prefix: str = "ratelimit", timeout: float = 0.1) -> None:
        pool = connections(redis)
        self._prefix = f"{prefix}:"
        self.scripts = Scripts()
        self._groups = PerLoop(lambda: Group(pool, self.scripts, self._prefix, timeout))

    def acquire(self, charges: Sequence[Charge]) -> Coroutine[Any, Any, Decision]:
        return self._group().acquire(charges)  # not `async` itself: one coroutine a request less

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        link = self._group().link
        try:
            kept = await link.call(self.scripts.renewal(self._prefix, leases))
        except NoScript:  # nothing was done
            kept = await link.call(self.scripts.renewal(self._prefix, leases, text=True))
        return without_room(leases, kept)

    async def release(self, leases: Sequence[Lease]) -> None:
        group = self._group()
        group.post_release(leases)
        await group.link.wait_until_sent()

    async def close(self) -> None:
        if group := self._groups.pop(asyncio.get_running_loop(), None):
            await group.close()

    def _group(self) -> Group:
        return self._groups[asyncio.get_running_loop()]
