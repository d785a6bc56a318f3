"""Group commit: decisions that are asked for while a script call is under way go together in the next one.

No timer: who comes alone is sent at once. Each caller has its own result, its own fault and its own patience.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from itertools import chain

from ratelimit.memo import Recent
from ratelimit.model import Charge, Decision, Lease, StoreUnavailable
from ratelimit.stores.alarm import Alarm
from ratelimit.stores.batch import Again, Batch, Call, fail, new
from ratelimit.stores.callers import Caller, Charges, Tariff
from ratelimit.stores.connection import ConnectionPool
from ratelimit.stores.link import Link
from ratelimit.stores.refunds import Refunds
from ratelimit.stores.scripts import Scripts
from ratelimit.stores.wire import NoScript, Reply, command

ATTEMPTS = 3  # 1, and 1 more where the store's clock is in another period than ours; a third only at the next midnight
MOST = 128  # callers a call: Redis serves nobody else while it decides, which takes under a millisecond


class Group:
    """The decisions of one event loop. `prefix` is of every key, `timeout` in seconds."""

    def __init__(self, pool: ConnectionPool, scripts: Scripts, prefix: str, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._scripts = scripts
        self._prefix = prefix
        self._timeout = timeout
        self.link = Link(
            pool, timeout, on_ready=self._send, on_failure=self._fail_waiting, wanted=lambda: bool(self._waiting)
        )
        self._refunds = Refunds(self.link, scripts)
        self._alarm = Alarm(timeout, self._earliest, self._too_late)
        self._waiting: deque[Call] = deque()
        self._batch: Batch | None = None  # that is under way
        self._woken = False
        self._ahead_ms = 0  # the store's clock against ours, as last seen: only to guess the period it is in
        self._callers: Recent[int, Caller] = Recent()  # by the id of their charges
        self._tariffs: Recent[bytes, Tariff] = Recent()

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        caller = self._callers.young.get(id(charges))
        if caller is None or caller.charges is not charges:
            if not charges:
                return Decision(allowed=True, now_ms=self._store_ms())
            caller = self._caller(charges)
        if (caller.refusal or caller.block) and (known := caller.decide(time.monotonic())):
            return known
        leases = caller.new_leases() if caller.caps else ()
        deadline = self._loop.time() + self._timeout
        attempts = 0
        while attempts < ATTEMPTS:
            result: asyncio.Future[Decision | Again] = self._loop.create_future()
            self._waiting.append(new(Call, (result, caller, leases, deadline)))
            if self._batch is None and not self._woken:
                self._wake()
            if self._alarm.timer is None:
                self._alarm.set()
            try:
                outcome = await result
            except (StoreUnavailable, asyncio.CancelledError):
                self.post_release(leases)  # it may have been applied
                raise
            if isinstance(outcome, Decision):
                return outcome
            attempts += outcome is Again.CLOCK
            # Units that were there when it was told may have ended since, if this process stood still: looked at now.
            if known := caller.decide(time.monotonic()):
                return known
        raise StoreUnavailable("the clock of the store does not stand still between two calls")

    def post_release(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self.link.post(command("ZREM", self._prefix + lease.key, lease.id))

    async def close(self) -> None:
        self._refunds.give_all_back()
        self._alarm.stop()
        await self.link.close()

    def _caller(self, charges: Sequence[Charge]) -> Caller:
        caller = self._callers.get(id(charges))
        if caller is not None and caller.charges is charges:
            return caller
        own = tuple(charges)  # the same object if it is a tuple; a list may hold something else the next time
        caller = Caller(own, self._prefix, self._tariff(own, self._store_ms()))
        if own is charges:
            self._callers.put(id(own), caller)
        return caller

    def _tariff(self, charges: Charges, now_ms: int) -> Tariff:
        made = Tariff(charges, now_ms)
        tariff = self._tariffs.get(made.wire)
        if tariff is None:
            self._tariffs.put(made.wire, made)
        return tariff or made

    def _store_ms(self) -> int:
        """What the store's clock says, as far as is known here."""
        return time.time_ns() // 1_000_000 + self._ahead_ms

    def _wake(self) -> None:
        """Send at the end of this turn of the loop, with whoever else comes in it."""
        self._woken = True
        self._loop.call_soon(self._send, context=Context())

    def _send(self) -> None:
        """Send what waits, unless a call is under way: then it goes when that is answered."""
        self._woken = False
        if self._batch or not self._waiting:
            return
        if not self.link.ready:
            self.link.connect()
            return
        batch = Batch(time.monotonic(), self._store_ms(), self._tariff)
        while self._waiting and len(batch.calls) < MOST:
            call = self._waiting.popleft()
            if call.result.done():  # nobody waits for it any more: it would be charged for nothing
                continue
            if batch.spares(call.caller):
                call.result.set_result(Again.UNITS)
            else:
                batch.add(call)
        if batch.calls:
            self._batch = batch
            self.link.send(batch.command("EVALSHA", self._scripts.acquire.sha), self._answered)

    def _answered(self, reply: Reply) -> None:
        batch = self._batch
        assert batch  # noqa: S101 - one is under way
        if isinstance(reply, NoScript) and self.link.ready:  # nothing was done; EVAL fills the cache again
            self.link.send(batch.command("EVAL", self._scripts.acquire.text), self._answered)
            return
        self._batch = None
        if isinstance(reply, StoreUnavailable):
            batch.fail(str(reply))
        else:
            self._resolve(batch, reply)
        if self.link.ready:
            self._send()
        elif self._waiting and not self._woken:
            self._wake()

    def _resolve(self, batch: Batch, reply: Reply) -> None:
        try:
            batch.resolve(reply, time.monotonic())
            self._ahead_ms = reply[0] - time.time_ns() // 1_000_000
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            batch.fail(f"what the server sent is no reply to the script: {error!r}")
            self.link.drop("its replies can't be read")
        self._refunds.expect(batch.blocks)
        if batch.demoted:  # the next connection may lead to the new master
            self.link.drop(str(batch.demoted))

    def _fail_waiting(self, error: StoreUnavailable) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            fail(call, str(error))

    def _everyone(self) -> chain[Call]:
        return chain(self._batch.calls if self._batch else (), self._waiting)

    def _earliest(self) -> float | None:
        return next((call.deadline for call in self._everyone() if not call.result.done()), None)

    def _too_late(self, deadline: float) -> None:
        for call in self._everyone():
            if call.deadline > deadline:
                break
            fail(call, self.link.too_late())
        self.link.drop_if_stalled()
