"""Whom the tiers are for: one that nobody has, and callers without a key who may do more than those with one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ratelimit.checks.values import EXEMPT
from ratelimit.config.checks.limits import limits_of, messages_of
from ratelimit.config.grammar.messages import Path, place
from ratelimit.config.grammar.tables import LimitTable
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.words import listed, shown
from ratelimit.model import ANONYMOUS
from ratelimit.review.bounds import amount_of, cost_of, written
from ratelimit.review.findings import Odd

SHAPES = ("detail_read", "search", "create", "write")

_Limits = Sequence[tuple[Path, LimitTable]]


def unused(valid: Valid, *, identifies: bool | None) -> Iterator[Odd]:
    """A tier that no key has. `identifies`: whether the app says itself who calls; None where nobody knows. Then a file
    without any key is one whose callers the app knows."""
    keys = valid.file.keys
    if identifies or (identifies is None and not keys):
        return
    has = {key.tier or valid.file.identity.default_tier for key in keys} | {ANONYMOUS}
    free = [tier for tier in valid.file.tiers if tier not in has]
    if free and not keys:
        what = f"no [[keys]] and no identify of the app say who calls: nobody is of {listed(free)}"
        yield Odd(("tiers", free[0]), "tier-unused", what, "add a key, or give the middleware identify=")
        return
    unless = "" if identifies is False else "; if the app's own identify gives it, check with --app module:app"
    for tier in free:
        hint = f"add a key with tier = {shown(tier)}, or leave the tier out{unless}"
        yield Odd(("tiers", tier), "tier-unused", "no key of the file is of this tier", hint)


def anonymous_wider(valid: Valid) -> Iterator[Odd]:
    """Of limits of one kind and one period alone, for others can't be compared; and where all that a limit counts is
    narrower for those with a key: one that counts all together is no match for one of heavy writes."""
    tiers = {name: _of(valid, name) for name in valid.file.tiers}
    free = tiers.pop(ANONYMOUS)
    told: set[Path] = set()  # one tier says enough
    for tier, limits in tiers.items():
        for odd in _wider(free, limits, tier, _operations(valid)):
            if odd.path not in told:
                told.add(odd.path)
                yield odd


def _wider(free: _Limits, limits: _Limits, tier: str, operations: Collection[str]) -> Iterator[Odd]:
    if unlimited := [name for name in operations if _limited(limits, name) and not _limited(free, name)]:
        sentence = (
            f"has no limit for {listed(unlimited)}, and {place(('tiers', tier))} has: without a key there is none"
        )
        yield Odd(("tiers", ANONYMOUS), "anonymous-unlimited", sentence, "write a limit here too")
    for path, limit in _denying(free):
        of_its_kind = [one for one in _denying(limits) if _kind(one[1]) == _kind(limit)]
        narrower = [_narrower(of_its_kind, limit, name) for name in operations if _counted(limit, name)]
        if narrower and narrower[0] and all(narrower):
            where, other, fewer, most = narrower[0]
            few = f"{place(where)}, {written(other)}, admits {fewer} of those with one"
            sentence = f"{written(limit)} admits {most} requests without a key, and {few}"
            yield Odd(path, "anonymous-wider", sentence, "lower this one, or raise the other")


def _denying(limits: _Limits) -> _Limits:
    """Those that deny, now or from an instant on: one in shadow is a trial, and admits all."""
    return [one for one in limits if one[1].mode == "enforce"]


def _narrower(limits: _Limits, limit: LimitTable, operation: str) -> tuple[Path, LimitTable, int, int] | None:
    """One that admits fewer requests of an operation, as far as that is known; how many each of the two admits."""
    most = _admitted(limit, operation)
    for path, other in limits:
        fewer = _admitted(other, operation) if _counted(other, operation) else None
        if most is not None and fewer is not None and fewer < most:
            return path, other, fewer, most
    return None


def _admitted(limit: LimitTable, operation: str) -> int | None:
    """Requests in its window, in its period, or at a time; None where the max is computed."""
    formula = amount_of(limit).max
    return None if formula.names else formula({}) // cost_of(limit, operation)


def _of(valid: Valid, tier: str) -> _Limits:
    found = valid.numbered(("tiers", tier, "limits"), valid.file.tiers[tier].limits)
    return [(path, limit) for path, limit in found if limit.mode != "off" and not (limit.refund_on or limit.charge_on)]


def _operations(valid: Valid) -> Collection[str]:
    """Those that every app has, and those that are named somewhere."""
    named = {name for _, limit in limits_of(valid) for name in limit.operations or ()}
    return sorted({*SHAPES, *named, *valid.file.operations, *filter(None, [messages_of(valid)])} - {EXEMPT})


def _counted(limit: LimitTable, operation: str) -> bool:
    return cost_of(limit, operation) > 0 and (limit.operations is None or operation in limit.operations)


def _limited(limits: _Limits, operation: str) -> bool:
    return any(_counted(limit, operation) for _, limit in limits)


def _kind(limit: LimitTable) -> tuple[str, object]:
    if limit.rate is not None:
        return "rate", limit.rate.window_ms
    return ("quota", limit.quota.period) if limit.quota is not None else ("concurrency", None)
