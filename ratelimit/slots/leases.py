"""The slots of concurrency limits that this process holds, by event loop: each renews and gives back its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from types import FrameType

from ratelimit.ground.loops import PerLoop, running
from ratelimit.model import Lease
from ratelimit.slots.renewals import Renewals, Slots


class Leases:
    """Holds leases of one store. A lease is renewed when half of its life is left, by the loop that holds it."""

    def __init__(self, store: Slots) -> None:
        self._store = store
        self.at_once = getattr(store, "at_once", False)
        self.reclaimed: Counter[str] = Counter()  # slots whose callers had hung up a lease ago, by limit
        self._held = PerLoop(lambda: Renewals(store, self._left_behind(), self.reclaimed))

    def hold(self, leases: Sequence[Lease], look: Callable[[], None] | None = None) -> None:
        """`look` is called at each renewal, from when half of the first lease has passed."""
        self._held[running()].add(leases, look)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give leases back, but for those that close() has given back. A store out of reach is logged."""
        ours = self._held[running()]
        if held := ours.discard(leases):
            await ours.give_back(held)

    def drop(self, leases: Sequence[Lease]) -> None:
        """Units that are to be settled: renewed no more."""
        self._held[running()].discard(leases)

    def orphan(self, lease: Lease, limit: str) -> None:
        """The caller has hung up: if its request still runs one lease later, its slot is given back all the same."""
        self._held[running()].orphan(lease, limit)

    def let_go(self, leases: Sequence[Lease], closer: FrameType | None) -> None:
        """Give leases back where nothing can be awaited, on whatever thread: `closer` ends the call that holds them."""
        for held in list(self._held.values()):
            held.let_go(leases, closer)

    async def close(self) -> None:
        """Give back all that this loop holds, also of requests that never end: their process does."""
        if held := self._held.pop(running(), None):
            await held.close()

    def holds(self) -> bool:
        return any(held.holds() for held in list(self._held.values()))

    async def give_all_back(self) -> None:
        """At the end of the process, on a loop of its own."""
        await self._store.release([lease for held in list(self._held.values()) for lease in held.drained()])

    def _left_behind(self) -> list[Lease]:
        """By loops that have ended: their requests can't go on."""
        return [lease for loop, held in list(self._held.items()) if loop.is_closed() for lease in held.drained()]
