"""The limits of a tier by operation: which apply, at what cost, and the fixed parts of the names of their counters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ratelimit.keys import escaped, label_of, period_of, value_of
from ratelimit.model import Identity, Limit


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
        return key


@dataclass(frozen=True, slots=True)
class Tier:
    by_operation: Mapping[str, tuple[Counter, ...]]  # for each that a limit of the tier names
    others: tuple[Counter, ...]  # any other operation: users' own names are without number, and need no memory here


def compile_tier(name: str, limits: tuple[Limit, ...]) -> Tier:
    names = [limit.name for limit in limits]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f'the tier "{name}" has more than one limit named {listed(sorted(twice))}')
    operations = {operation for limit in limits for operation in _operations_of(limit)}
    return Tier({operation: _counters(limits, operation) for operation in operations}, _counters(limits, None))


def _operations_of(limit: Limit) -> frozenset[str]:
    costs = frozenset() if isinstance(limit.cost, int) else frozenset(limit.cost)
    return costs | (limit.operations or frozenset())


def _counters(limits: tuple[Limit, ...], operation: str | None) -> tuple[Counter, ...]:
    """The limits that apply to an operation; None is one that no limit names."""
    return tuple(
        Counter(
            limit,
            limit.cost if isinstance(limit.cost, int) else limit.cost.get(operation or "", 1),
            f":{escaped('limit', limit.name)}:{period_of(limit.kind)}",
            tuple((kind, label_of(kind)) for kind in limit.per if kind != "identity"),
        )
        for limit in limits
        if limit.mode != "off" and (limit.operations is None or operation in limit.operations)
    )


def listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
