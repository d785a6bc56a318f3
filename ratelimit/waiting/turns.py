"""Who waits, for how long, and whose turn it is.

Who is denied, and could be admitted soon enough, stands in line behind those of its caller who wait for the same
limits. The first asks the store when it said that a unit can be free, and the next when the first has left. Whoever is
admitted was admitted by the store: nothing here is counted but who waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ratelimit.ground.loops import PerLoop, running
from ratelimit.model import Admitting, Charge, Decision, Identity, Message, Receive, Scope, StoreUnavailable
from ratelimit.policy import Policy
from ratelimit.waiting.line import Line, Waiter, wait_ms
from ratelimit.waiting.watch import Watch

SHARE = 10  # one caller has a tenth of a tier's queue at most, and one place at least

Waited = tuple[Decision, StoreUnavailable | None, Receive]
WithoutStore = Callable[[Sequence[Charge], StoreUnavailable], Decision]


class _Here:
    """Of one event loop: its lines by the store and the keys of counters in it, and how many wait, by tier and by tier
    and caller."""

    def __init__(self) -> None:
        self.lines: dict[tuple[int | str, ...], Line] = {}
        self.waiting: Counter[object] = Counter()


# The middlewares of one Policy object have one queue, as they have one memory.
_all: WeakKeyDictionary[Policy, PerLoop[_Here]] = WeakKeyDictionary()


class Turns:
    """Of one middleware whose policy has a tier with `wait`."""

    def __init__(
        self, policy: Policy, store: Admitting, without_store: WithoutStore, before: Turns | None = None
    ) -> None:
        self.inner = store
        self.store: Any = _InLine(store, self)  # what the middleware asks
        self._policy = policy
        self._without_store = without_store
        # Who waits goes on to, under an edited policy: in the same lines.
        self._here: PerLoop[_Here] = _all.setdefault(policy, before._here if before else PerLoop(_Here))

    def told(self, charges: Sequence[Charge]) -> Decision | None:
        """The denial of who comes while others stand in line before it; None where none do."""
        if not self._here:
            return None
        loop = running()
        lines = self._here[loop].lines
        line = lines.get(self._keys(charges)) if lines else None
        return line.told(charges, loop.time()) if line and line.can_admit(charges) else None

    async def waited(
        self, denial: Decision, charges: Sequence[Charge], identity: Identity, scope: Scope, receive: Receive
    ) -> Waited:
        """What becomes of a denied request: the same at once where its wait is too long, or the queue is full; else
        what the store says when it is its turn. And the failure of the store, and what the app is to receive by."""
        tier, wait = self._policy.wait_of(identity)
        loop, here = running(), self._here[running()]
        ours, wait_for = (tier, identity.root), wait_ms(denial)
        full = wait is None or here.waiting[tier] >= wait.queue or here.waiting[ours] >= max(1, wait.queue // SHARE)
        if wait is None or full or wait_for is None or wait_for > wait.up_to_ms:
            return denial, None, receive
        now, keys = loop.time(), self._keys(charges)
        waiter = Waiter(loop, charges, now + wait.up_to_ms / 1_000)
        line = here.lines.get(keys)
        if line is None:
            line = here.lines[keys] = Line()
            line.denied(denial, now)
        line.waiters.append(waiter)
        here.waiting.update((tier, ours))
        watch = Watch(loop, receive, waiter.leave)
        watch.begin(scope)
        decision, failure = denial, None
        try:
            decision = await self._turn(line, waiter)
        except StoreUnavailable as error:
            failure, decision = error, self._without_store(charges, error)
        finally:
            for counted in (tier, ours):
                here.waiting[counted] -= 1
                if not here.waiting[counted]:
                    del here.waiting[counted]
            if len(line.waiters) == 1:
                del here.lines[keys]
            line.leave(waiter)
            receive = watch.end()
        return decision, failure, receive

    async def _turn(self, line: Line, waiter: Waiter) -> Decision:
        """Until it is admitted, or can't be any more."""
        while not waiter.gone:
            now, first = waiter.loop.time(), line.waiters[0] is waiter
            if first and now >= line.free_at:
                decision = await self.inner.acquire(waiter.charges)
                if decision.allowed:
                    return decision
                now = waiter.loop.time()
                line.denied(decision, now)
                if wait_ms(decision) is None or line.free_at > waiter.until:
                    return decision
            elif now >= waiter.until or line.free_at > waiter.until:
                return await self._too_long(line, waiter, now)
            else:
                await waiter.woken(line.free_at if first else waiter.until)
        return line.told(waiter.charges, waiter.loop.time())

    async def _too_long(self, line: Line, waiter: Waiter, now: float) -> Decision:
        """It is told how long it would still wait. Of a request that costs something else only the store knows."""
        if line.costs(waiter.charges):
            return line.told(waiter.charges, now)
        return await self.inner.acquire(waiter.charges)

    def _keys(self, charges: Sequence[Charge]) -> tuple[int | str, ...]:
        return id(self.inner), *[charge.key for charge in charges]

    def closing(self, receive: Receive) -> Receive:
        """Of a lifespan: who waits when it ends is denied at once."""

        async def received() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.leave()
            return message

        return received

    def leave(self) -> None:
        """Who waits on the loop that runs waits no longer."""
        here = self._here.pop(running(), None)
        for line in here.lines.values() if here else ():
            for waiter in line.waiters:
                waiter.leave()


class _InLine:
    """The store, as the middleware asks it: who has others of its caller before it is not asked for."""

    def __init__(self, store: Admitting, turns: Turns) -> None:
        self._store = store
        self._turns = turns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        return self._turns.told(charges) or await self._store.acquire(charges)
