"""The nodes of a cluster: who has which slots, as last heard, and a group of decisions for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextvars import Context
from functools import partial
from typing import Any

from ratelimit.model import Charge, Decision, Lease, StoreUnavailable
from ratelimit.stores.account import Account
from ratelimit.stores.alarm import in_time
from ratelimit.stores.batch import Call, settle
from ratelimit.stores.connection import connections
from ratelimit.stores.group import Group
from ratelimit.stores.leasing import Leasing
from ratelimit.stores.link import GOODBYE
from ratelimit.stores.local import Local
from ratelimit.stores.refusals import pause
from ratelimit.stores.scripts import Scripts
from ratelimit.stores.settlement import Settlement
from ratelimit.stores.tickets import Tickets
from ratelimit.stores.topology import SLOTS, Address, ClusterUrl, Range, address_of, ranges_of, slot_of
from ratelimit.stores.wire import Asked, Elsewhere, Moved, command

REST = 0.5  # seconds between two looks at who has which slots: a replica that was promoted is found within a second
LATELY = 2 * REST  # requests begin the next look after REST, and it takes its time
AT_ONCE = 3  # nodes that are asked for it together: one that is gone costs no time
SLOTS_OF_ALL = command("CLUSTER", "SLOTS")


class Nodes:
    """Of one event loop."""

    def __init__(
        self, url: ClusterUrl, scripts: Scripts, prefix: str, timeout: float, *, keeps_account: bool = False
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._url = url
        self._scripts = scripts
        self._prefix = prefix
        self._timeout = timeout
        self._groups: dict[Address, Group] = {}
        self._masters: list[Group | None] = [None] * SLOTS
        self._asked: set[Group] = set()  # where calls were sent since the last look: it may have no slots yet
        self._look: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")  # the end of the last look
        self._why = "the cluster was not asked yet"
        self._parting: set[asyncio.Task[None]] = set()
        self._closed = False
        self.leasing = Leasing(self, scripts, prefix, timeout)
        self._settlement: Settlement | None = None
        if keeps_account:
            local = Local(self._clock, self._seen, lambda key: slot_of(prefix + key))
            tickets = Tickets(prefix, cluster=True)
            self._settlement = Settlement(local, tickets, scripts, timeout, self._accounts, self._account_of)

    def acquire(self, charges: Sequence[Charge]) -> Coroutine[Any, Any, Decision]:
        group = self._masters[slot_of(self._prefix + charges[0].key)] if charges else None
        return group.acquire(charges) if group else self._acquire(charges)

    async def _acquire(self, charges: Sequence[Charge]) -> Decision:
        if not charges:
            return Decision(allowed=True, now_ms=time.time_ns() // 1_000_000)
        deadline = self._loop.time() + self._timeout
        group = await self.found(self.slot(charges), deadline)
        return await group.acquire(charges, deadline)

    def slot(self, charges: Sequence[Charge]) -> int:
        """The slot of a caller's keys. Raises StoreUnavailable where they are in several."""
        slot, *others = {slot_of(self._prefix + charge.key) for charge in charges}
        if others:
            raise StoreUnavailable("the limits of this request are in several slots: no script can decide over them")
        return slot

    def gave_back(self, leases: Sequence[Lease]) -> None:
        if self._settlement:
            self._settlement.local.held.give_back(leases)

    @property
    def local(self) -> Local:
        assert self._settlement  # noqa: S101 - it keeps account
        return self._settlement.local

    def of(self, slot: int) -> Group | None:
        return self._masters[slot]

    async def found(self, slot: int, deadline: float) -> Group:
        """The group of a slot's master. Raises StoreUnavailable where none is known by then, and at once where a look
        of late found none: it is looked for in the background."""
        if self._masters[slot] is None:
            self.refresh()
            if (look := self._look) and self._loop.time() - self._looked_at >= LATELY:
                heard: asyncio.Future[None] = self._loop.create_future()
                look.add_done_callback(partial(_tell, heard))
                await in_time(heard, deadline - self._loop.time(), partial(_give_up, heard))
        if group := self._masters[slot]:
            return group
        raise StoreUnavailable(f"no node of the cluster is known to have slot {slot}: {self._why}")

    async def again(self, slot: int, tries: int, deadline: float) -> Group:
        """The group to ask now, after a call was sent away so many times: at once at first, then after a pause."""
        if not (await pause(tries, deadline) if tries > 1 else self._loop.time() < deadline):
            raise StoreUnavailable(f"slot {slot} is on its way from node to node: none decided in time")
        return await self.found(slot, deadline)

    def sent_away(self, group: Group, calls: Sequence[Call], reply: Elsewhere) -> None:
        """A node did nothing for these."""
        there = self.follow(group, calls[0].caller.slot, reply)
        if there and isinstance(reply, Asked):
            there.put(calls)
        else:
            settle(calls)

    def follow(self, group: Group, slot: int, reply: Elsewhere) -> Group | None:
        """Where a node has sent a call; MOVED is remembered, ASK is for this once. None if it does not say where."""
        self.refresh()
        asked = next((address for address, one in self._groups.items() if one is group), None)
        try:
            there = self._at(address_of(str(reply).split()[2], asked)) if asked and not self._closed else None
        except (IndexError, ValueError):
            return None
        if there and isinstance(reply, Moved):
            self._masters[slot] = there
        if there:
            self._asked.add(there)
        return there

    def refresh(self) -> None:
        """Look who has which slots, in the background; one look at a time, and not one upon the other."""
        if self._look is None and not self._closed and self._loop.time() - self._looked_at >= REST:
            self._look = self._loop.create_task(self._learn(), context=Context())

    async def close(self) -> None:
        if self._settlement:
            await self._settlement.close(self._accounts(), min(self._timeout, GOODBYE))
        self._closed = True
        self._masters = [None] * SLOTS
        self.leasing.close()
        if self._look:
            self._look.cancel()
        groups = [group.close() for group in self._groups.values()]
        await asyncio.gather(*groups, *self._parting, *[self._look] * bool(self._look), return_exceptions=True)

    def _accounts(self) -> list[Account]:
        return [group.account for group in self._groups.values() if group.account]

    def _account_of(self, slot: int) -> Account | None:
        group = self._masters[slot]
        if group is None:
            self.refresh()
        return group.account if group else None

    def _clock(self, key: str) -> int:
        """What the clock presumably says where a key is."""
        group = self._masters[slot_of(self._prefix + key)]
        return group.store_ms() if group else time.time_ns() // 1_000_000

    def _seen(self, charges: Sequence[Charge]) -> Decision | None:
        group = self._masters[slot_of(self._prefix + charges[0].key)] if charges else None
        return group.seen(charges) if group else None

    async def _learn(self) -> None:
        try:
            known = sorted(self._groups, key=lambda address: not self._groups[address].link.ready)
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

    async def _ask(self, address: Address) -> dict[Range, Group]:
        """Which slots are where; nothing if the node does not say it."""
        try:
            ranges = ranges_of(await self._at(address).link.call(SLOTS_OF_ALL), address)
            return {one: self._at(one.master) for one in ranges}
        except Exception as error:  # noqa: BLE001 - whatever it was, another node may know
            self._why = f"{address.host}:{address.port}: {error}"
            return {}

    def _believe(self, ranges: Mapping[Range, Group]) -> None:
        masters: list[Group | None] = [None] * SLOTS
        for (first, last, _), group in ranges.items():
            masters[first : last + 1] = [group] * (last + 1 - first)
        self._masters, self._why = masters, "the cluster has no master for it"
        kept = {*masters, *self._asked}
        self._asked.clear()
        for address, group in list(self._groups.items()):
            group.slots.settle()
            if group not in kept:
                del self._groups[address]
                group.leave()
                task = self._loop.create_task(group.close(), context=Context())
                self._parting.add(task)
                task.add_done_callback(self._parting.discard)

    def _at(self, address: Address) -> Group:
        group = self._groups.get(address)
        if group is None:
            pool = connections(self._url.node(address))
            group = self._groups[address] = Group(pool, self._scripts, self._prefix, self._timeout, self)
            if self._settlement:
                group.keep(Account(group, self._settlement))
        return group


def _tell(heard: asyncio.Future[None], _: asyncio.Task[None]) -> None:
    if not heard.done():
        heard.set_result(None)


def _give_up(heard: asyncio.Future[None]) -> None:
    heard.set_exception(StoreUnavailable("no node of the cluster said in time who has which slots"))
