"""Who keeps account: of a single node, and of the nodes of a cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ratelimit.model import Charge, Decision, Lease
from ratelimit.stores.account import Account
from ratelimit.stores.local import Local
from ratelimit.stores.scripts import Scripts
from ratelimit.stores.settlement import Settlement
from ratelimit.stores.tickets import Tickets
from ratelimit.stores.topology import slot_of

if TYPE_CHECKING:
    from ratelimit.stores.group import Group
    from ratelimit.stores.nodes import Nodes


def keep_account(group: Group, scripts: Scripts, prefix: str, timeout: float) -> None:
    """Of a single node."""
    local = Local(lambda _: group.store_ms(), group.callers.seen)
    tickets = Tickets(prefix, cluster=False)
    accounts: list[Account] = []
    settlement = Settlement(local, tickets, scripts, timeout, lambda: accounts, lambda _: accounts[0])
    accounts.append(Account(group, settlement))


class Accounts:
    """Of the nodes of a cluster: what is owed goes to who has its slot by then."""

    def __init__(self, nodes: Nodes, scripts: Scripts, prefix: str, timeout: float) -> None:
        self._nodes = nodes
        self._prefix = prefix
        self.local = Local(self._clock, self._seen, self._slot)
        tickets = Tickets(prefix, cluster=True)
        self._settlement = Settlement(self.local, tickets, scripts, timeout, self._all, self._of)

    def add(self, group: Group) -> None:
        Account(group, self._settlement, self._nodes)

    def gave_back(self, leases: Sequence[Lease]) -> None:
        self.local.held.give_back(leases)

    async def close(self, patience: float) -> None:
        await self._settlement.close(self._all(), patience)

    def _all(self) -> list[Account]:
        return [group.account for group in self._nodes.groups() if group.account]

    def _of(self, slot: int) -> Account | None:
        group = self._nodes.of(slot)
        if group is None:
            self._nodes.refresh()
        return group.account if group else None

    def _slot(self, key: str) -> int:
        return slot_of(self._prefix + key)

    def _clock(self, key: str) -> int:
        """What the clock presumably says where a key is."""
        group = self._nodes.of(self._slot(key))
        return group.store_ms() if group else time.time_ns() // 1_000_000

    def _seen(self, charges: Sequence[Charge]) -> Decision | None:
        group = self._nodes.of(self._slot(charges[0].key)) if charges else None
        return group.callers.seen(charges) if group else None
