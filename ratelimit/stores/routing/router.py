"""Ask the node that has a request's slot, follow where it sends the request, ask again.

TRYAGAIN, CLUSTERDOWN   Nothing was done, and it may be in a moment: asked again within the timeout, after pauses.
MOVED, ASK              Nothing was done: asked there, at most FOLLOWED times.

What else a server refuses is its caller's failure at once: LOADING and BUSY last for seconds, after READONLY another
server has to be found first, OOM, MISCONF and NOREPLICAS do not end by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ratelimit.ground.loops import hand_over
from ratelimit.model import Charge, Decision, Lease, StoreUnavailable
from ratelimit.stores.batching.allotments import new
from ratelimit.stores.batching.callers import CallerCache
from ratelimit.stores.batching.pending import Again, Outcome, Pending
from ratelimit.stores.batching.queue import DecisionQueue
from ratelimit.stores.connection.errors import AskRedirect, ClusterDown, Moved, Redirected

CLOCKS = 3  # 1, and 1 more where the store's clock is in another period than ours; a third only at the next midnight
FOLLOWED = 5
PAUSE = 0.001  # seconds before a second attempt, more before each later one
LONGEST_PAUSE = 0.02


class Nodes(Protocol):
    """Which server decides for which slot, of one event loop."""

    on_new_queue: Callable[[DecisionQueue], None]  # told of that of each new node

    @property
    def masters(self) -> Sequence[DecisionQueue | None]:
        """By slot, as last heard."""

    def slot_of(self, key: str) -> int:
        """Of a key without the prefix."""

    def queues(self) -> Iterable[DecisionQueue]:
        """Of all nodes that are asked."""

    async def found(self, slot: int, deadline: float) -> DecisionQueue:
        """The queue of a slot's master. Raises StoreUnavailable where none is known by then."""

    def follow(self, queue: DecisionQueue, slot: int, reply: Redirected) -> DecisionQueue | None:
        """Where a node has sent a call; None if it does not say where. Raises the same where there is no other node."""

    def refresh(self) -> None:
        """Look who has which slots, in the background."""

    async def close(self) -> None:
        """Drop connections."""


class Router:
    """The decisions of one event loop. `timeout` in seconds; `give_back` takes the leases of who heard nothing."""

    def __init__(self, nodes: Nodes, prefix: str, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self.nodes = nodes
        self.give_back: Callable[[Sequence[Lease]], None] = lambda _: None
        self._down: set[int] = set()  # slots for which a request was refused for its whole time, and no decision since
        self.callers = CallerCache(prefix, self._slot, self.store_ms)

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        caller = self.callers.recent.young.get(id(charges))
        if caller is None or caller.charges is not charges:
            if not charges:
                return Decision(allowed=True, now_ms=self.store_ms(0))
            caller = self.callers.of(charges)
        queue, asking, deadline = self.nodes.masters[caller.slot], False, 0.0
        history: tuple[Outcome, ...] = ()
        while True:
            # Units that were there when it was told may have ended since, if this process stood still: looked at now.
            if (caller.refusal or caller.allotment) and (known := caller.decide(time.monotonic())):
                return known
            deadline = deadline or self._loop.time() + self._timeout
            if queue is None:
                queue = await self.nodes.found(caller.slot, deadline)
            result: asyncio.Future[Outcome] = self._loop.create_future()
            leases: list[Lease] = []
            queue.ask(new(Pending, (result, caller, leases, deadline, asking)))
            try:
                outcome = await result
            except (StoreUnavailable, asyncio.CancelledError, GeneratorExit) as end:
                if leases:
                    self._abandon(leases, end)  # it may have been applied
                raise
            if isinstance(outcome, Decision):
                if self._down:
                    self._down.discard(caller.slot)
                return outcome
            history += (outcome,)
            queue, asking = await self.again(queue, caller.slot, asking, history, deadline)

    async def again(
        self, queue: DecisionQueue, slot: int, asking: bool, history: Sequence[Outcome], deadline: float
    ) -> tuple[DecisionQueue | None, bool]:
        """Who is to be asked after what was no decision, and whether the slot is only on its way there. `history` is
        what was heard so far."""
        outcome = history[-1]
        if outcome is Again.CLOCK and history.count(outcome) == CLOCKS:
            raise StoreUnavailable("the clock of the store does not stand still between two calls")
        if isinstance(outcome, Again):
            return (self.nodes.masters[slot], False) if outcome is Again.LEFT else (queue, asking)
        down = isinstance(outcome, ClusterDown)
        if isinstance(outcome, Redirected):
            there = self.nodes.follow(queue, slot, outcome)
            if sum(isinstance(one, Moved | AskRedirect) for one in history) > FOLLOWED:
                raise StoreUnavailable(f"slot {slot} is on its way from node to node: {FOLLOWED} were asked")
            if there and isinstance(outcome, AskRedirect):
                return there, True
        tries = sum(not isinstance(one, Again | AskRedirect) for one in history)
        if (down and slot in self._down) or not await pause(tries if down else tries - 1, deadline):
            if down:
                self._down.add(slot)
            raise StoreUnavailable(str(outcome) if down else f"slot {slot} is on its way: no node decided in time")
        return self.nodes.masters[slot], False

    def store_ms(self, slot: int) -> int:
        """What the clock presumably says where a slot is."""
        queue = self.nodes.masters[slot]
        return queue.store_ms() if queue else time.time_ns() // 1_000_000

    def _slot(self, charges: Sequence[Charge]) -> int:
        """Of all their keys. Raises StoreUnavailable where they are in several."""
        slot, *others = {self.nodes.slot_of(charge.key) for charge in charges}
        if others:
            raise StoreUnavailable("the limits of this request are in several slots: no script can decide over them")
        return slot

    def _abandon(self, leases: Sequence[Lease], end: BaseException) -> None:
        if isinstance(end, GeneratorExit):  # perhaps of the garbage collector, which comes in the middle of anything
            hand_over(self._loop, self.give_back, leases)
        else:
            self.give_back(leases)


async def pause(tries: int, deadline: float) -> bool:
    """Before somebody is asked again after so many tries. Whether there is time for that."""
    now = asyncio.get_running_loop().time
    if tries > 0:
        await asyncio.sleep(max(0.0, min(PAUSE * tries, LONGEST_PAUSE, deadline - now())))
    return now() < deadline
