"""Group commit: decisions that are asked for while a script call is under way go together in the next one.

No timer: who comes alone is sent at once. Each caller has its own result, its own fault and its own patience.
A script call is for one slot; on a single node there is only one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING

from ratelimit.ground.loops import hand_over
from ratelimit.ground.memo import Recent
from ratelimit.model import Charge, Decision, Lease, StoreUnavailable
from ratelimit.stores.batching.allotments import new
from ratelimit.stores.batching.batch import Batch
from ratelimit.stores.batching.callers import Caller, CallerCache, TermSets
from ratelimit.stores.batching.lanes import Lanes, written
from ratelimit.stores.batching.pending import Again, Outcome, Pending, earliest, fail, settle
from ratelimit.stores.batching.refunds import Refunds
from ratelimit.stores.connection.deadline import DeadlineTimer
from ratelimit.stores.connection.dial import OF_A_MASTER, OF_A_NODE, ConnectionPool
from ratelimit.stores.connection.errors import NoScript, Redirected, Refused
from ratelimit.stores.connection.link import GOODBYE, Link
from ratelimit.stores.connection.socket import Reply, command
from ratelimit.stores.lua.scripts import Scripts
from ratelimit.stores.routing.refusals import Refusals

if TYPE_CHECKING:
    from ratelimit.stores.fallback.gate import NodeGate
    from ratelimit.stores.routing.cluster import ClusterRouter

ATTEMPTS = 3  # 1, and 1 more where the store's clock is in another period than ours; a third only at the next midnight
EARLY = 16  # requests of one turn that are sent before its end: Redis decides for them while the others still run
MOST = 128  # callers a call: Redis serves nobody else while it decides, a millisecond, or some where all are denied


class DecisionQueue:
    """The decisions of one event loop, by one node. `prefix` is of every key, `timeout` in seconds."""

    def __init__(
        self, pool: ConnectionPool, scripts: Scripts, prefix: str, timeout: float, router: ClusterRouter | None = None
    ) -> None:
        self._router = router  # of a cluster
        self._loop = asyncio.get_running_loop()
        self._scripts = scripts
        self._prefix = prefix
        self._timeout = timeout
        self._waiting: deque[Pending] = deque()
        proof, wanted = OF_A_NODE if router else OF_A_MASTER, lambda: bool(self._waiting)
        self.link = Link(
            pool, timeout, on_ready=self._connected, on_failure=self._fail_waiting, wanted=wanted, proof=proof
        )
        self._breaker = self.link.breaker
        self._refusals = Refusals()
        self.refunds = Refunds(self.link, scripts)
        self._alarm = DeadlineTimer(  # a node that is known to be away is given no grace
            lambda: 0.0 if self._breaker.down else timeout,
            lambda: earliest(self._batches, self._waiting),
            self._too_late,
        )
        self._batches: set[Batch] = set()  # that are under way
        self.slots = Lanes(lambda new: Batch(time.monotonic(), self.store_ms(), self._term_set, new, self.gate))
        self._early = MOST if router else EARLY  # on a cluster who waits longer finds more of its slot to share a call
        self._left = False
        self.gate: NodeGate | None = None  # where this process goes on by itself without the node
        self._woken = False
        self._ahead_ms = 0  # the store's clock against ours, as last seen: only to guess the period it is in
        self._term_set = TermSets().at
        self._callers: Recent[int, Caller] = Recent()  # by the id of their charges
        self.callers = CallerCache(self._callers, prefix, self._term_set, router.slot if router else None)

    async def acquire(self, charges: Sequence[Charge], deadline: float = 0.0) -> Decision:
        """`deadline` is for who has waited before, by the loop's clock."""
        caller = self._callers.young.get(id(charges))
        if caller is None or caller.charges is not charges:
            if not charges:
                return Decision(allowed=True, now_ms=self.store_ms())
            caller = self.callers.of(charges, self.store_ms())
        queue, attempts, tries = self, 0, 0
        while attempts < ATTEMPTS:
            # Units that were there when it was told may have ended since, if this process stood still: looked at now.
            if (caller.refusal or caller.allotment) and (known := caller.decide(time.monotonic())):
                return known
            if queue._breaker.down and (why := queue.link.refusal()):
                queue._trouble()
                raise StoreUnavailable(why)
            leases = caller.new_leases() if caller.caps else ()
            deadline = deadline or self._loop.time() + self._timeout
            result: asyncio.Future[Outcome] = self._loop.create_future()
            queue._waiting.append(new(Pending, (result, caller, leases, deadline)))
            if not queue._batches and (not queue._woken or len(queue._waiting) == queue._early):
                queue.begin()
            if queue._alarm.timer is None:
                queue._alarm.set()
            try:
                outcome = await result
            except (StoreUnavailable, asyncio.CancelledError, GeneratorExit) as end:
                self._abandon(leases, end)  # it may have been applied
                raise
            if isinstance(outcome, Decision):
                return outcome
            attempts += outcome is Again.CLOCK
            tries += outcome not in {Again.CLOCK, Again.HERE}
            queue = await queue._after(outcome, caller.slot, tries, deadline)
        raise StoreUnavailable("the clock of the store does not stand still between two calls")

    async def _after(self, outcome: Again | Refused, slot: int, tries: int, deadline: float) -> DecisionQueue:
        """Who is to be asked after something that was no decision, and when."""
        if isinstance(outcome, Refused):
            await self._refusals.wait(outcome, slot, tries, deadline)
            return await self._router.found(slot, deadline) if self._router else self
        return await self._router.again(slot, tries, deadline) if self._router and outcome is Again.ELSEWHERE else self

    def _abandon(self, leases: Sequence[Lease], end: BaseException) -> None:
        if isinstance(end, GeneratorExit):  # perhaps of the garbage collector, which comes in the middle of anything
            hand_over(self._loop, self.post_release, leases)
        else:
            self.post_release(leases)

    def post_release(self, leases: Sequence[Lease]) -> None:
        if self._router:
            self._router.lease_writes.post_release(leases)
            return
        if self.gate:
            self.gate.local.held.give_back(leases)
        for lease in leases:
            self.link.post(command("ZREM", self._prefix + lease.key, lease.id))

    def put(self, calls: Sequence[Pending]) -> None:
        """Decide for calls that a node without the keys has sent here."""
        if why := self._breaker.refusal:
            for call in calls:
                fail(call, why)
            return
        self.slots.ask(calls)
        self._waiting.extend(calls)
        if not self._batches and not self._woken:
            self.begin()
        if self._alarm.timer is None:
            self._alarm.set()

    def leave(self) -> None:
        """Nothing is asked of this node any more."""
        self._left = True
        settle(self._waiting)
        self._waiting.clear()
        self.slots.forget()

    async def close(self) -> None:
        self.refunds.give_all_back()
        if self.gate:
            await self.gate.close(min(self._timeout, GOODBYE))
        await self.link.close()
        self._alarm.stop()

    def store_ms(self) -> int:
        """What the store's clock says, as far as is known here."""
        return time.time_ns() // 1_000_000 + self._ahead_ms

    def _connected(self) -> None:
        if self.gate:
            self.gate.connected()
        self._send()

    def begin(self) -> None:
        """Send at the end of this turn of the loop, with whoever else comes in it; at once where many have come."""
        if self._woken:
            self._send()
        else:
            self._woken = True
            self._loop.call_soon(self._send, context=Context())

    def _send(self) -> None:
        """Send what waits, unless calls are under way: then it goes when they are answered."""
        self._woken = False
        if self._batches or not self._waiting:
            return
        if self._left:
            self.leave()
        elif not self.link.awake():
            self.link.connect()
        elif not (self.gate and self.gate.closed) and (batches := self.slots.fill(self._waiting, MOST)):
            self._batches = batches
            self._write(batches)

    def _write(self, batches: Iterable[Batch], *, text: bool = False) -> None:
        first = self.gate.number(batches) if self.gate else ()
        self.link.send(*written(batches, self._scripts, self._answered, first, text=text))

    def _answered(self, batch: Batch, reply: Reply) -> None:
        if isinstance(reply, NoScript) and self.link.ready:  # nothing was done; EVAL fills the cache again
            self._write([batch], text=True)
            return
        self._batches.discard(batch)
        if isinstance(reply, Redirected) and self._router:
            self.slots.moves(batch.calls[0].caller.slot)
            self._router.sent_away(self, batch.calls, reply)
        elif isinstance(reply, StoreUnavailable):
            settle(batch.calls, reply) if isinstance(reply, Refused) else batch.give_up(str(reply))
            self._trouble()
        else:
            reply = self._read(batch, reply)
        if self.gate:
            self.gate.after(batch, reply)
        if self.link.ready:
            self._send()
        elif self._waiting and not self._woken:
            self.begin()

    def _read(self, batch: Batch, reply: Reply) -> Reply:
        if error := batch.read(reply, time.monotonic()):
            self.link.drop("its replies can't be read")
        else:
            self._ahead_ms = reply[0] - time.time_ns() // 1_000_000
            if self._refusals.slots:
                self._refusals.slots.discard(batch.calls[0].caller.slot)
        self.refunds.expect(batch.allotments)
        if batch.demoted:  # the next connection may lead to the new master
            self.link.drop(str(batch.demoted))
            self._trouble()
        return error or reply

    def _trouble(self) -> None:
        if self._router:  # another node may have its slots by now
            self._router.refresh()

    def _fail_waiting(self, error: StoreUnavailable) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            fail(call, str(error))
        self.slots.forget()
        self._trouble()

    def _too_late(self, deadline: float) -> None:
        for batch in self._batches:
            batch.give_up(self.link.too_late(), deadline)
        for call in self._waiting:
            if call.deadline <= deadline:
                fail(call, self.link.too_late())
        self.link.notice_silence()
        self._trouble()
