"""A single server, or the master that sentinels name: the one node, which has the one slot."""

from __future__ import annotations

from collections.abc import Callable

from ratelimit.stores.batching.queue import DecisionQueue
from ratelimit.stores.connection.breaker import OF_A_MASTER, Proof
from ratelimit.stores.connection.dial import ConnectionPool
from ratelimit.stores.connection.errors import Redirected
from ratelimit.stores.lua.scripts import Scripts


class SingleNode:
    """Of one event loop. `timeout` in seconds."""

    def __init__(self, pool: ConnectionPool, scripts: Scripts, timeout: float, proof: Proof = OF_A_MASTER) -> None:
        self.queue = DecisionQueue(pool, scripts, timeout, proof, on_trouble=self.refresh)
        self.masters = (self.queue,)
        self.on_new_queue: Callable[[DecisionQueue], None] = lambda _: None  # there will be no other

    def slot_of(self, _: str) -> int:
        return 0

    def queues(self) -> tuple[DecisionQueue]:
        return self.masters

    async def found(self, _: int, __: float) -> DecisionQueue:
        return self.queue

    def follow(self, _: DecisionQueue, __: int, reply: Redirected) -> None:
        raise type(reply)(str(reply))  # it is a node of a cluster: the error says which URL that has

    def refresh(self) -> None:
        """It is known, and no slot is on its way, whatever a server has said that was no single one."""
        self.queue.lanes.settle()

    async def close(self) -> None:
        await self.queue.close()
