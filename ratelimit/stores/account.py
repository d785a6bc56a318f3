"""What the group of one node does besides deciding, where this process goes on by itself while the node is away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING

from ratelimit.model import StoreUnavailable
from ratelimit.stores.batch import Batch
from ratelimit.stores.fate import Fates
from ratelimit.stores.scripts import Script, called
from ratelimit.stores.settlement import Settlement
from ratelimit.stores.tickets import NOTHING, Ticket, mark_of
from ratelimit.stores.wire import Elsewhere, Part, Replied, Reply, bulk, command

if TYPE_CHECKING:
    from ratelimit.stores.group import Group
    from ratelimit.stores.nodes import Nodes


class Account:
    """`closed` while the node is being settled with over a connection that has just been made, or after it stood still:
    nobody is decided for by then."""

    def __init__(self, group: Group, settlement: Settlement, nodes: Nodes | None = None) -> None:
        self.group = group
        self._nodes = nodes  # of a cluster
        self.local = settlement.local
        self.closed = False
        self._settlement = settlement
        self._connection = 0  # the number of the one that was looked at
        self._settling: asyncio.Task[bool] | None = None
        self._answered: list[str] = []  # markers of calls that were answered, on a cluster
        group.account = self
        group.refunds.keep_account(self.local, by_marker=nodes is None)

    def connected(self) -> None:
        """Commands can be sent; perhaps over a new connection."""
        if self._connection != self.group.link.number:
            self._connection = self.group.link.number
            self.look()

    def look(self) -> None:
        """The node is there again: settle before it decides."""
        self.closed = self._settlement.concerns(self)
        if self.closed:
            self.settle()

    def settle(self) -> asyncio.Task[bool]:
        """What there is by now; one at a time. True where all of it was settled."""
        task = self._settling
        if task is None or task.done():
            run = self._settlement.settle(self)
            task = self._settling = asyncio.get_running_loop().create_task(run, context=Context())
        return task

    def open(self) -> None:
        if self.closed:
            self.closed = False
            self.group.begin()

    def number(self, batches: Iterable[Batch]) -> list[bytes]:
        """Number calls. Returns commands that drop markers that are not needed any more, for the same write."""
        for batch in batches:
            # A slot on its way to another node: with a key more its keys would never be in one place.
            if batch.fates and not (batch.fates.ticket or batch.apart):
                batch.fates.ticket = self._settlement.tickets.next("calls", batch.calls[0].caller.charges[0].key)
        return self.drop_markers()

    def drop_markers(self) -> list[bytes]:
        """Commands for those that are not needed any more, for the next write."""
        answered, self._answered = self._answered, []
        return [command("DEL", marker) for marker in answered]

    def after(self, batch: Batch, reply: Reply) -> None:
        """A call has ended."""
        fates = batch.fates
        assert fates  # noqa: S101 - account is kept from the first call on
        if isinstance(reply, Replied):
            fates.learn(batch.calls, NOTHING, ())
        elif isinstance(reply, StoreUnavailable):
            self._lose(batch, fates)
        elif fates.ticket:
            self.answered(fates.ticket)
        if (fates.late or (fates.charged and self._settlement.owes)) and not self.closed:
            self.look()  # it stood still, or refused to write, and is there again

    def answered(self, ticket: Ticket) -> None:
        """The marker is not needed any more."""
        if self._settlement.tickets.cluster:
            self._answered.append(ticket.marker)

    def _lose(self, batch: Batch, fates: Fates) -> None:
        """A call that decides has ended without a reply."""
        learn = partial(self._learn, fates, batch)
        if fates.ticket:
            self._settlement.lose(fates.ticket, batch.calls[0].caller.slot, batch.sent, learn)
        else:
            learn([])

    def _learn(self, fates: Fates, batch: Batch, told: list[bytes] | None) -> None:
        fates.learn(batch.calls, mark_of(told), batch.blocks)

    async def close(self, patience: float) -> None:
        """A single node's; the nodes of a cluster are closed together."""
        if not self._settlement.tickets.cluster:
            await self._settlement.close([self], patience)

    async def call(
        self, slot: int, script: Script, keys: Sequence[str], arguments: Sequence[Part], patience: float
    ) -> Reply:
        """Call a script. Raises StoreUnavailable; of a Replied one it is known that nothing was done."""
        body = b"".join(map(bulk, [*keys, *arguments]))

        def written(*, text: bool = False) -> bytes:
            return script.head(len(keys), len(arguments), text=text) + body

        try:
            return await called(self.group.link, written, patience)
        except Elsewhere as reply:  # nothing was done; the next attempt goes to who has the slot by then
            if self._nodes:
                self._nodes.follow(self.group, slot, reply)
            raise

    def unreadable(self) -> StoreUnavailable:
        self.group.link.drop("its replies can't be read")
        return StoreUnavailable("what the server sent is no reply to the script")
