"""The limits of a tier by operation: which apply, at what cost, and the fixed parts of the names of their counters.
And which tier counts for a caller of one that is not there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from time import monotonic

from ratelimit.ground.printable import in_a_line
from ratelimit.ground.words import fields
from ratelimit.model import ANONYMOUS, FOREVER, Concurrency, Identity, Limit, Readings
from ratelimit.policy.keys import caller, ended, escaped, label_of, period_of, value_of
from ratelimit.routes.routed import Routed

logger = logging.getLogger("ratelimit")

TOLD_EVERY = 60.0  # seconds between two lines about tiers that a policy does not have


@dataclass(frozen=True, slots=True)
class Counter:
    """A limit as it applies to one kind of operation. Its key: the root, `suffix`, then label and name of each part."""

    limit: Limit
    cost: int
    suffix: str  # ":requests:60000/60"
    parts: tuple[tuple[str, str], ...]  # (("user", ":user="), ("store", ":@store="))

    def key(self, root: str, root_kind: str, identity: Identity) -> str:
        key = root + self.suffix
        for kind, label in self.parts:
            if kind != root_kind and (name := value_of(identity, kind)) is not None:
                key += label + escaped(kind, str(name))
        return ended(key) if self.parts else key


@dataclass(frozen=True, slots=True)
class Tier:
    names: tuple[str, ...]  # of its limits
    by_operation: Mapping[str, tuple[Counter, ...]]  # for each that a limit of the tier names
    others: tuple[Counter, ...]  # any other operation: users' own names are without number, and need no memory here
    by_name: Mapping[str, Counter]  # for what is charged by hand: one unit each, but of those that are off

    def counters(self, operations: Sequence[str]) -> tuple[Counter, ...]:
        """The limits that any of the operations reaches, each at its highest cost, in the order of the tier."""
        reached = [self.by_operation.get(operation, self.others) for operation in operations]
        if len(reached) == 1:
            return reached[0]
        highest: dict[str, Counter] = {}
        for counter in chain.from_iterable(reached):
            name = counter.limit.name
            if name not in highest or counter.cost > highest[name].cost:
                highest[name] = counter
        return tuple(highest[name] for name in self.names if name in highest)


def compile_tier(name: str, limits: tuple[Limit, ...]) -> Tier:
    names = [limit.name for limit in limits]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f'the tier "{name}" has more than one limit named {listed(sorted(twice))}')
    operations = {operation for limit in limits for operation in _operations_of(limit)}
    return Tier(
        tuple(names),
        {operation: _counters(limits, operation) for operation in operations},
        _counters(limits, None),
        {limit.name: _counter(limit, 1) for limit in limits if limit.mode != "off"},
    )


def _operations_of(limit: Limit) -> frozenset[str]:
    costs = frozenset() if isinstance(limit.cost, int) else frozenset(limit.cost)
    return costs | (limit.operations or frozenset())


def _counters(limits: tuple[Limit, ...], operation: str | None) -> tuple[Counter, ...]:
    """The limits that apply to an operation; None is one that no limit names."""
    return tuple(
        _counter(limit, limit.cost if isinstance(limit.cost, int) else limit.cost.get(operation or "", 1))
        for limit in limits
        if limit.mode != "off" and (limit.operations is None or operation in limit.operations)
    )


def _counter(limit: Limit, cost: int) -> Counter:
    return Counter(
        limit,
        cost,
        f":{escaped('limit', limit.name)}:{period_of(limit.kind)}",
        tuple((kind, label_of(kind)) for kind in limit.per if kind != "identity"),
    )


def counters_of(tier: Tier, operation: str) -> tuple[Counter, ...]:
    """What an operation reaches in a tier; then the limits that its endpoint declares, and its units times the cost."""
    counters = tier.counters(operation.operations if isinstance(operation, Readings) else (operation,))
    if not isinstance(operation, Routed):
        return counters
    counters += _counters(operation.limits, None)
    units = operation.units
    return counters if units == 1 else tuple([_times(counter, units) for counter in counters])


def _times(counter: Counter, units: int) -> Counter:
    limit = counter.limit
    if isinstance(limit.kind, Concurrency) or limit.counts == "requests":
        return counter
    return replace(counter, cost=min(counter.cost * units, FOREVER))


class Instead:
    """Of one policy: what counts for a tier that it does not have, as in a rolling deploy. Nothing is unlimited by
    accident, and nobody gets an error for it."""

    def __init__(self, tiers: tuple[str, ...], default: str | None) -> None:
        self._tiers = tiers
        self._tier = default if default is not None else ANONYMOUS if ANONYMOUS in tiers else None
        self._told_at = float("-inf")

    def of(self, identity: Identity) -> Identity:
        """As of the default tier, else of "anonymous": told once a minute. LookupError where there is neither, or where
        the identity names no tier at all, which is the app's own mistake."""
        if identity.tier is None or self._tier is None:
            raise LookupError(self._missing(identity))
        now = monotonic()
        if now - self._told_at >= TOLD_EVERY:
            self._told_at = now
            what = '%s; until it does, "%s" counts instead'
            extra = fields("unknown_tier", tier=in_a_line(identity.tier), caller=caller(identity))
            logger.warning(what, self._missing(identity), self._tier, extra=extra)
        *names, _, attributes = identity
        return Identity.of_checked((*names, self._tier, attributes))

    def _missing(self, identity: Identity) -> str:
        has = f"it has {listed(self._tiers)}"
        if identity.tier is not None:
            what = f'is of the tier "{in_a_line(identity.tier)}", which the policy does not have'
            return f"{caller(identity)} {what}; {has}"
        return (
            f"{caller(identity)} names no tier and the policy has no default_tier; let identify name one of the"
            f" policy's tiers, or set default_tier; {has}"
        )


def listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
