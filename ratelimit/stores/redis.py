"""The store on Redis or Valkey, shared by any number of processes: how the rooms of this house are wired.

Of each event loop: a queue of decisions for each node (batching/), a router to the node that has a slot (routing/), and
where the policy goes on without the store, what is owed to it (fallback/). None of them knows those above it.
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ratelimit.ground.loops import PerLoop, needs_asyncio
from ratelimit.ground.tracebacks import without_locals
from ratelimit.model import Charge, Decision, Hold, Lease
from ratelimit.stores.batching.queue import DecisionQueue
from ratelimit.stores.connection.breaker import OF_A_MASTER
from ratelimit.stores.connection.dial import ConnectionPool, connections, connections_to_master
from ratelimit.stores.connection.link import GOODBYE
from ratelimit.stores.connection.socket import Part, Reply
from ratelimit.stores.connection.socket import command as command_of
from ratelimit.stores.fallback.gate import NodeGate
from ratelimit.stores.fallback.idempotency import IdempotencyKeys
from ratelimit.stores.fallback.local import LocalLimiter
from ratelimit.stores.fallback.reconcile import Reconciliation
from ratelimit.stores.lua.rights import trial_of_rights
from ratelimit.stores.lua.scripts import Scripts
from ratelimit.stores.routing.lease_writes import LeaseWrites
from ratelimit.stores.routing.nodes import ClusterNodes, SingleNode
from ratelimit.stores.routing.router import Nodes, Router
from ratelimit.stores.routing.sentinel import Sentinels
from ratelimit.stores.routing.units import Units
from ratelimit.stores.routing.urls import (
    CLUSTERS,
    SENTINELS,
    ClusterUrl,
    SentinelUrl,
    problem_of,
    split_url,
    with_credentials,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class _Side:
    """What a store has on one event loop. `owed` is there where this process goes on without the store."""

    router: Router
    leases: LeaseWrites
    units: Units
    owed: Reconciliation | None


class RedisStore:
    """Keeps counters in Redis 7 or Valkey.

    `redis` is a URL or a client of redis.asyncio, of which only the connection settings are used: redis://, rediss://,
    unix://; redis+sentinel://h1:26379,h2:26379/mymaster/0 and rediss+sentinel://, where each connection goes to the
    server that is the master then; redis+cluster://h1:7000,h2:7001 and rediss+cluster://, some of the nodes, which know
    the others. Every key begins with `prefix`. No call waits longer than `timeout` seconds. One connection an event
    loop, of a cluster and a master.

    Of a cluster all keys of a request are in one slot. Decisions that are asked for at the same time are one script
    call a slot, and all of a node go in one write.

    ValueError for a URL that is not supported; TypeError for what is neither, a synchronous client for one.

    Pass the same tuple of charges for the same caller again, as Policy.charges gives it: what is prepared, remembered
    and taken ahead belongs to that object. Raises ValueError, without the URL, where it can't be read.
    """

    asyncio_only = True

    @without_locals
    def __init__(self, redis: str | Redis, *, prefix: str = "ratelimit", timeout: float = 0.1) -> None:
        self._at = _read(redis) if isinstance(redis, str) else connections(redis)
        self.prefix = prefix
        self._prefix = f"{prefix}:"
        self.timeout = self._timeout = timeout
        self.scripts = Scripts()
        self._keeps_account = False
        self._sides = PerLoop(self._new_side)

    def acquire(self, charges: Sequence[Charge]) -> Coroutine[Any, Any, Decision]:
        # Not `async` itself: one coroutine a request less.
        try:
            loop = get_running_loop()
        except RuntimeError:
            raise needs_asyncio(self) from None
        return self._sides[loop].router.acquire(charges)

    async def peek(self, charges: Sequence[Charge], units: int = 1) -> Decision:
        return await self._side().units.peek(charges, units)

    async def charge(self, charges: Sequence[Charge], units: int = 1) -> Decision:
        return await self._side().units.charge(charges, units)

    async def refund(self, spent: Decision, units: int | None = None) -> None:
        await self._side().units.refund(spent, units)

    async def hold(self, charges: Sequence[Charge], units: int, lease_ms: int) -> Decision:
        return await self._side().units.hold(charges, units, lease_ms)

    async def settle(self, hold: Hold, used: int) -> None:
        await self._side().units.settle(hold, used)

    async def reset(self, keys: Sequence[str]) -> int:
        return await self._side().units.reset(keys)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        return await self._side().leases.renew(leases)

    async def release(self, leases: Sequence[Lease]) -> None:
        await self._side().leases.release(leases)

    async def ask(self, key: str, *command: Part) -> Reply:
        """What the server says to a command about `key`, which is without the prefix here and with it in the command:
        for what processes have in common beside counters. Sent once. Raises StoreUnavailable."""
        router = self._side().router
        return await router.call(router.nodes.slot_of(key), lambda **_: command_of(*command))

    async def close(self) -> None:
        if side := self._sides.pop(asyncio.get_running_loop(), None):
            nodes = side.router.nodes
            for queue in nodes.queues():
                queue.refunds.give_all_back()
            if side.owed:
                await side.owed.close(min(self._timeout, GOODBYE))
            side.leases.close()
            await nodes.close()

    def keep_account(self) -> None:
        """Before the first request: from now on `local` knows what was seen, and what it admits will be charged."""
        self._keeps_account = True

    def local(self) -> LocalLimiter:
        """What decides on this event loop while the store can't. Asked for after `keep_account`."""
        owed = self._side().owed
        assert owed  # noqa: S101 - account is kept
        return owed.local

    def out_of_reach(self) -> int:
        """Over how many connections of this process nobody is decided for at the moment."""
        queues = [queue for side in list(self._sides.values()) for queue in list(side.router.nodes.queues())]
        return sum([queue.link.breaker.down is not None for queue in queues])

    def _side(self) -> _Side:
        return self._sides[asyncio.get_running_loop()]

    def _new_side(self) -> _Side:
        nodes: Nodes
        if isinstance(self._at, ClusterUrl):
            nodes = ClusterNodes(self._at, self.scripts, self._prefix, self._timeout)
        else:
            proof = OF_A_MASTER.and_also(trial_of_rights(self.scripts, self._prefix))
            nodes = SingleNode(self._at, self.scripts, self._timeout, proof)
        router = Router(nodes, self._prefix, self._timeout)
        leases = LeaseWrites(router, self.scripts, self._prefix, self._timeout)
        router.give_back = leases.post_release
        units = Units(router, self.scripts, self._prefix)
        owed = self._what_is_owed(router) if self._keeps_account else None
        if owed:
            leases.gave_back = owed.local.held.give_back
            units.forgot = owed.local.journal.drop_refunds_of

        def wire(queue: DecisionQueue) -> None:
            queue.on_ready, queue.wanted = leases.flush, leases.waits
            if owed:
                NodeGate(queue, owed, nodes.follow)

        nodes.on_new_queue = wire
        for queue in nodes.queues():
            wire(queue)
        return _Side(router, leases, units, owed)

    def _what_is_owed(self, router: Router) -> Reconciliation:
        nodes = router.nodes
        local = LocalLimiter(lambda key: router.store_ms(nodes.slot_of(key)), router.callers.seen, nodes.slot_of)
        keys = IdempotencyKeys(self._prefix, cluster=isinstance(self._at, ClusterUrl))

        def gates() -> list[NodeGate]:
            return [queue.gate for queue in nodes.queues() if isinstance(queue.gate, NodeGate)]

        def gate_of(slot: int) -> NodeGate | None:
            queue = nodes.masters[slot]
            if queue is None:
                nodes.refresh()
            return queue.gate if queue and isinstance(queue.gate, NodeGate) else None

        return Reconciliation(local, keys, self.scripts, self._timeout, gates, gate_of)


ClusterStore = RedisStore  # for who says of a cluster what it is


def _read(url: str) -> ConnectionPool | ClusterUrl:
    scheme = split_url(url).scheme
    if scheme not in ("redis", "rediss", "unix", *SENTINELS, *CLUSTERS):
        raise ValueError("the URL of the store is none of Redis or Valkey; open_store takes any")
    if problem := problem_of(url):
        raise ValueError(f"the URL of the store {problem}")
    url = with_credentials(url)
    if scheme in CLUSTERS:
        cluster = ClusterUrl.of(url)
        connections(cluster.any_node)  # connects nowhere, and knows its options
        return cluster
    if scheme in SENTINELS:
        sentinels = SentinelUrl.of(url)
        return connections_to_master(sentinels.any_node, sentinels.name, Sentinels(sentinels))
    return connections(url)
