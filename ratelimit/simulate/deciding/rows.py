"""What the requests of a caller are charged to: made once for each of its operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratelimit.control.outcomes import conditional
from ratelimit.model import Charge, Concurrency, Identity
from ratelimit.policy import Policy
from ratelimit.routes.routed import Routed
from ratelimit.simulate.events import Caller
from ratelimit.stores.replay import Counter, Ledger, Plan, Row, Tariff, counter_of, what

FEW = 8  # operations of a caller, which are looked through one by one


class Asker:
    """One identity: an organization may have many. `rows` are those of its `operations`, in their order; of more
    than a few they are in `more`. A dict of each would be a tenth of all memory."""

    __slots__ = ("caller", "identity", "more", "operations", "rows")

    def __init__(self, caller: Caller, identity: Identity) -> None:
        self.caller = caller
        self.identity = identity
        self.operations: tuple[str, ...] = ()
        self.rows: tuple[Row, ...] = ()
        self.more: dict[str, Row] | None = None


class Rows:
    """Of one policy."""

    def __init__(self, policy: Policy, ledger: Ledger) -> None:
        self._policy = policy
        self._ledger = ledger
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._plain = _plain(policy)
        self._alike: dict[tuple[str | None, str, str], Plan] = {}  # of tiers in which all callers have the same
        self._operations: dict[tuple[str, ...], tuple[str, ...]] = {}  # of callers, each once

    def of(self, asker: Asker, operation: str, at: int) -> Row:
        """The row of an operation that is not among the few of a caller."""
        if asker.more is None:
            made = self._new(asker, operation, at)
            if len(asker.rows) < FEW:
                operations = *asker.operations, operation
                asker.operations = self._operations.setdefault(operations, operations)
                asker.rows += (made,)
                return made
            asker.more = {}
        elif (known := asker.more.get(operation)) is not None:
            return known
        else:
            made = self._new(asker, operation, at)
        asker.more[operation] = made
        return made

    def _new(self, asker: Asker, operation: str, at: int) -> Row:
        """What requests of this operation of this caller are charged to. Operations share a counter by its key."""
        whose, identity = asker.caller, asker.identity
        tier = identity.tier or self._policy.default_tier
        alike = tier, whose.tier, operation
        plan = self._alike.get(alike)
        if plan is not None and not identity.attributes:
            counters = tuple([_counter(whose, tariff.what, tariff) for tariff in plan.tariffs])
        else:
            charges = self._policy.charges(identity, operation)
            tariffs = [self._ledger.tariff(charge, at) for charge in charges]
            both = zip(charges, tariffs, strict=True)
            counters = tuple([_counter(whose, what(charge), tariff) for charge, tariff in both])
            plan = self._plan(operation, whose.tier, charges, tariffs)
            if tier in self._plain and not identity.attributes and not isinstance(operation, Routed):
                self._alike[alike] = plan
        for other in asker.rows:  # most operations are counted in the same: half of the memory is rows
            if other.counters == counters:
                counters = other.counters
        return Row(plan, counters)

    def _plan(self, operation: str, tier: str, charges: Sequence[Charge], tariffs: Sequence[Tariff]) -> Plan:
        same = operation, tier, *tariffs, *[charge.cost for charge in charges]
        plan = self._plans.get(same)
        if plan is None:
            numbered = [(number, charge) for number, charge in enumerate(charges) if charge.cost]
            slots = tuple([n for n, charge in numbered if isinstance(charge.limit.kind, Concurrency)])
            back = tuple([n for n, charge in numbered if n not in slots and conditional(charge.limit)])
            plan = self._plans[same] = Plan(operation, tier, charges, tariffs, slots=slots, back=back)
        return plan


def _plain(policy: Policy) -> frozenset[str]:
    """The tiers in which what a caller is charged to differs from others' in nothing but its name."""
    if policy.overrides:
        return frozenset()
    return frozenset(
        name
        for name, limits in policy.tiers.items()
        if all(limit.per == ("identity",) and limit.launch is None for limit in limits)
    )


def _counter(caller: Caller, name: str, tariff: Tariff) -> Counter:
    """The one of that key, of whatever tier. A dict of each caller would be a fifth of all memory."""
    if name.count(":") > 2:  # behind those of the limit and of its period
        caller.parted = caller.parted or {}
        if name not in caller.parted:
            caller.parted[name] = counter_of(tariff)
        return caller.parted[name]
    for counter in caller.counters:
        if counter.tariff.what == name:
            return counter
    made = counter_of(tariff)
    caller.counters += (made,)
    return made
