"""Overrides: whom they are for, what they give, until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ratelimit.comparison.changes import Change, differing, effect_of, number, said
from ratelimit.explanation.words import end, matched, written
from ratelimit.ground.times import instant
from ratelimit.ground.words import listed
from ratelimit.model import FOREVER
from ratelimit.policy import Override, Policy

_Whom = tuple[tuple[str, str | int], ...]


def compare_overrides(old: Policy, new: Policy) -> Iterator[Change]:
    """By whom they are for. Of several for the same the last counts, so they are compared from the end."""
    olds, news = _by_whom(old.overrides), _by_whom(new.overrides)
    for whom in dict.fromkeys([*olds, *news]):
        before, after = olds.get(whom, []), news.get(whom, [])
        for at in range(max(len(before), len(after))):
            one = before[-1 - at] if at < len(before) else None
            other = after[-1 - at] if at < len(after) else None
            yield from _compare(whom, one, other)


def _by_whom(overrides: Sequence[Override]) -> dict[_Whom, list[Override]]:
    found: dict[_Whom, list[Override]] = {}
    for override in overrides:
        found.setdefault(tuple(sorted(override.match.items(), key=lambda pair: pair[0])), []).append(override)
    return found


def _compare(whom: _Whom, old: Override | None, new: Override | None) -> Iterator[Change]:
    who = matched(dict(whom))
    where = f"overrides of {who}"
    if old is None or new is None:
        one = old or new
        assert one is not None  # noqa: S101 - one of them is there
        gone, text = effect_of(old, new), _told(one)
        sentence = f"the override for {who} is {gone}: {text}"
        yield Change("override", where, who, gone, text if old else None, text if new else None, sentence)
        return
    for name in dict.fromkeys([*old.maxes, *new.maxes]):
        before, after = _max(old, name), _max(new, name)
        if before != after:
            effect = effect_of(number(before), number(after))
            sentence = (
                f"the override for {who}: {name} is {effect} from {before or 'the tier'} to {after or 'the tier'}"
            )
            yield Change("override", f"{where}.limits.{name}", who, effect, before, after, sentence)
    if old.until_ms != new.until_ms:
        end_before, end_after = _until(old), _until(new)
        sentence = f"the override for {who} ends {end_after}, not {end_before}"
        yield Change("override", f"{where}.until", who, "changed", end_before, end_after, sentence)
    if old.from_ms != new.from_ms:
        since, instead = _since(old), _since(new)
        sentence = f"the override for {who} begins {instead}, not {since}"
        yield Change("override", f"{where}.from", who, "changed", since, instead, sentence)
    for name, was, now in differing(old, new, frozenset({"match", "maxes", "until_ms", "from_ms"})):
        sentence = f"the override for {who}: {name} is {said(now)}, which was {said(was)}"
        yield Change("override", f"{where}.{name}", who, "changed", said(was), said(now), sentence)


def _told(override: Override) -> str:
    limits = [f"{name} = {_max(override, name)}" for name in override.maxes]
    if override.mode is not None:
        names = listed(sorted({*override.maxes, *override.limits}))
        limits.append(f"{names} {'enforced' if override.mode == 'enforce' else 'in shadow'}")
    begins = f" from {instant(override.from_ms)}" if override.from_ms else ""
    return f"{', '.join(limits)}{begins}{end(override.until_ms)}"


def _max(override: Override, name: str) -> str | None:
    own = override.maxes.get(name)
    return None if own is None else written(own)


def _since(override: Override) -> str:
    return instant(override.from_ms) if override.from_ms else "at once"


def _until(override: Override) -> str:
    return "never" if override.until_ms >= FOREVER else instant(override.until_ms)
