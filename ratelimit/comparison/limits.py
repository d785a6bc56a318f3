"""Tiers and their limits: what they allow now and then, and which counters begin at 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ratelimit.comparison.changes import Change, differing, effect_of, number, said
from ratelimit.explanation.words import amount, formula
from ratelimit.ground.times import instant, length
from ratelimit.model import Concurrency, Limit, Quota, Rate
from ratelimit.policy import Policy
from ratelimit.policy.keys import period_of

Who = Callable[[str], str]  # of a tier, for people
_OWN = frozenset({"name", "kind", "max"})
_ANEW = "its counters begin at 0, as that is in their names"


def compare_tiers(old: Policy, new: Policy, who: Who) -> Iterator[Change]:
    for tier in dict.fromkeys([*old.tiers, *new.tiers]):
        where = f"tiers.{tier}"
        before, after = old.tiers.get(tier), new.tiers.get(tier)
        if before is None or after is None:
            effect = effect_of(before, after)
            limits = ", ".join(map(_told, before or after or ())) or "no limits"
            gone = "; who is of it counts by the default tier, else as anonymous" if after is None else ""
            sentence = f"the tier {tier} is {effect}: {limits}{gone}"
            yield Change("tier", where, who(tier), effect, *_sides(before, after, limits), sentence)
        else:
            yield from _compare_limits(where, who(tier), before, after)


def _sides(before: object, after: object, text: str) -> tuple[str | None, str | None]:
    return None if before is None else text, None if after is None else text


def _compare_limits(where: str, who: str, before: tuple[Limit, ...], after: tuple[Limit, ...]) -> Iterator[Change]:
    olds, news = {limit.name: limit for limit in before}, {limit.name: limit for limit in after}
    gone = [limit for limit in before if limit.name not in news]
    come = [limit for limit in after if limit.name not in olds]
    for limit in list(gone):
        twin = next((other for other in come if not differing(limit, other, frozenset({"name", "max"}))), None)
        if twin is not None:
            gone.remove(limit)
            come.remove(twin)
            sentence = f"{who}: {limit.name} is called {twin.name} now: {_ANEW}"
            yield Change(
                "limit", f"{where}.limits.{twin.name}", who, "changed", limit.name, twin.name, sentence, anew=True
            )
            yield from _compare(f"{where}.limits.{twin.name}", who, limit, twin)
    for limit in gone:
        sentence = f"{who}: {limit.name} is removed, which was {_told(limit)}"
        yield Change("limit", f"{where}.limits.{limit.name}", who, "removed", _told(limit), None, sentence)
    for limit in come:
        sentence = f"{who}: {limit.name} is added, {_told(limit)}"
        yield Change("limit", f"{where}.limits.{limit.name}", who, "added", None, _told(limit), sentence, anew=True)
    for name, limit in olds.items():
        if name in news:
            yield from _compare(f"{where}.limits.{name}", who, limit, news[name])


def _compare(where: str, who: str, old: Limit, new: Limit) -> Iterator[Change]:
    called = f"{who}: {new.name}"
    anew = period_of(old.kind) != period_of(new.kind)
    if formula(old) != formula(new) or anew:
        before, after = amount(old), amount(new)
        effect = "changed" if anew else effect_of(number(formula(old)), number(formula(new)))
        more = f": {_ANEW}" if anew and before != after else ""
        if before != after:
            sentence = f"{called} is {effect} from {before} to {after}{more}"
            yield Change("limit", where, who, effect, before, after, sentence, anew=anew)
    for name, one, other in _of_kind(old, new):
        starts = name == "precision"
        sentence = f"{called}: {name} is {other}, which was {one}{f': {_ANEW}' if starts else ''}"
        yield Change("limit", f"{where}.{name}", who, "changed", one, other, sentence, anew=starts)
    for name, one, other in differing(old, new, _OWN):
        before, after = _field(name, one), _field(name, other)
        starts = name == "per"
        sentence = f"{called}: {_NAMES.get(name, name)} is {after}, which was {before}{f': {_ANEW}' if starts else ''}"
        yield Change("limit", f"{where}.{_NAMES.get(name, name)}", who, "changed", before, after, sentence, anew=starts)


_NAMES = {"enforce_from_ms": "from"}


def _of_kind(old: Limit, new: Limit) -> Iterator[tuple[str, str, str]]:
    """What there is to a kind besides its max and its period."""
    match old.kind, new.kind:
        case Rate() as one, Rate() as other if one.precision != other.precision:
            yield "precision", str(one.precision), str(other.precision)
        case Quota() as one, Quota() as other:
            if one.timezone != other.timezone:
                yield "timezone", one.timezone, other.timezone
            if one.anchor_day != other.anchor_day:
                yield "anchor_day", str(one.anchor_day), str(other.anchor_day)
        case Concurrency() as one, Concurrency() as other if one.lease_ms != other.lease_ms:
            yield "lease", length(one.lease_ms), length(other.lease_ms)


def _field(name: str, value: object) -> str:
    if name == "enforce_from_ms":
        return instant(value) if isinstance(value, int) and value else "the beginning"
    if name == "operations":
        return "all" if value is None else said(value)
    return said(value)


def _told(limit: Limit) -> str:
    how: str = "" if limit.mode == "enforce" else limit.mode
    if limit.launch is not None:
        how = "in launch"
    elif limit.mode == "enforce" and limit.enforce_from_ms:
        how = f"from {instant(limit.enforce_from_ms)}"
    return f"{amount(limit)}{how and f' ({how})'}"
