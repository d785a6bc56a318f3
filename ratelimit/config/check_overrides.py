"""Whether an override can do what it says: whom it matches, and which limits of which tiers it changes."""

from __future__ import annotations

from collections.abc import Iterator

from ratelimit.config.amounts import Amount
from ratelimit.config.check_limits import KINDS, lacking, limits_of, written_limits
from ratelimit.config.fields import client_ip
from ratelimit.config.grammar import MATCHED, KeyTable, LimitTable, OverrideTable
from ratelimit.config.messages import Path, Problem, place
from ratelimit.config.valid import Valid
from ratelimit.config.words import listed, one_of, shown


def check_overrides(valid: Valid) -> Iterator[Problem]:
    for path, override in valid.numbered(("overrides",), valid.file.overrides):
        yield from _check_match(valid, path, override)
        for name, amount in override.limits.items():
            where = (*path, "limits", name)
            yield from _check_name(valid, where, name, override)
            yield from _check_kind(valid, where, name, amount, override)
            yield from _check_attributes(valid, where, amount, override)


def _check_match(valid: Valid, path: Path, override: OverrideTable) -> Iterator[Problem]:
    if valid.given(path).isdisjoint(MATCHED):
        yield Problem(path, f"is for nobody; write one or more of {listed(MATCHED)}")
    if override.ip is not None:
        try:
            client_ip(override.ip, valid.file.identity.ipv6_prefix)
        except ValueError as error:
            yield Problem((*path, "ip"), str(error))


def _check_name(valid: Valid, where: Path, name: str, override: OverrideTable) -> Iterator[Problem]:
    tiers = [override.tier] if override.tier is not None else list(valid.given(("tiers",)))
    if not valid.file.tiers.keys() >= set(tiers):
        return  # one that can't be read, or is not there at all, is a problem of its own
    names = {str(limit.get("name")) for tier in tiers for limit in written_limits(valid, tier)}
    if name not in names:
        who = f"the tier {shown(override.tier)} has no such limit" if override.tier else "no tier has such a limit"
        yield Problem(where, f"{who}{one_of(name, names)}")


def _check_kind(valid: Valid, where: Path, name: str, amount: Amount, override: OverrideTable) -> Iterator[Problem]:
    for path, limit in limits_of(valid):
        if limit.name != name or override.tier not in (None, path[1]):
            continue
        kinds = {kind: getattr(limit, kind) for kind in valid.given(path).intersection(KINDS)}
        if len(kinds) == 1 and not _fits(amount, limit):
            [(kind, own)] = kinds.items()
            change = "an override changes the max alone, not the kind or the period"
            advice = "write it like that one, or add the tier that it is for"
            like = f"{place(path)}, {kind} = {shown(own.written)}"
            yield Problem(where, f"{shown(amount.written)} does not fit {like}; {change}: {advice}")
            return  # the first of several tiers says enough


def _fits(amount: Amount, limit: LimitTable) -> bool:
    """Whether an amount is of a limit's kind and period; a limit whose own amount can't be read takes any."""
    if limit.rate is not None:
        return amount.window_ms == limit.rate.window_ms
    if limit.quota is not None:
        return amount.period == limit.quota.period
    return limit.concurrency is None or (amount.window_ms is None and amount.period is None)


def _check_attributes(valid: Valid, where: Path, amount: Amount, override: OverrideTable) -> Iterator[Problem]:
    path, name = where[:2], where[-1]
    if not amount.max.names or any(dropped[:2] == path for dropped in valid.dropped):
        return  # a constant, or an override of which it can't be said whom it matches
    tiers = {limit_path[1] for limit_path, limit in limits_of(valid) if limit.name == name}
    for key_path, key in valid.numbered(("keys",), valid.file.keys):
        tier = key.tier or valid.file.identity.default_tier
        if tier in tiers and _matches(override, key, tier):
            for attribute in lacking(valid, key_path, key, amount):
                needs = f"needs the whole number {attribute}, which {place((*key_path, 'attributes'))} does not have"
                yield Problem(where, f"{shown(amount.written)} {needs}")


def _matches(override: OverrideTable, key: KeyTable, tier: str | None) -> bool:
    """Whether a caller with this key is one whom an override is for, from whatever address."""
    has = {
        "organization": key.organization,
        "user": key.user,
        "api_key": key.sha256,
        "application": key.application,
        "tier": tier,
    }
    return all(getattr(override, kind) in (None, name) for kind, name in has.items()) and (
        override.attributes.items() <= key.attributes.items()
    )
