"""Each limit of a call: what it allows this caller and why, in which counter, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ratelimit.explanation.words import amount, end, formula, matched, mode_of
from ratelimit.formula import Formula
from ratelimit.ground.words import listed
from ratelimit.model import FOREVER, Charge, Identity, Limit
from ratelimit.policy import Override, Policy
from ratelimit.policy.keys import value_of
from ratelimit.policy.overrides import Matched


@dataclass(frozen=True, slots=True)
class Explained:
    """`max` is what holds at the instant that was asked for, `later` what does from when on, in milliseconds. `without`
    is what the limit counts apart, and is not known of the caller: it is counted with all of whom that is so."""

    limit: Limit
    charge: Charge
    max: int
    allows: str  # "100/minute"
    why: str
    later: tuple[tuple[int, int], ...]
    mode: str
    without: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.charge.key


@dataclass(frozen=True, slots=True)
class NotCounted:
    """A limit of the caller's tier that this call does not reach."""

    name: str
    why: str


def explained(policy: Policy, identity: Identity, tier: str, charges: Sequence[Charge], at_ms: int) -> list[Explained]:
    """In the order of the charges, which are of the policy."""
    overrides = Matched(policy.overrides)(identity, tier)
    return [_explained(policy, identity, overrides, charge, at_ms) for charge in charges]


def not_counted(policy: Policy, tier: str, charges: Sequence[Charge], operation: str | None) -> list[NotCounted]:
    counted = {charge.limit.name for charge in charges}
    return [
        NotCounted(limit.name, _why_not(limit, operation))
        for limit in policy.tiers.get(tier, ())
        if limit.name not in counted
    ]


def _explained(
    policy: Policy, identity: Identity, overrides: Sequence[Override], charge: Charge, at_ms: int
) -> Explained:
    limit = charge.limit
    now, *later = [(until, most) for until, most in charge.maxes if until > at_ms] or [charge.maxes[-1]]
    since = [now[0], *[until for until, _ in later]]
    following = tuple((start, most) for start, (_, most) in zip(since, later, strict=False))
    own = next((one for one in overrides if limit.name in one.maxes and one.from_ms <= at_ms < one.until_ms), None)
    if own is None:
        why = _of_formula(limit, identity) or "as its tier has it"
    else:
        number = next(at for at, one in enumerate(policy.overrides) if one is own)
        instead = f"overrides[{number}], for {matched(own.match)}{end(own.until_ms)}"
        why = f"by {instead}, instead of {amount(limit)}"
    without = tuple([kind for kind in limit.per if kind != "identity" and value_of(identity, kind) is None])
    return Explained(limit, charge, now[1], amount(limit, now[1]), why, following, mode_of(charge, at_ms), without)


def _of_formula(limit: Limit, identity: Identity) -> str | None:
    """`300 * registers + 50, with registers = 3`"""
    if not isinstance(limit.max, Formula) or not limit.max.names:
        return None
    values = [f"{name} = {_value(identity, name)}" for name in sorted(limit.max.names)]
    return f"{formula(limit)}, with {listed(values)}"


def _value(identity: Identity, name: str) -> str:
    value = identity.attributes.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return "0, as it is missing" if value is None else "0, as it is no number"


def _why_not(limit: Limit, operation: str | None) -> str:
    if limit.mode == "off":
        return "off"
    if operation is None:
        return "the call is exempt"
    if limit.operations is None:  # as of an endpoint at which known callers are not charged
        return "known callers are not charged there"
    return f"counts {listed(sorted(limit.operations))}" if limit.operations else "charged by hand only"


def steps(explained: Explained) -> list[tuple[int, str]]:
    """What it will allow, from which instant on."""
    return [(since, amount(explained.limit, most)) for since, most in explained.later if since < FOREVER]
