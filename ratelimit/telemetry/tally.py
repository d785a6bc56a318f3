"""From decisions to what they are counted as, by the names that the policy has, so that there are no more than those.

In batches, where that runs hot: at once it would cost a request twice as much.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ratelimit.model import ANONYMOUS, Decision, Identity, LimitSet, Readings
from ratelimit.policy import Policy
from ratelimit.telemetry.hook import OTHER, SEVERAL, THRESHOLDS, Decided, Kind, Near

HUNDREDTHS = tuple([(threshold, round(100 * threshold)) for threshold in THRESHOLDS])  # no float loses a unit
LOWEST = min([hundredths for _, hundredths in HUNDREDTHS])

Entries = Iterable[tuple[str, Identity, Decision]]  # of requests: the operation, who asks, what was decided


class Names:
    """Of one policy."""

    def __init__(self, policy: Policy) -> None:
        self._operations = policy._operations.names
        self._tiers = {name: name for name in policy.tiers}
        self._default = policy.default_tier or (ANONYMOUS if ANONYMOUS in policy.tiers else OTHER)

    def operation(self, operation: str) -> str:
        if isinstance(operation, Readings):
            if len(operation.operations) > 1:
                return SEVERAL
            operation = operation.operations[0]
        return operation if operation in self._operations else OTHER

    def tier(self, tier: str | None) -> str:
        """The tier that counts for who is of this one: of one that is not there the default."""
        return self._default if tier is None else self._tiers.get(tier, self._default)

    def decided(self, kind: Kind, operation: str, tier: str | None, decision: Decision) -> Decided:
        name, of = self.operation(operation), self.tier(tier)
        if decision.unavailable:
            denying = None if decision.allowed else decision.denying
            return Decided(kind, name, of, denying.limit.name if denying else "", "degraded")
        if not decision.allowed:
            denying = decision.denying
            return Decided(kind, name, of, denying.limit.name if denying else "", "denied")
        shadows = [state for state in decision.states if state.exceeded] if decision.exceeded else []
        if shadows:
            return Decided(kind, name, of, max(shadows, key=lambda s: s.wait).limit.name, "shadow")
        return Decided(kind, name, of, "", "allowed")


class Tally:
    """Of one batch."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.decisions: Counter[Decided] = Counter()
        self.near: Counter[Near] = Counter()
        self.shadow_denials: Counter[tuple[str, str]] = Counter()
        self.without_store: Counter[str] = Counter()

    def requests(self, entries: Entries) -> None:
        alike: defaultdict[tuple[str, str | None, LimitSet], list[Sequence[int]]] = defaultdict(list)
        for operation, identity, decision in entries:
            numbers = decision.numbers
            if numbers is None:
                self.one(self._names.decided("request", operation, identity.tier, decision), decision)
            else:
                alike[operation, identity.tier, numbers[1]].append(numbers[2])
        for (operation, tier, limits), used in alike.items():
            name, of = self._names.operation(operation), self._names.tier(tier)
            self.decisions[Decided("request", name, of, "", "allowed")] += len(used)
            for limit, most, cost, now in zip(
                limits.limits, limits.maxes, limits.costs, zip(*used, strict=True), strict=True
            ):
                if cost and 100 * max(now) >= LOWEST * most:
                    for one in now:
                        self._near_one(of, limit.name, most, one)

    def one(self, decided: Decided, decision: Decision) -> None:
        """One that there may be something to say of."""
        self.decisions[decided] += 1
        if decision.unavailable:
            verdict = "local" if decision.states else "allowed" if decision.allowed else "refused"
            self.without_store[verdict] += 1
        elif decision.allowed:
            for state in decision.states:
                if state.exceeded:
                    self.shadow_denials[decided.tier, state.limit.name] += 1
                elif state.charge.cost:
                    self._near_one(decided.tier, state.limit.name, state.max, state.used)

    def _near_one(self, tier: str, limit: str, most: int, used: int) -> None:
        for threshold, hundredths in HUNDREDTHS:
            if most and 100 * used >= hundredths * most:
                self.near[Near(tier, limit, threshold)] += 1
