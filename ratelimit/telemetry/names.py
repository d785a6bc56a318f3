"""By which names a decision is counted: those of the policy, so that there are no more than it has."""

from __future__ import annotations

from ratelimit.model import ANONYMOUS, Decision, Readings
from ratelimit.policy import Policy
from ratelimit.telemetry.hook import OTHER, SEVERAL, Decided, Kind


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
