"""Group commit: decisions that are asked for while a script call is under way go together in the next one.

No timer: who comes alone is sent at once. Each caller has its own result, its own fault and its own patience. Where
many come meanwhile, a second call goes beside the first, so that fewer wait: 64 that did brought Python's garbage
collector over its threshold, for 1 to 7 µs a request in a FastAPI app, and 30 ms for all objects once a second or so.
A script call is for one slot; on a single node there is only one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextvars import Context
from typing import Protocol

from ratelimit.model import StoreUnavailable
from ratelimit.stores.batching.batch import Batch, Witness
from ratelimit.stores.batching.lanes import Lanes, written
from ratelimit.stores.batching.pending import Again, Pending, answer, earliest, fail
from ratelimit.stores.batching.refunds import Refunds
from ratelimit.stores.connection.breaker import Proof, Trial
from ratelimit.stores.connection.deadline import DeadlineTimer
from ratelimit.stores.connection.dial import ConnectionPool
from ratelimit.stores.connection.errors import ClusterDown, NoScript, NotMaster, Redirected
from ratelimit.stores.connection.link import Link
from ratelimit.stores.connection.socket import Reply
from ratelimit.stores.lua.scripts import Scripts, read_time

EARLY = 16  # requests of one turn that are sent before its end: Redis decides for them while the others still run
# That go beside a call under way. Each call takes 70 µs of this process: of 64 at once it has 21 then, as without a
# second one, where 20 here would make it 19; and with 32 the collector comes again.
BESIDE = 26
MOST = 128  # callers a call: Redis serves nobody else while it decides, a millisecond, or some where all are denied


class Gate(Protocol):
    """Where this process goes on by itself while the node is away."""

    def holds(self, waiting: Iterable[Pending]) -> bool:
        """Whether nobody is decided for yet; then `go_on` or `refuse` follows, or another connection."""

    def witness(self) -> Witness:
        """Of a new call."""

    def connected(self) -> None:
        """Commands can be sent; perhaps over a new connection."""

    def number(self, batches: Iterable[Batch]) -> list[bytes]:
        """Give calls their receipts. Returns commands for the same write, of whose replies nobody is told."""

    def after(self, batch: Batch, reply: Reply) -> None:
        """A call has ended."""


class DecisionQueue:
    """The decisions of one event loop, by one node. `timeout` in seconds; `early` is after how many requests of a turn
    they are sent before its end. `on_trouble`: the node did not decide, and another one may have its slots by now;
    `on_ready`: commands can be sent, as somebody else has `wanted`."""

    def __init__(
        self,
        pool: ConnectionPool,
        scripts: Scripts,
        timeout: float,
        proof: Proof,
        *,
        early: int = EARLY,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._scripts = scripts
        self._early = early
        self._trouble = on_trouble
        self._waiting: deque[Pending] = deque()
        self.link = Link(
            pool,
            timeout,
            on_ready=self._connected,
            on_failure=self.refuse,
            wanted=lambda: bool(self._waiting) or self.wanted(),
            proof=proof.and_also(Trial(scripts.for_nobody, read_time)),
        )
        self._breaker = self.link.breaker
        self.refunds = Refunds(self.link, scripts)
        self._alarm = DeadlineTimer(  # a node that is known to be away is given no grace
            lambda: 0.0 if self._breaker.down else timeout, self._earliest, self._too_late
        )
        self._batches: set[Batch] = set()  # that are under way
        self.lanes = Lanes(self._new_batch)
        self._left = self._as_text = False  # the latter: the next call, as the server has lost the script
        self.gate: Gate | None = None
        self.on_ready: Callable[[], None] = lambda: None
        self.wanted: Callable[[], bool] = lambda: False
        self._woken = False
        self._ahead_ms = 0  # the store's clock against ours, as last seen: only to guess the period it is in

    def ask(self, call: Pending) -> None:
        """Have it decided: its result will be told. Of who has just come, and so waits longer than all others. Raises
        StoreUnavailable where the node is known to be away."""
        if self._breaker.down and (why := self.link.refusal()):
            self._trouble()
            raise StoreUnavailable(why)
        self._waiting.append(call)
        if self._batches:
            if len(self._waiting) == BESIDE:
                self._send_beside()
        elif not self._woken or len(self._waiting) == self._early:
            self.begin()
        if self._alarm.timer is None:  # nobody waited
            self._alarm.set()

    def ask_late(self, call: Pending) -> None:
        """The same of who may have waited elsewhere before."""
        self.ask(call)
        if call[2] < self._alarm.at:
            self._alarm.set()

    def leave(self) -> None:
        """Nothing is asked of this node any more."""
        self._left = True
        answer(self._waiting, Again.LEFT)
        self._waiting.clear()

    async def close(self) -> None:
        self.refunds.give_all_back()
        await self.link.close()
        self._alarm.stop()

    def store_ms(self) -> int:
        """What the store's clock says, as far as is known here."""
        return time.time_ns() // 1_000_000 + self._ahead_ms

    def begin(self) -> None:
        """Send at the end of this turn of the loop, with whoever else comes in it; at once where many have come."""
        if self._woken:
            self._send()
        else:
            self._woken = True
            self._loop.call_soon(self._send, context=Context())

    def _new_batch(self, importing: bool) -> Batch:
        return Batch(time.monotonic(), self.store_ms(), importing, self.gate.witness() if self.gate else None)

    def _connected(self) -> None:
        self.on_ready()
        if self.gate:
            self.gate.connected()
        self._send()

    def go_on(self, *, owing: bool) -> None:
        """Send what waits; where the node is `owing`, whatever it has to hear of first."""
        self._send(owing=owing)

    def refuse(self, error: StoreUnavailable) -> None:
        """The node decides for nobody who waits now."""
        waiting, self._waiting = self._waiting, deque()
        for result, _, _, _ in waiting:
            fail(result, str(error))
        self._trouble()

    def _send(self, *, owing: bool = False) -> None:
        """Send what waits, unless calls are under way: then it goes when they are answered, or beside one."""
        self._woken = False
        if not self._waiting:
            return
        if self._batches:
            if len(self._waiting) >= BESIDE:
                self._send_beside()
        elif self._left:
            self.leave()
        elif not (self.link.ready if owing else self.link.awake()):  # over it that was just said: it is awake
            self.link.connect()
        elif not owing and self.gate and self.gate.holds(self._waiting):
            pass  # until what is owed is settled
        elif batches := self.lanes.fill(self._waiting, MOST):
            self._batches = batches
            self._write(batches)

    def _send_beside(self) -> None:
        """A second call, of requests about which the first says nothing. None where lost calls are asked about, as on a
        single node there is one marker for them."""
        if len(self._batches) == 1 and not (self.gate or self._left) and self.link.ready:
            batches = self.lanes.fill_beside(self._waiting, MOST)
            if batches:
                self._batches |= batches
                self._write(batches)

    def _write(self, batches: Collection[Batch]) -> None:
        for batch in batches:
            batch.as_text = self._as_text
        self._as_text = False
        first = self.gate.number(batches) if self.gate else ()
        self.link.send(*written(batches, self._scripts, self._answered, first))

    def _answered(self, batch: Batch, reply: Reply) -> None:
        self._batches.discard(batch)
        if not isinstance(reply, StoreUnavailable):
            reply = self._read(batch, reply)
        elif isinstance(reply, NoScript) and not batch.as_text:
            # Nothing was done; EVAL fills the cache again, or the store is none that can decide. Not for who has gone
            # meanwhile: what was to be given back was, and would be taken again.
            self._as_text = not any(other.as_text for other in self._batches)
            for call in reversed(batch.calls):
                if extras := call[3]:
                    extras.leases.clear()
                self._waiting.appendleft(call)
        else:
            if isinstance(reply, Redirected):
                self.lanes.moves(batch.caller.slot)
            self._trouble()
            if isinstance(reply, Redirected | ClusterDown):  # nothing was done, and it may be elsewhere, or soon
                answer(batch.calls, reply)
            else:
                batch.give_up(str(reply))
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
            if not isinstance(batch.refused, NotMaster):
                self._breaker.well()
            self._ahead_ms = reply[0] - time.time_ns() // 1_000_000
        self.refunds.expect(batch.allotments)
        if isinstance(batch.refused, NotMaster):  # the next connection may lead to the new master
            self.link.drop(str(batch.refused))
            self._trouble()
        return error or reply

    def _earliest(self) -> float | None:
        return earliest(*[batch.calls for batch in self._batches], self._waiting)

    def _too_late(self, deadline: float) -> None:
        for batch in self._batches:
            batch.give_up(self.link.too_late(), deadline)
        for result, _, until, _ in self._waiting:
            if until <= deadline:
                fail(result, self.link.too_late())
        self.link.notice_silence()
        self._trouble()
