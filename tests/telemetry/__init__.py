"""What a limiter tells those who watch it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ratelimit import RateLimitMiddleware
from ratelimit.telemetry.hook import Counts, Decided, Near

OF_ANA = ("basic", "detail_read")  # the tier and the operation of what tests ask for unless they say otherwise


class Told:
    """A telemetry that adds up what it is told."""

    def __init__(self) -> None:
        self.times = 0
        self.decisions: Counter[Decided] = Counter()
        self.near: Counter[Near] = Counter()
        self.shadow_denials: Counter[tuple[str, str]] = Counter()
        self.without_store: Counter[str] = Counter()
        self.slots_reclaimed: Counter[str] = Counter()
        self.beyond_max: Counter[str] = Counter()
        self.reloads: Counter[str] = Counter()
        self.store_seconds: list[float] = []
        self.stores_down = 0

    def count(self, counts: Counts) -> None:
        self.times += 1
        for name in (
            "decisions",
            "near",
            "shadow_denials",
            "without_store",
            "slots_reclaimed",
            "beyond_max",
            "reloads",
        ):
            getattr(self, name).update(getattr(counts, name))
        self.store_seconds += counts.store_seconds
        self.stores_down += counts.stores_down

    def outcomes(self, kind: str = "request") -> dict[tuple[str, str, str, str], int]:
        """How many, by operation, tier, limit and outcome."""
        return {tuple(one[1:]): count for one, count in self.decisions.items() if one.kind == kind}  # type: ignore[misc]


def told(limiter: RateLimitMiddleware) -> Told:
    """All that a limiter has told by now."""
    telling: Any = limiter._telling
    telling.close()
    telemetry: Told = telling._telemetry
    return telemetry
