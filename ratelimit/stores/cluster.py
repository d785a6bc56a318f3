"""The store on a Redis or Valkey Cluster, shared by any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from ratelimit.ground.loops import PerLoop, needs_asyncio
from ratelimit.ground.tracebacks import without_locals
from ratelimit.model import Charge, Decision, Lease
from ratelimit.stores.connection.dial import connections
from ratelimit.stores.connection.errors import no_client
from ratelimit.stores.fallback.local import LocalLimiter
from ratelimit.stores.lua.scripts import Scripts
from ratelimit.stores.routing.cluster import ClusterRouter
from ratelimit.stores.routing.parts import split_url
from ratelimit.stores.routing.slotmap import SCHEMES, ClusterUrl
from ratelimit.stores.routing.urls import problem_of, with_credentials


class ClusterStore:
    """Keeps counters in a cluster of Redis 7 or Valkey.

    `url` is redis+cluster://user:password@h1:7000,h2:7001/0?option=…, or rediss+cluster:// with TLS: some of the nodes,
    which know the others; user, password and options hold for all of them. Every key begins with `prefix`. No call
    waits longer than `timeout` seconds. One connection an event loop and a master.

    All keys of a request are in one slot. Decisions that are asked for at the same time are one script call a slot, and
    all of a node go in one write. Raises ValueError, without the URL, where it can't be read.
    """

    asyncio_only = True

    @without_locals
    def __init__(self, url: str, *, prefix: str = "ratelimit", timeout: float = 0.1) -> None:
        if not isinstance(url, str):
            raise no_client(url)
        if split_url(url).scheme not in SCHEMES:
            raise ValueError("the URL of the store is none of a cluster; open_store takes any")
        if problem := problem_of(url):
            raise ValueError(f"the URL of the store {problem}")
        cluster = ClusterUrl.of(with_credentials(url))
        connections(cluster.any_node)  # connects nowhere, and knows its options
        self.prefix = prefix
        self.timeout = timeout
        self.scripts = Scripts()
        self._keeps_account = False
        self._router = PerLoop(
            lambda: ClusterRouter(cluster, self.scripts, f"{prefix}:", timeout, keeps_account=self._keeps_account)
        )

    def acquire(self, charges: Sequence[Charge]) -> Coroutine[Any, Any, Decision]:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise needs_asyncio(self) from None
        return self._router[loop].acquire(charges)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        return await self._router[asyncio.get_running_loop()].lease_writes.renew(leases)

    async def release(self, leases: Sequence[Lease]) -> None:
        await self._router[asyncio.get_running_loop()].lease_writes.release(leases)

    async def close(self) -> None:
        if router := self._router.pop(asyncio.get_running_loop(), None):
            await router.close()

    def keep_account(self) -> None:
        """Before the first request: from now on `local` knows what was seen, and what it admits will be charged."""
        self._keeps_account = True

    def local(self) -> LocalLimiter:
        """What decides on this event loop while a node can't. Asked for after `keep_account`."""
        gates = self._router[asyncio.get_running_loop()].gates
        assert gates  # noqa: S101 - they are kept
        return gates.local
