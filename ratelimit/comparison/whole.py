"""Two policies, compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ratelimit.comparison.callers import Affected, affected, key_counts
from ratelimit.comparison.changes import Change
from ratelimit.comparison.limits import compare_tiers
from ratelimit.comparison.overrides import compare_overrides
from ratelimit.comparison.routes import compare_routes
from ratelimit.comparison.settings import compare_settings
from ratelimit.model import ANONYMOUS
from ratelimit.policy import Policy


@dataclass(frozen=True, slots=True)
class Comparison:
    """`changes` are those of the policy, `callers` for whom it comes to what. Both are empty where nothing changes."""

    changes: tuple[Change, ...]
    callers: tuple[Affected, ...]

    def __bool__(self) -> bool:
        return bool(self.changes or self.callers)


def compare(old: Policy, new: Policy, at_ms: int, app: Any = None) -> Comparison:
    """What changes where `new` takes the place of `old`, as of an instant in milliseconds since 1970.

    With `app` operations are compared route by route, else rule by rule. ValueError where the limits that its endpoints
    declare contradict one of the policies.
    """
    counts = key_counts(old, new)

    def who(tier: str) -> str:
        if tier == ANONYMOUS:
            return "anonymous callers"
        count = counts[tier]
        return f"tier {tier} ({count} key{'' if count == 1 else 's'})"

    changes = (
        *compare_tiers(old, new, who),
        *compare_overrides(old, new),
        *compare_routes(old, new, app),
        *compare_settings(old, new),
    )
    return Comparison(changes, affected(old, new, at_ms))
