"""The verbs that count units: asked with the decisions of the same turn, or written to where they were counted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

from ratelimit.model import Charge, Decision, Hold, Quota, StoreUnavailable
from ratelimit.stores.connection.errors import error_of
from ratelimit.stores.connection.socket import bulk
from ratelimit.stores.counting import asked
from ratelimit.stores.counting.holds import held, new_id
from ratelimit.stores.counting.terms import LETTERS, terms_at
from ratelimit.stores.lua.scripts import ANOTHER_PERIOD, DONE, OVER, Scripts, Settled, count_of, outcomes_of
from ratelimit.stores.routing.router import CLOCKS, Router

_At = Callable[[int | None], Settled]  # an item, by what the store's clock said; None: it was not asked yet


class Units:
    """Of one event loop. `prefix` is of every key: stores that share it settle each other's holds."""

    def __init__(self, router: Router, scripts: Scripts, prefix: str) -> None:
        self._router = router
        self._scripts = scripts
        self._prefix = prefix
        self._name = hashlib.sha256(prefix.encode()).hexdigest()[:8]
        self.forgot: Callable[[Sequence[str]], None] = lambda _: None  # told of counters that were reset

    async def peek(self, charges: Sequence[Charge], units: int) -> Decision:
        asked.readable(charges, units)
        decision = _plain(await self._router.decide(charges, "peek", (bulk(units),)), 0)
        decision.counted_ms = ()
        return decision

    async def charge(self, charges: Sequence[Charge], units: int) -> Decision:
        asked.countable(charges, units)
        try:
            return _plain(await self._router.decide(charges, "charge", (bulk(units),)), units)
        finally:
            self._router.callers.changed([charge.key for charge in charges])

    async def hold(self, charges: Sequence[Charge], units: int, lease_ms: int) -> Decision:
        asked.holdable(charges, units, lease_ms)
        hold_id = new_id(self._name, lease_ms)
        decision = await self._router.decide(charges, "hold", (bulk(units), bulk(hold_id)))
        return held(_plain(decision, 0), hold_id, lease_ms, units)

    async def refund(self, spent: Decision, units: int | None) -> None:
        if times := asked.given_back(spent, units):
            await self._settle([partial(_returned, charge, times, at_ms) for charge, at_ms in asked.taken(spent)])

    async def settle(self, hold: Hold, used: int) -> None:
        charges = asked.settled(hold, used, self._name)

        def of(charge: Charge, now_ms: int | None) -> Settled:
            """In the period of now."""
            terms = terms_at(charge, now_ms or self._router.store_ms(self._router.nodes.slot_of(charge.key)))
            place = LETTERS[terms.kind].upper(), terms.first, terms.second, hold.lease.id
            return charge.key, place, used * charge.cost

        await self._settle([partial(of, charge) for charge in charges])

    async def reset(self, keys: Sequence[str]) -> int:
        asked.resettable(keys)
        counts: list[int] = []

        async def forget(slot: int, some: Sequence[str]) -> None:
            written = partial(self._scripts.forgetting, self._prefix, some)
            counts.append(count_of(await self._router.call(slot, written)))

        try:
            await self._router.in_slices([(key, key) for key in keys], forget)
        finally:
            self._router.callers.changed(keys)
            self.forgot(keys)
            gone = set(keys)
            for queue in self._router.nodes.queues():
                queue.refunds.forget(gone)
        return sum(counts)

    async def _settle(self, work: Sequence[_At]) -> None:
        """In one call, as all of it is in one slot. What is of another period by the store's clock was not done: it is
        asked about again."""
        now_ms, asked_before = None, 0
        while work:
            if asked_before == CLOCKS:
                raise StoreUnavailable("the clock of the store does not stand still between two calls")
            asked_before += 1
            items = [at(now_ms) for at in work]
            keys = [key for key, _, _ in items]
            slot = self._router.nodes.slot_of(keys[0])
            try:
                reply = await self._router.call(slot, partial(self._scripts.settlement, self._prefix, items))
            finally:
                self._router.callers.changed(keys)
            now_ms, outcomes = outcomes_of(reply, len(items))
            for outcome in outcomes:
                if outcome not in {OVER, DONE, ANOTHER_PERIOD}:
                    raise error_of(outcome)
            work = [at for at, outcome in zip(work, outcomes, strict=True) if outcome == ANOTHER_PERIOD]


def _returned(charge: Charge, times: int, at_ms: int, now_ms: int | None) -> Settled:
    """Of the period in which it was counted, unless the store's clock is before that."""
    terms = terms_at(charge, at_ms if now_ms is None else now_ms)
    where = at_ms if terms.kind is Quota else at_ms * terms.second // terms.first
    return charge.key, (LETTERS[terms.kind], terms.first, terms.second, where), -times * charge.cost


def _plain(decision: Decision, units: int) -> Decision:
    """With its states, and of so many units."""
    return Decision(decision.allowed, decision.now_ms, decision.states, units=units, counted_ms=decision.counted_ms)
