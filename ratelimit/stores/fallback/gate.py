"""What the queue of one node does besides deciding, where this process goes on by itself while the node is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial
from typing import Protocol

from ratelimit.model import StoreUnavailable
from ratelimit.stores.batching.batch import Batch
from ratelimit.stores.batching.pending import Pending
from ratelimit.stores.batching.queue import DecisionQueue
from ratelimit.stores.connection.errors import AskRedirect, Redirected, Replied, of_all
from ratelimit.stores.connection.socket import ASKING, Reply, command
from ratelimit.stores.fallback.doubt import CallDoubts
from ratelimit.stores.fallback.idempotency import NOTHING, IdempotencyKey, IdempotencyKeys, mark_of
from ratelimit.stores.fallback.local import LocalLimiter
from ratelimit.stores.lua.scripts import Written, called


class Settler(Protocol):
    """Who settles with a node what is owed to it (reconcile.py)."""

    local: LocalLimiter
    keys: IdempotencyKeys

    def owes(self, gate: NodeGate, slots: Iterable[int]) -> bool:
        """Whether a node has to hear of something before it decides in these slots."""

    def concerns(self, gate: NodeGate) -> bool:
        """Whether there may be something to settle with a node."""

    async def settle(self, gate: NodeGate) -> bool:
        """Settle with it, and `open` it, or let it `refuse`. True where all of it was settled."""

    def lose(self, key: IdempotencyKey, slot: int, sent: float, tell: Callable[[list[bytes] | None], None]) -> None:
        """A call has ended without a reply."""


class NodeGate:
    """What this process admits without the node is charged before the node decides again: who comes by then is held.
    `follow` is told where a node has sent a call of a slot."""

    def __init__(
        self,
        queue: DecisionQueue,
        settler: Settler,
        follow: Callable[[DecisionQueue, int, Redirected], DecisionQueue | None],
    ) -> None:
        self.queue = queue
        self._settler = settler
        self._follow = follow
        self._connection = 0  # the number of the one that was looked at
        self._holds = False
        self._settling: asyncio.Task[bool] | None = None
        self._answered: list[str] = []  # markers of calls that were answered, on a cluster
        queue.gate = self
        queue.refunds.keep_account(settler.local.give_back, by_marker=not settler.keys.cluster)

    def witness(self) -> CallDoubts:
        local = self._settler.local
        return CallDoubts(local.held.saw, local.give_back)

    def connected(self) -> None:
        """Commands can be sent; perhaps over a new connection, or after it stood still."""
        if self._connection != self.queue.link.number:
            self._connection = self.queue.link.number
            if self._settler.concerns(self):
                self.settle()

    def holds(self, waiting: Iterable[Pending]) -> bool:
        """Whether nobody is decided for yet."""
        settling = self._settling is not None and not self._settling.done()
        if not (settling or self._settler.owes(self, (caller.slot for _, caller, _, _ in waiting))):
            return False
        self._holds = True
        self.settle()
        return True

    def settle(self) -> asyncio.Task[bool]:
        """What there is by now; one at a time. True where all of it was settled."""
        task = self._settling
        if task is None or task.done():
            run = self._settler.settle(self)
            task = self._settling = asyncio.get_running_loop().create_task(run, context=Context())
        return task

    def open(self, *, owing: bool) -> None:
        """Nobody is held any more; `owing` what can't be settled now, for whatever reason."""
        self._settling = None
        if self._holds:
            self._holds = False
            self.queue.go_on(owing=owing)

    def refuse(self, error: StoreUnavailable) -> None:
        """The node would refuse all."""
        self._settling = None
        self._holds = False
        self.queue.refuse(error)

    def number(self, batches: Iterable[Batch]) -> list[bytes]:
        """Number calls. Returns commands that drop markers that are not needed any more, for the same write."""
        for batch in batches:
            # A slot on its way to another node: with a key more its keys would never be in one place.
            if not (_doubts(batch).receipt or batch.apart):
                key = batch.caller.charges[0].key
                _doubts(batch).receipt = self._settler.keys.next("calls", key)
        return self.drop_markers()

    def drop_markers(self) -> list[bytes]:
        """Commands for those that are not needed any more, for the next write."""
        answered, self._answered = self._answered, []
        return [command("DEL", marker) for marker in answered]

    def after(self, batch: Batch, reply: Reply) -> None:
        """A call has ended."""
        doubts = _doubts(batch)
        if isinstance(reply, Replied):
            doubts.learn(batch.calls, NOTHING, ())
        elif isinstance(reply, StoreUnavailable):
            self._lose(batch, doubts)
        elif doubts.receipt:
            self.answered(doubts.receipt)
        if of_all(refusal := batch.refused or reply):
            self.queue.refuse(refusal)  # what its callers admit now is charged before these are decided for

    def answered(self, key: IdempotencyKey) -> None:
        """The marker is not needed any more."""
        if self._settler.keys.cluster:
            self._answered.append(key.marker)

    def _lose(self, batch: Batch, doubts: CallDoubts) -> None:
        """A call that decides has ended without a reply."""
        learn = partial(self._learn, doubts, batch)
        if doubts.receipt:
            self._settler.lose(doubts.receipt, batch.caller.slot, batch.sent, learn)
        else:
            learn([])

    def _learn(self, doubts: CallDoubts, batch: Batch, told: list[bytes] | None) -> None:
        doubts.learn(batch.calls, mark_of(told), batch.allotments)

    async def call(self, slot: int, written: Written, patience: float) -> Reply:
        """Call a script. Raises StoreUnavailable; of a Replied one it is known that nothing was done."""
        try:
            return await called(self.queue.link, written, patience)
        except Redirected as reply:  # nothing was done; the next attempt goes to who has the slot by then
            self._follow(self.queue, slot, reply)
            raise

    async def call_there(self, slot: int, written: Written, patience: float) -> Reply:
        """Call a script of one counter, whose slot is on its way: here, or where it has gone by now. As `call`."""
        try:
            return await called(self.queue.link, written, patience)
        except AskRedirect as reply:
            there = self._follow(self.queue, slot, reply)
            if there is None:
                raise
            if not there.link.ready:  # what is only perhaps sent can't be owed any more
                there.link.connect()
                raise
            there.link.cork(ASKING).add_done_callback(asyncio.Future.exception)
            return await there.link.call(written(text=True), patience)

    def unreadable(self) -> StoreUnavailable:
        self.queue.link.drop("its replies can't be read")
        return StoreUnavailable("what the server sent is no reply to the script")


def _doubts(batch: Batch) -> CallDoubts:
    assert isinstance(batch.witness, CallDoubts)  # noqa: S101 - account is kept from the first call on
    return batch.witness
