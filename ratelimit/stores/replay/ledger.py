"""All or nothing over the limits of a request, at an instant that never goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

from ratelimit.model import FOREVER, Charge, Decision, Lease
from ratelimit.stores.counting import counters as kept
from ratelimit.stores.counting.decide import decided, view
from ratelimit.stores.counting.terms import Terms
from ratelimit.stores.replay.counters import Counter
from ratelimit.stores.replay.tariffs import Plan, Tariff

_ALIKE = [field.name for field in fields(Charge) if field.name not in {"limit", "key", "cost"}]


class Row(NamedTuple):
    """What one caller's requests of one operation are charged to: `plan` says how much, for each counter."""

    plan: Plan
    counters: tuple[Counter, ...]


class Ledger:
    """Decides as a MemoryStore of that clock does. Who keeps the counters is whose rows they are in."""

    def __init__(self) -> None:
        self._tariffs: dict[tuple[object, ...], Tariff] = {}
        self._turns_at = 0  # the first instant at which one of them changes

    def tariff(self, charge: Charge, now_ms: int) -> Tariff:
        """The same for all charges that differ in nothing but key and cost."""
        alike = id(charge.limit), *[getattr(charge, name) for name in _ALIKE]
        tariff = self._tariffs.get(alike)
        if tariff is None:
            tariff = self._tariffs[alike] = Tariff(charge, now_ms)
            self._turns_at = min(self._turns_at, tariff.terms.until_ms)
        return tariff

    def admit(self, row: Row, now_ms: int) -> bool:
        """Charge all of it, if there is room in all limits. False: nothing was done, `decide` says what is so."""
        if now_ms >= self._turns_at:
            self._turn(now_ms)
        plan, counters = row
        costs = plan.costs
        for counter, cost, tariff in zip(counters, costs, plan.tariffs):  # noqa: B905 - as many; strict takes time
            if counter.look(now_ms) + cost > tariff.max and cost:
                return False
        for counter, cost in zip(counters, costs):  # noqa: B905
            if cost:
                counter.add(cost)
        return True

    def decide(self, row: Row, charges: Sequence[Charge], now_ms: int) -> Decision:
        """With a State of each limit, and how long who is denied waits."""
        views = []
        ours: dict[str, Counter] = {}
        for charge, counter, tariff in zip(charges, row.counters, row.plan.tariffs, strict=True):
            counter.look(now_ms)
            ours[charge.key] = counter
            views.append(view(charge, tariff.terms, counter.kept(), now_ms))

        def charge_one(charge: Charge, terms: Terms, view: kept.Counter, now: int) -> Lease | None:
            ours[charge.key].add(charge.cost)
            return None

        return decided(views, now_ms, charge_one)

    def _turn(self, now_ms: int) -> None:
        self._turns_at = FOREVER
        for tariff in self._tariffs.values():
            tariff.turn(now_ms)
            self._turns_at = min(self._turns_at, tariff.terms.until_ms)
