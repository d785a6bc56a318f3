"""From decisions to Counts: in batches, where that runs hot. At once it would cost a request twice as much."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ratelimit.model import Decision, Identity, LimitSet
from ratelimit.telemetry.hook import THRESHOLDS, Decided, Near
from ratelimit.telemetry.names import Names

HUNDREDTHS = tuple([(threshold, round(100 * threshold)) for threshold in THRESHOLDS])  # no float loses a unit
LOWEST = min([hundredths for _, hundredths in HUNDREDTHS])

Entries = Iterable[tuple[str, Identity, Decision]]  # of requests: the operation, who asks, what was decided


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
