"""Whether an override can do what it says: whom it matches, and which limits of which tiers it changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from ratelimit.config.checks.callers import Callers
from ratelimit.config.checks.costs import Limits, check_cost_under
from ratelimit.config.checks.limits import KINDS, lacking, limits_of, written_limits
from ratelimit.config.grammar.amounts import Amount
from ratelimit.config.grammar.fields import client_ip
from ratelimit.config.grammar.messages import Path, Problem, place
from ratelimit.config.grammar.tables import MATCHED, LimitTable, OverrideTable
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.words import did_you_mean, listed, one_of, shown
from ratelimit.model import ANONYMOUS


def check_overrides(valid: Valid) -> Iterator[Problem]:
    """What all of them need is looked up once: there may be thousands."""
    names = _Names(valid)
    callers = Callers(valid)
    limits: defaultdict[str, list[tuple[Path, LimitTable]]] = defaultdict(list)
    for path, limit in limits_of(valid):
        limits[limit.name].append((path, limit))
    in_part = {dropped[:2] for dropped in valid.dropped}
    for path, override in valid.numbered(("overrides",), valid.file.overrides):
        yield from _check_match(valid, path, override)
        yield from _check_times(valid, path, override)
        written = valid.at((*path, "limits"))
        for name, amount in override.limits.items():
            where = (*path, "limits", written.index(name) if isinstance(written, list) else name)
            changed = [(at, limit) for at, limit in limits.get(name, ()) if override.tier in (None, at[1])]
            yield from _check_name(names, where, name, override)
            if amount is None:
                continue
            yield from _check_kind(valid, where, amount, changed)
            if path not in in_part:  # of one that is read in part it can't be said whom it matches
                yield from _check_attributes(valid, where, amount, override, changed, callers)
                yield from check_cost_under(where, amount, _met(changed, override, callers))


class _Names:
    """The names of limits, of each tier and of all; None of a tier that can't be read: that is a problem of its own."""

    def __init__(self, valid: Valid) -> None:
        self._of = {tier: _names_of(valid, tier) for tier in valid.file.tiers}
        readable = valid.given(("tiers",)) <= self._of.keys()
        self._of_all = set().union(*self._of.values()) if readable else None

    def may_be_declared(self, name: str) -> bool:
        """Whether it is like no name that the file has: an endpoint may declare such a limit, and whether one does is
        known when the routes are read."""
        return self._of_all is not None and name not in self._of_all and not did_you_mean(name, self._of_all)

    def of(self, tier: str | None) -> Collection[str] | None:
        return self._of_all if tier is None else self._of.get(tier)


def _names_of(valid: Valid, tier: str) -> set[str]:
    return {str(limit.get("name")) for limit in written_limits(valid, tier)}


def _check_match(valid: Valid, path: Path, override: OverrideTable) -> Iterator[Problem]:
    if valid.given(path).isdisjoint(MATCHED):
        yield Problem(path, f"is for nobody; write one or more of {listed(MATCHED)}")
    if override.ip is not None:
        try:
            client_ip(override.ip, valid.file.identity.ipv6_prefix)
        except ValueError as error:
            yield Problem((*path, "ip"), str(error))


def _check_times(valid: Valid, path: Path, override: OverrideTable) -> Iterator[Problem]:
    if override.starts is not None and override.until is not None and override.starts >= override.until:
        yield Problem((*path, "from"), f"{shown(override.starts)} is not before until, so that it never holds")
    if None in override.limits.values() and "mode" not in valid.given(path):
        yield Problem((*path, "limits"), "names limits and no max of them; write mode there too, or a table of maxes")


def _check_name(names: _Names, where: Path, name: str, override: OverrideTable) -> Iterator[Problem]:
    known = names.of(override.tier)
    if known is not None and name not in known and not names.may_be_declared(name):
        who = f"the tier {shown(override.tier)} has no such limit" if override.tier else "no tier has such a limit"
        yield Problem(where, f"{who}{one_of(name, known)}")


def _check_kind(valid: Valid, where: Path, amount: Amount, limits: Limits) -> Iterator[Problem]:
    for path, limit in limits:
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


def _check_attributes(
    valid: Valid, where: Path, amount: Amount, override: OverrideTable, limits: Limits, callers: Callers
) -> Iterator[Problem]:
    if not amount.max.names:
        return
    tiers = {path[1] for path, _ in limits}
    for key_path, key, tier in callers.matched(override):
        if tier in tiers:
            for attribute in lacking(valid, key_path, key, amount):
                needs = f"needs the whole number {attribute}, which {place((*key_path, 'attributes'))} does not have"
                yield Problem(where, f"{shown(amount.written)} {needs}")


def _met(limits: Limits, override: OverrideTable, callers: Callers) -> Limits:
    """Those of the limits that callers whom the override is for can have: by the tiers of the keys that it matches;
    where there are none in the file, of any tier, but callers without a known key have nothing but an address."""
    if override.tier is not None:
        return limits
    tiers = {tier for _, _, tier in callers.matched(override)}
    if tiers and override.ip is None:
        return [(path, limit) for path, limit in limits if path[1] in tiers]
    by_address = override.model_fields_set.isdisjoint({*MATCHED} - {"ip"})
    return [(path, limit) for path, limit in limits if by_address or path[1] != ANONYMOUS]
