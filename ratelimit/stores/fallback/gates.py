"""Who keeps account: of a single node, and of the nodes of a cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ratelimit.model import Charge, Decision, Lease
from ratelimit.stores.fallback.gate import NodeGate
from ratelimit.stores.fallback.idempotency import IdempotencyKeys
from ratelimit.stores.fallback.local import LocalLimiter
from ratelimit.stores.fallback.reconcile import Reconciliation
from ratelimit.stores.lua.scripts import Scripts
from ratelimit.stores.routing.slotmap import slot_of

if TYPE_CHECKING:
    from ratelimit.stores.batching.queue import DecisionQueue
    from ratelimit.stores.routing.cluster import ClusterRouter


def keep_account(queue: DecisionQueue, scripts: Scripts, prefix: str, timeout: float) -> None:
    """Of a single node."""
    local = LocalLimiter(lambda _: queue.store_ms(), queue.callers.seen)
    tickets = IdempotencyKeys(prefix, cluster=False)
    gates: list[NodeGate] = []
    reconciliation = Reconciliation(local, tickets, scripts, timeout, lambda: gates, lambda _: gates[0])
    gates.append(NodeGate(queue, reconciliation))


class NodeGates:
    """Of the nodes of a cluster: what is owed goes to who has its slot by then."""

    def __init__(self, router: ClusterRouter, scripts: Scripts, prefix: str, timeout: float) -> None:
        self._router = router
        self._prefix = prefix
        self.local = LocalLimiter(self._clock, self._seen, self._slot)
        tickets = IdempotencyKeys(prefix, cluster=True)
        self._reconciliation = Reconciliation(self.local, tickets, scripts, timeout, self._all, self._of)

    def add(self, queue: DecisionQueue) -> None:
        NodeGate(queue, self._reconciliation, self._router)

    def gave_back(self, leases: Sequence[Lease]) -> None:
        self.local.held.give_back(leases)

    async def close(self, patience: float) -> None:
        await self._reconciliation.close(self._all(), patience)

    def _all(self) -> list[NodeGate]:
        return [queue.gate for queue in self._router.queues() if queue.gate]

    def _of(self, slot: int) -> NodeGate | None:
        queue = self._router.of(slot)
        if queue is None:
            self._router.refresh()
        return queue.gate if queue else None

    def _slot(self, key: str) -> int:
        return slot_of(self._prefix + key)

    def _clock(self, key: str) -> int:
        """What the clock presumably says where a key is."""
        queue = self._router.of(self._slot(key))
        return queue.store_ms() if queue else time.time_ns() // 1_000_000

    def _seen(self, charges: Sequence[Charge]) -> Decision | None:
        queue = self._router.of(self._slot(charges[0].key)) if charges else None
        return queue.callers.seen(charges) if queue else None
