"""After an outage: what became of lost calls is asked, and what was admitted meanwhile is charged, each exactly once.

A script call carries a number (`idempotency.py`); one whose reply was lost is asked about before anything is sent that
could pass its number. Calls of `lua/settle.lua` carry numbers as well: one that is lost is not charged twice either.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from functools import partial
from typing import NamedTuple

from ratelimit.ground.words import fields
from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.breaker import Breaker
from ratelimit.stores.connection.errors import Replied, of_all
from ratelimit.stores.connection.socket import command
from ratelimit.stores.fallback.debts import DebtWriter
from ratelimit.stores.fallback.gate import NodeGate
from ratelimit.stores.fallback.idempotency import LIFE, MARKER, IdempotencyKey, IdempotencyKeys, told_by
from ratelimit.stores.fallback.local import LocalLimiter
from ratelimit.stores.lua.scripts import Scripts

logger = logging.getLogger("ratelimit")

RETRY = 0.25  # seconds until what could not be settled is tried again


class _Lost(NamedTuple):
    """A call without a reply. `tell` takes what its marker says of it: None, it was not applied."""

    key: IdempotencyKey
    slot: int
    sent: float  # by time.monotonic
    tell: Callable[[list[bytes] | None], None]


class Reconciliation:
    """Of one event loop. `gates` gives those of all nodes, `gate_of` that of the one that has a slot, if one is known.
    `timeout` in seconds."""

    def __init__(
        self,
        local: LocalLimiter,
        keys: IdempotencyKeys,
        scripts: Scripts,
        timeout: float,
        gates: Callable[[], Iterable[NodeGate]],
        gate_of: Callable[[int], NodeGate | None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.local = local
        self.keys = keys
        self._journal = local.journal
        self._scripts = scripts
        self._patience = Breaker(timeout).stall  # by then the connection is given up
        self._gates = gates
        self._gate_of = gate_of
        self._charging = DebtWriter(local, keys, scripts, self._patience, self.lose)
        self._lost: list[_Lost] = []
        self._left: set[IdempotencyKey] = set()  # of those that their slot tells nothing of for now
        self._fenced = False  # a call that was given up may still come, as late as its bytes are kept on the way
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        local.on_owed = self._wake

    def lose(self, key: IdempotencyKey, slot: int, sent: float, tell: Callable[[list[bytes] | None], None]) -> None:
        """A call has ended without a reply."""
        self._lost.append(_Lost(key, slot, sent, tell))
        self._wake()

    def owes(self, gate: NodeGate, slots: Iterable[int]) -> bool:
        """Whether a node has to hear of something before it decides in these slots."""
        if not (self._lost or self._journal):
            return False
        owed = (slot for slot in slots if self._journal.owed_in(slot))
        return not self._told(gate) or any(self._gate_of(slot) is gate for slot in owed)

    def concerns(self, gate: NodeGate) -> bool:
        """Whether there may be something to settle with a node."""
        return bool(self._journal or self._lost_at(gate) or gate.queue.refunds.by_marker)

    async def settle(self, gate: NodeGate) -> bool:
        """Settle with a node what there is by now; then it is `open`, or it would `refuse`. True where all of it was
        settled."""
        if gate.queue.link.breaker.refusal:  # nothing would be sent; the gate settles when the node is back
            self._wake()
            return False
        done = False
        try:
            await self._check_refunds(gate)
            for lost in self._lost_at(gate):
                try:
                    await self._resolve(gate, lost)
                except Replied as error:  # a slot on its way: that may take hours, and nobody waits for it
                    if of_all(error):
                        raise
                    self._left.add(lost.key)
                    self.keys.leave(lost.key)
                    logger.debug("a lost call is in doubt for longer: %s", error)
            done = await self._charging.charge(gate, lambda slot: self._gate_of(slot) is gate)
        except StoreUnavailable as error:
            logger.debug("what was admitted without the store is not charged yet: %s", error)
            if of_all(error):
                gate.refuse(error)
        if self._told(gate):
            gate.open(owing=not done)
        if done and not self._lost_at(gate):
            self._journal.report()
            return True
        self._wake()
        return False

    async def close(self, patience: float) -> None:
        """Settle what is left within so many seconds. What can't be is lost, and said."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        settling: list[asyncio.Task[bool]] = []
        gates, until = list(self._gates()), self._loop.time() + patience
        for _ in range(2):  # one may be under way, which began before the last were owed
            if gates and (self._journal or self._lost) and self._loop.time() < until:
                settling = [gate.settle() for gate in gates]
                await asyncio.wait(settling, timeout=until - self._loop.time())
        for task in settling:
            task.cancel()
        await asyncio.gather(*settling, return_exceptions=True)
        self._end(gates)

    def _end(self, gates: Sequence[NodeGate]) -> None:
        self._journal.report()
        if units := self._journal.open_units:
            what = "closed before the store was back: %d units admitted without it are never charged"
            logger.error(what, units, extra=fields("units_never_charged", units=units))
        for gate in gates:
            dropping = gate.drop_markers()
            if not (self._lost or self._fenced or self.keys.cluster):
                dropping.append(command("DEL", *map(self.keys.marker, ("calls", "settled"))))
            for one in dropping:
                gate.queue.link.submit(one).add_done_callback(asyncio.Future.exception)
        lost, self._lost = self._lost, []
        for call in lost:
            call.tell([])

    def _wake(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(RETRY, self._look, context=Context())

    def _look(self) -> None:
        """Settle with the nodes that are there, and look for those that are not."""
        self._timer = None
        for gate in list(self._gates()):
            if gate.queue.link.ready:
                gate.settle()
            elif self.concerns(gate):
                gate.queue.link.connect()
        if self._journal or self._lost:
            self._wake()

    async def _check_refunds(self, gate: NodeGate) -> None:
        """Nothing is given back where it is not known that what was charged is still there."""
        refunds = gate.queue.refunds
        if not (self._journal.refunds or refunds.by_marker) or self.keys.cluster:
            return
        marker = await gate.queue.link.call(command("GET", self.keys.marker("calls")), self._patience)
        newest = marker if isinstance(marker, bytes) else b""
        self._journal.drop_refunds(after=newest)
        refunds.drop(after=newest)

    async def _resolve(self, gate: NodeGate, lost: _Lost) -> None:
        told: list[bytes] | None = []  # nobody knows any more
        if time.monotonic() < lost.sent + LIFE - 60:
            reply = await gate.call(lost.slot, partial(self._scripts.resolution, lost.key), self._patience)
            if not (reply is None or (isinstance(reply, bytes) and MARKER.fullmatch(reply))):
                raise gate.unreadable()
            if lost not in self._lost:  # its slot has moved, and the other node has told by now
                return
            told = told_by(reply, lost.key)
            if told:  # it can't come any more
                gate.answered(lost.key)
            self._fenced = self._fenced or told is None
        self._lost.remove(lost)
        self._left.discard(lost.key)
        lost.tell(told)

    def _told(self, gate: NodeGate) -> bool:
        """Whether the node has said of all lost calls what it can say by now."""
        return all(lost.key in self._left for lost in self._lost_at(gate))

    def _lost_at(self, gate: NodeGate) -> list[_Lost]:
        return [lost for lost in self._lost if self._gate_of(lost.slot) is gate]
