"""For whom: known callers, and anonymous ones, in groups for which the same changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ratelimit.comparison.changes import Effect, effect_of
from ratelimit.explanation.words import amount, mode_of
from ratelimit.identity import IdentifyByApiKey
from ratelimit.model import ANONYMOUS, Identity
from ratelimit.policy import Policy
from ratelimit.policy.keys import caller

SOMEWHERE = "192.0.2.1"  # for limits per ip: the same before and after
NAMED = 5  # callers of a group


@dataclass(frozen=True, slots=True)
class Differs:
    """What one limit allows a caller before and after, None where it does not count; `anew`: its counter is another."""

    limit: str
    effect: Effect
    before: str | None
    after: str | None
    anew: bool


@dataclass(frozen=True, slots=True)
class Affected:
    """`tiers` are those before and after, None where there was no such key, or is none any more."""

    tiers: tuple[str | None, str | None]
    limits: tuple[Differs, ...]
    callers: tuple[str, ...]  # the first of them
    count: int


_Has = Mapping[str, tuple[int, str, str]]  # by limit: its max, in words, its counter


def affected(old: Policy, new: Policy, at_ms: int) -> tuple[Affected, ...]:
    """Known callers are the API keys of both; what overrides say is that of an instant, in milliseconds since 1970."""
    groups: dict[tuple[tuple[str | None, str | None], tuple[Differs, ...]], list[str]] = {}
    olds, news = _keys(old), _keys(new)
    for digest in dict.fromkeys([*olds, *news]):
        before, after = olds.get(digest), news.get(digest)
        one, other = _has(old, before, at_ms), _has(new, after, at_ms)
        tiers = _tier(old, before), _tier(new, after)
        limits = _differs(one, other)
        if limits or tiers[0] != tiers[1]:
            roots = dict.fromkeys(caller(who) for who in (before, after) if who is not None)
            groups.setdefault((tiers, limits), []).append(f"{' → '.join(roots)} (key {digest[:8]}…)")
    anonymous = Identity(ip=SOMEWHERE, tier=ANONYMOUS)
    limits = _differs(_has(old, anonymous, at_ms), _has(new, anonymous, at_ms))
    found = [Affected(tiers, limits, tuple(names[:NAMED]), len(names)) for (tiers, limits), names in groups.items()]
    if limits:
        found.append(Affected((ANONYMOUS, ANONYMOUS), limits, ("callers without a known API key",), 1))
    return tuple(found)


def key_counts(old: Policy, new: Policy) -> Counter[str | None]:
    """How many API keys are of each tier, before or after."""
    return Counter(tier for _, tier in {(key, _tier(of, one)) for of in (old, new) for key, one in _keys(of).items()})


def _keys(policy: Policy) -> dict[str, Identity]:
    if not isinstance(policy.identify, IdentifyByApiKey):
        return {}
    return {
        digest.lower(): identity._replace(api_key=digest.lower(), ip=SOMEWHERE)
        for digest, identity in policy.identify.keys.items()
    }


def _tier(policy: Policy, identity: Identity | None) -> str | None:
    return None if identity is None else policy.wait_of(identity)[0]


def _has(policy: Policy, identity: Identity | None, at_ms: int) -> _Has:
    """What counts for a caller: where its key is not there, nothing that it is known by."""
    if identity is None:
        return {}
    charges = policy.named(identity, policy.limits_of(identity))
    found = {}
    for charge in charges:
        most = next(most for until, most in charge.maxes if until > at_ms)
        now = mode_of(charge, at_ms)
        words = amount(charge.limit, most) + ("" if now == "enforced" else f" {now}")
        found[charge.limit.name] = most, words, charge.key
    return found


def _differs(one: _Has, other: _Has) -> tuple[Differs, ...]:
    found = []
    for name in dict.fromkeys([*one, *other]):
        most, before, key = one.get(name, (None, None, None))
        more, after, counter = other.get(name, (None, None, None))
        if before != after or key != counter:
            effect = effect_of(most, more) if most != more else "changed"
            if key != counter and key and counter:
                effect = "changed"
            found.append(Differs(name, effect, before, after, key is not None and counter not in {None, key}))
    return tuple(found)
