"""One call, explained: who, what, and each limit with its counter. Nothing is asked of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ratelimit.explanation.caller import Caller
from ratelimit.explanation.limits import Explained, NotCounted, explained, not_counted
from ratelimit.explanation.operation import Classified, classified
from ratelimit.model import Charge
from ratelimit.policy import Policy


@dataclass(frozen=True, slots=True)
class Explanation:
    caller: Caller
    call: Classified
    limits: tuple[Explained, ...]
    others: tuple[NotCounted, ...]  # of the caller's tier, which this call does not reach
    at_ms: int

    @property
    def charges(self) -> tuple[Charge, ...]:
        return tuple([one.charge for one in self.limits])


def explain(policy: Policy, caller: Caller, method: str, path: str, at_ms: int, app: Any = None) -> Explanation:
    """As of an instant, in milliseconds since 1970. `app` is the one whose routes and endpoints are known."""
    call = classified(policy, method, path, app)
    charges = () if call.charged_as is None else policy.charges(caller.identity, call.charged_as)
    limits = tuple(explained(policy, caller.identity, caller.tier, charges, at_ms))
    others = tuple(not_counted(policy, caller.tier, charges, call.operation))
    return Explanation(caller, call, limits, others, at_ms)


def of_tier(policy: Policy, caller: Caller, at_ms: int) -> tuple[Explained, ...]:
    """All limits of a caller, whatever it calls, but those that are off."""
    charges = policy.named(caller.identity, policy.limits_of(caller.identity))
    return tuple(explained(policy, caller.identity, caller.tier, charges, at_ms))
