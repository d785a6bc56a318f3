"""Ask the node that has a request's slot, follow where it sends the request, ask again.

TRYAGAIN, CLUSTERDOWN   Nothing was done, and it may be in a moment: asked again within the timeout, after pauses.
MOVED, ASK              Nothing was done: asked there, at most FOLLOWED times.

What else a server refuses is its caller's failure at once: LOADING and BUSY last for seconds, after READONLY another
server has to be found first, OOM, MISCONF and NOREPLICAS do not end by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from ratelimit.ground.loops import hand_over
from ratelimit.model import Charge, Decision, Lease, StoreUnavailable
from ratelimit.stores.batching.callers import DECIDE, Caller, CallerCache
from ratelimit.stores.batching.pending import Again, Asked, Extras, Outcome
from ratelimit.stores.batching.queue import DecisionQueue
from ratelimit.stores.connection.errors import AskRedirect, ClusterDown, Moved, NoScript, Redirected
from ratelimit.stores.connection.inflight import heard
from ratelimit.stores.connection.socket import ASKING, Reply
from ratelimit.stores.lua.scripts import Written

T = TypeVar("T")

CLOCKS = 3  # 1, and 1 more where the store's clock is in another period than ours; a third only at the next midnight
FOLLOWED = 5
PAUSE = 0.001  # seconds before a second attempt, more before each later one
LONGEST_PAUSE = 0.02
SLICE = 256  # leases of a script call, and of a command: the server serves nobody else for some 2 ms


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
        self._recent = self.callers.recent

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        """Straight to the node and back, where no more is known of the caller than its keys, as of nearly all."""
        caller = self._recent.young.get(id(charges))  # it holds its charges: nobody else's have this id
        if caller is None or caller.special or (queue := self.nodes.masters[caller.slot]) is None:
            return (caller and caller.decide(time.monotonic())) or await self.decide(charges)
        deadline = self._loop.time() + self._timeout
        result: asyncio.Future[Outcome] = self._loop.create_future()
        queue.ask((result, caller, deadline, None))
        outcome = await result
        if isinstance(outcome, Decision) and not self._down:
            return outcome
        return await self._decided(caller, queue, deadline, outcome)

    async def decide(self, charges: Sequence[Charge], mode: str = DECIDE, asked: Asked = ()) -> Decision:
        """Any way. What `asked` is made of, batching/pending.py says; the modes, lua/acquire.lua."""
        if not charges:
            return Decision(allowed=True, now_ms=self.store_ms(0))
        caller = self.callers.of(charges, mode)
        queue, deadline = self.nodes.masters[caller.slot], self._loop.time() + self._timeout
        return await self._decided(caller, queue, deadline, None, asked)

    async def _decided(
        self, caller: Caller, queue: DecisionQueue | None, deadline: float, outcome: Outcome | None, asked: Asked = ()
    ) -> Decision:
        """`outcome` is what `queue` has said, if it was asked."""
        asking, history = False, tuple[Outcome, ...]()
        while not isinstance(outcome, Decision):
            if queue and outcome:
                history += (outcome,)
                queue, asking = await self.again(queue, caller.slot, asking, history, deadline)
            # Units that were there when it was told may have ended since, if this process stood still: looked at now.
            if caller.special and (known := caller.decide(time.monotonic())):
                return known
            queue = queue or await self.nodes.found(caller.slot, deadline)
            result: asyncio.Future[Outcome] = self._loop.create_future()
            extras = Extras(asked, asking=asking) if asked or asking or caller.caps else None
            queue.ask_late((result, caller, deadline, extras))
            try:
                outcome = await result
            except (StoreUnavailable, asyncio.CancelledError, GeneratorExit) as end:
                if extras and extras.leases:
                    self._abandon(extras.leases, end)  # it may have been applied
                raise
        self._down.discard(caller.slot)
        return outcome

    async def call(self, slot: int, written: Written) -> Reply:
        """What the node that has a slot says to a call of a script. Raises StoreUnavailable."""
        deadline = self._loop.time() + self._timeout
        queue: DecisionQueue | None = None
        asking, text = False, False
        history: tuple[Outcome, ...] = ()
        while True:
            queue = queue or await self.nodes.found(slot, deadline)
            if asking:
                queue.link.cork(ASKING).add_done_callback(heard)
            call = written(text=True) if text else written()
            try:
                return await queue.link.call(call, deadline - self._loop.time())
            except NoScript:  # nothing was done
                if text:
                    raise
                text = True
            except (Redirected, ClusterDown) as reply:  # nothing was done
                history += (reply,)
                queue, asking = await self.again(queue, slot, asking, history, deadline)

    async def in_slices(
        self, rows: Iterable[tuple[str, T]], ask: Callable[[int, Sequence[T]], Awaitable[None]]
    ) -> None:
        """Have each row asked about where its key is: in slices, one after the other, so that decisions come in
        between; of several slots together. What can be reached is done also where a node is gone; then raises
        StoreUnavailable."""
        by_slot: defaultdict[int, list[T]] = defaultdict(list)
        for key, row in rows:
            by_slot[self.nodes.slot_of(key)].append(row)
        failures: list[StoreUnavailable] = []

        async def of_one(slot: int, there: Sequence[T]) -> None:
            for first in range(0, len(there), SLICE):
                try:
                    await ask(slot, there[first : first + SLICE])
                except StoreUnavailable as error:
                    failures.append(error)

        await asyncio.gather(*[of_one(slot, there) for slot, there in by_slot.items()])
        if failures:
            raise failures[-1]

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
