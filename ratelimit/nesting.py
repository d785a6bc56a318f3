"""Several policies on one request: which apply already, and counters of their own for the inner ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratelimit.ground.memo import Recent
from ratelimit.model import Admitting, Charge
from ratelimit.policy import Policy
from ratelimit.policy.keys import marked, period_of
from ratelimit.stores.memory import MemoryStore

Charges = tuple[Charge, ...]
Name = tuple[str, str]  # of a limit, and what it counts in

WAYS = 64  # in which a policy lies within others: one a mount


class Level:
    """A policy and where it counts. A scope carries those of the middlewares that its request came through, the
    outermost first: copies of the scope have them too."""

    __slots__ = ("_file", "_names", "_policy", "_where", "_within")

    def __init__(self, policy: Policy, store: Admitting, file: object = None) -> None:
        self._policy = policy
        self._file = file  # a watched one: of a request that is on its way, an outer policy may be of before an edit
        # Counters with the same key are different ones in another memory, or under another prefix.
        self._where: object = store if isinstance(store, MemoryStore) else getattr(store, "prefix", None)
        limits = [limit for tier in policy.tiers.values() for limit in tier]
        self._names = {(limit.name, period_of(limit.kind)) for limit in limits if limit.mode != "off"}
        self._within: Recent[tuple[Level, ...], _Within] = Recent(WAYS)

    def is_among(self, outer: Sequence[Level]) -> bool:
        """Whether this policy limits the request already: mounted twice, it would charge twice."""
        own, origin, file = self._policy, self._policy.origin, self._file
        return any(
            level._policy is own or (origin and level._policy.origin == origin) or (file and level._file is file)
            for level in outer
        )

    def own(self, charges: Charges, outer: tuple[Level, ...]) -> Charges:
        """The charges with counters of this policy's own, where an outer one has a limit of the same name and period:
        no request is counted twice in one counter. The same tuple again for the same.

        It goes by what the outer policies have, not by what they charge this request: otherwise a caller would use one
        counter for the operations that they limit, another for the rest, and have the max of this policy twice.
        """
        within = self._within.get(outer)
        if within is None:
            within = _Within(self._numbers(outer))
            self._within.put(outer, within)
        return within.own(charges) if within.numbers else charges

    def _numbers(self, outer: Sequence[Level]) -> dict[Name, int]:
        """By name of a limit, which of the policies that have it this one is, where it may share counters with one."""
        having = {name: [level for level in outer if name in level._names] for name in self._names}
        return {
            name: len(levels) + 1
            for name, levels in having.items()
            if any(level._where is None or self._where is None or level._where == self._where for level in levels)
        }


class _Within:
    """A policy as it lies within certain others."""

    def __init__(self, numbers: Mapping[Name, int]) -> None:
        self.numbers = numbers
        # The entry holds the charges, so that their id is not another's meanwhile.
        self._recent: Recent[int, tuple[Charges, Charges]] = Recent()

    def own(self, charges: Charges) -> Charges:
        known = self._recent.get(id(charges))
        if known is None:
            own = tuple(self._own(charge) for charge in charges)
            known = charges, charges if own == charges else own
            self._recent.put(id(charges), known)
        return known[1]

    def _own(self, charge: Charge) -> Charge:
        number = self.numbers.get((charge.limit.name, period_of(charge.limit.kind)))
        if number is None:
            return charge
        return Charge(charge.limit, marked(charge.key, number), charge.cost, charge.maxes, charge.stages)
