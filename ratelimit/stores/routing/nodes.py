"""Who decides: a single server, which has the one slot, or the nodes of a cluster, by who has which slots.

Of each node there is a queue of decisions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from functools import partial
from typing import Any

from ratelimit.ground.loops import ends
from ratelimit.model import StoreUnavailable
from ratelimit.stores.batching.queue import MOST, DecisionQueue
from ratelimit.stores.connection.breaker import OF_A_MASTER, OF_A_NODE, Proof
from ratelimit.stores.connection.deadline import in_time
from ratelimit.stores.connection.dial import ConnectionPool, connections
from ratelimit.stores.connection.errors import Moved, Redirected
from ratelimit.stores.connection.handshake import Address
from ratelimit.stores.connection.socket import command
from ratelimit.stores.lua.rights import trial_of_rights
from ratelimit.stores.lua.scripts import Scripts
from ratelimit.stores.routing.slotmap import SLOTS, Range, address_of, ranges_of, slot_of
from ratelimit.stores.routing.urls import ClusterUrl

REST = 0.5  # seconds between two looks at who has which slots: a replica that was promoted is found within a second
LATELY = 2 * REST  # requests begin the next look after REST, and it takes its time
AT_ONCE = 3  # nodes that are asked for it together: one that is gone costs no time
SLOTS_OF_ALL = command("CLUSTER", "SLOTS")
NOBODY: list[DecisionQueue | None] = [None] * SLOTS


class SingleNode:
    """A server, or the master that sentinels name. Of one event loop, `timeout` in seconds."""

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


class ClusterNodes:
    """Of one event loop. `prefix` is of every key, `timeout` in seconds."""

    def __init__(self, url: ClusterUrl, scripts: Scripts, prefix: str, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._url = url
        self._scripts = scripts
        self._prefix = prefix
        self._timeout = timeout
        self.on_new_queue: Callable[[DecisionQueue], None] = lambda _: None
        self._queues: dict[Address, DecisionQueue] = {}
        self._asked: set[DecisionQueue] = set()  # where calls were sent since the last look: it may have no slots yet
        self._look: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")  # the end of the last look
        self._why = "the cluster was not asked yet"
        self._parting: set[asyncio.Task[None]] = set()
        self._closed = False
        self.masters = NOBODY.copy()

    def slot_of(self, key: str) -> int:
        return slot_of(self._prefix + key)

    def queues(self) -> Iterable[DecisionQueue]:
        return self._queues.values()

    async def found(self, slot: int, deadline: float) -> DecisionQueue:
        """Raises StoreUnavailable at once where a look of late found none: it is looked for in the background."""
        if self.masters[slot] is None:
            self.refresh()
            if (look := self._look) and self._loop.time() - self._looked_at >= LATELY:
                heard: asyncio.Future[None] = self._loop.create_future()
                look.add_done_callback(partial(_tell, heard))
                await in_time(heard, deadline - self._loop.time(), partial(_give_up, heard))
        if queue := self.masters[slot]:
            return queue
        raise StoreUnavailable(f"no node of the cluster is known to have slot {slot}: {self._why}")

    def follow(self, queue: DecisionQueue, slot: int, reply: Redirected) -> DecisionQueue | None:
        """MOVED is remembered, ASK is for this once."""
        self.refresh()
        asked = next((address for address, one in self._queues.items() if one is queue), None)
        try:
            there = self._at(address_of(str(reply).split()[2], asked)) if asked and not self._closed else None
        except (IndexError, ValueError):
            return None
        if there and isinstance(reply, Moved):
            self.masters[slot] = there
        if there:
            self._asked.add(there)
        return there

    def refresh(self) -> None:
        """One look at a time, and not one upon the other."""
        if self._look is None and not (self._closed or ends()) and self._loop.time() - self._looked_at >= REST:
            self._look = self._loop.create_task(self._learn(), context=Context())

    async def close(self) -> None:
        self._closed = True
        self.masters = NOBODY.copy()
        if self._look:
            self._look.cancel()
        queues = [queue.close() for queue in self._queues.values()]
        await asyncio.gather(*queues, *self._parting, *[self._look] * bool(self._look), return_exceptions=True)

    async def _learn(self) -> None:
        try:
            known = sorted(self._queues, key=lambda address: not self._queues[address].link.ready)
            addresses = list(dict.fromkeys([*known, *self._url.nodes]))
            for first in range(0, len(addresses), AT_ONCE):
                if await self._learn_from(addresses[first : first + AT_ONCE]):
                    break
        finally:
            self._look = None
            self._looked_at = self._loop.time()

    async def _learn_from(self, addresses: Iterable[Address]) -> bool:
        """Ask several nodes together, and wait for the first that knows."""
        asked = [self._loop.create_task(self._ask(address)) for address in addresses]
        try:
            for answer in asyncio.as_completed(asked):
                if ranges := await answer:
                    self._believe(ranges)
                    return True
        finally:
            for task in asked:
                task.cancel()
        return False

    async def _ask(self, address: Address) -> dict[Range, DecisionQueue]:
        """Which slots are where; nothing if the node does not say it."""
        try:
            reply: Any = await self._at(address).link.call(SLOTS_OF_ALL)
            return {one: self._at(one.master) for one in ranges_of(reply, address)}
        except Exception as error:  # noqa: BLE001 - whatever it was, another node may know
            self._why = f"{address.host}:{address.port}: {error}"
            return {}

    def _believe(self, ranges: Mapping[Range, DecisionQueue]) -> None:
        masters = NOBODY.copy()
        for (first, last, _), queue in ranges.items():
            masters[first : last + 1] = [queue] * (last + 1 - first)
        self.masters, self._why = masters, "the cluster has no master for it"
        kept = {*masters, *self._asked}
        self._asked.clear()
        for address, queue in list(self._queues.items()):
            queue.lanes.settle()
            if queue not in kept:
                del self._queues[address]
                queue.leave()
                task = self._loop.create_task(queue.close(), context=Context())
                self._parting.add(task)
                task.add_done_callback(self._parting.discard)

    def _at(self, address: Address) -> DecisionQueue:
        queue = self._queues.get(address)
        if queue is None:
            queue = self._queues[address] = DecisionQueue(
                connections(self._url.node(address)),
                self._scripts,
                self._timeout,
                OF_A_NODE.and_also(trial_of_rights(self._scripts, self._prefix)),
                early=MOST,  # who waits longer finds more of its slot to share a call
                on_trouble=self.refresh,
            )
            self.on_new_queue(queue)
        return queue


def _tell(heard: asyncio.Future[None], _: asyncio.Task[None]) -> None:
    if not heard.done():
        heard.set_result(None)


def _give_up(heard: asyncio.Future[None]) -> None:
    heard.set_exception(StoreUnavailable("no node of the cluster said in time who has which slots"))
