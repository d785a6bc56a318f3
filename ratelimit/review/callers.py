"""What depends on who calls: an override that is over, a counter that two tiers share, a name that anybody can type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from ratelimit.config.build import identity_of
from ratelimit.config.checks.limits import limits_of
from ratelimit.config.grammar.launches import milliseconds
from ratelimit.config.grammar.messages import Path, place
from ratelimit.config.grammar.tables import LimitTable
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.times import instant
from ratelimit.ground.words import listed, shown
from ratelimit.model import IDENTITY_KINDS, Charge, Identity
from ratelimit.policy import Policy
from ratelimit.review.findings import Odd

SOON_MS = 7 * 86_400_000
UNPROVEN = frozenset({"401", "4xx"})  # statuses of requests whose caller has proven nothing


def ending(valid: Valid, now: int) -> Iterator[Odd]:
    for path, override in valid.numbered(("overrides",), valid.file.overrides):
        if override.until is None:
            continue
        until = milliseconds(override.until)
        left, when = until - now, instant(until)
        if left <= 0:
            yield Odd(
                (*path, "until"), "override-ended", f"ended at {when} and changes nothing any more", "take it out"
            )
        elif left <= SOON_MS:
            sentence = f"ends at {when}, in {_in_words(left)}: its callers fall back to what they had before"
            yield Odd((*path, "until"), "override-ends-soon", sentence, "write a later until if it is to go on")


def _in_words(left: int) -> str:
    hours = left // 3_600_000
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours >= 2 else "less than two hours"


def shared(valid: Valid, policy: Policy) -> Iterator[Odd]:
    """Keys of one root in two tiers, whose limits of one name are one counter with two maxes."""
    roots: defaultdict[tuple[str, str], dict[str | None, tuple[Path, Identity]]] = defaultdict(dict)
    for path, key in valid.numbered(("keys",), valid.file.keys):
        identity = identity_of(key)
        roots[identity.root].setdefault(key.tier or policy.default_tier, (path, identity))
    told = set()
    for (kind, name), by_tier in roots.items():
        for (one, (_, first)), (two, (path, second)) in combinations(by_tier.items(), 2):
            for mine, theirs in _alike(policy, first, second):
                if (one, two, mine.limit.name) in told:
                    continue  # thousands of organizations may have it in common
                told.add((one, two, mine.limit.name))
                tiers = f"{place(('tiers', str(one)))} and {place(('tiers', str(two)))}"
                how = "in two ways"
                if mine.maxes != theirs.maxes:
                    how = f"against two maxes, {mine.maxes[-1][1]} and {theirs.maxes[-1][1]}"
                one_counter = f"whose limits {shown(mine.limit.name)} are one counter that counts {how}"
                sentence = (
                    f"{kind} {shown(name)} has keys in {tiers}, {one_counter}: what one key uses, the other lacks"
                )
                yield Odd((*path, "tier"), "counter-shared", sentence, "give them one tier, or the limits two names")


def unlike(valid: Valid, policy: Policy) -> Iterator[Odd]:
    """Keys of one root and one tier, whose attributes come to two maxes of one counter."""
    firsts: dict[tuple[tuple[str, str], str | None], Identity] = {}
    told = set()
    for path, key in valid.numbered(("keys",), valid.file.keys):
        identity = identity_of(key)
        tier = key.tier or policy.default_tier
        first = firsts.setdefault((identity.root, tier), identity)
        if first.attributes == identity.attributes:
            continue
        for charge, _ in _alike(policy, first, identity):
            limit = charge.limit
            one, two = limit.max(first.attributes), limit.max(identity.attributes)
            if one == two or (tier, limit.name) in told:
                continue  # overrides may say who has less of what is counted together
            told.add((tier, limit.name))
            kind, name = identity.root
            sentence = (
                f"{kind} {shown(name)} has keys with other attributes, whose limit {shown(limit.name)} is one counter"
                f" that counts against two maxes, {one} and {two}: what one key uses, the other lacks"
            )
            yield Odd((*path, "attributes"), "counter-shared", sentence, "give them the same attributes")


def _alike(policy: Policy, first: Identity, second: Identity) -> Iterator[tuple[Charge, Charge]]:
    """What counts in one counter, and not in one way."""
    counters = {charge.key: charge for charge in _all(policy, first)}
    for charge in _all(policy, second):
        other = counters.get(charge.key)
        if other is not None and _ways(other) != _ways(charge):
            yield other, charge


def _all(policy: Policy, identity: Identity) -> tuple[Charge, ...]:
    return policy.named(identity, policy.limits_of(identity))


def _ways(charge: Charge) -> tuple[object, ...]:
    limit = charge.limit
    return charge.maxes, limit.operations, limit.cost, limit.counts, limit.charge_on, limit.refund_on


def typed(valid: Valid) -> Iterator[Odd]:
    """A limit on failed attempts that is counted by nothing but a name in the attempt."""
    failed = [(path, limit) for path, limit in limits_of(valid) if _is_of_failures(limit)]
    by_address = {path[1] for path, limit in failed if "ip" in limit.per}
    for path, limit in failed:
        names = [part for part in limit.per if part != "identity"]
        if not names or "api_key" in names or path[1] in by_address or _known(valid, str(path[1]), names):
            continue
        sentence = (
            f"{shown(limit.name)} counts failed attempts by {listed(names)} alone, which is what callers type: who"
            " tries in another's name locks them out, and each new name is a new allowance"
        )
        hint = f'write per = [{listed(map(shown, [*names, "ip"]))}], or a second limit with per = "ip"'
        yield Odd((*path, "per"), "charge-on-typed-name", sentence, hint)


def _is_of_failures(limit: LimitTable) -> bool:
    return limit.mode != "off" and not UNPROVEN.isdisjoint(limit.charge_on or ())


def _known(valid: Valid, tier: str, names: list[str]) -> bool:
    """Whether a key of the tier says one of them: then its caller has proven it."""
    keys = [key for key in valid.file.keys if (key.tier or valid.file.identity.default_tier) == tier]
    return any(
        (getattr(key, name) if name in IDENTITY_KINDS else key.attributes.get(name)) for key in keys for name in names
    )
