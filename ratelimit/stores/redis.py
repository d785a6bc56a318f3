"""The store on Redis or Valkey, shared by any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from ratelimit.loops import PerLoop
from ratelimit.model import Charge, Decision, Lease
from ratelimit.stores.account import Account
from ratelimit.stores.connection import connections
from ratelimit.stores.group import Group
from ratelimit.stores.local import Local
from ratelimit.stores.scripts import Scripts
from ratelimit.stores.settlement import Settlement
from ratelimit.stores.tickets import Tickets
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
        self._timeout = timeout
        self._pool = pool
        self._keeps_account = False
        self._groups = PerLoop(self._new_group)

    def acquire(self, charges: Sequence[Charge]) -> Coroutine[Any, Any, Decision]:
        return self._group().acquire(charges)  # not `async` itself: one coroutine a request less

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        link = self._group().link
        try:
            kept = await link.call(self.scripts.renewal(self._prefix, leases))
        except NoScript:  # nothing was done
            kept = await link.call(self.scripts.renewal(self._prefix, leases, text=True))
        return [lease for lease, still_held in zip(leases, kept, strict=True) if not still_held]

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
            local = Local(lambda _: group.store_ms(), group.seen)
            tickets = Tickets(self._prefix, cluster=False)
            accounts: list[Account] = []
            of_all, of_one = (lambda: accounts), (lambda _: accounts[0])
            accounts.append(Account(group, Settlement(local, tickets, self.scripts, self._timeout, of_all, of_one)))
            group.keep(accounts[0])
        return group

    def _group(self) -> Group:
        return self._groups[asyncio.get_running_loop()]
