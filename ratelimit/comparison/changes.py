"""What a comparison is made of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from ratelimit.ground.words import listed

Effect = Literal["added", "removed", "raised", "lowered", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is another. `before` and `after` are words, None where there is nothing; `anew`: counters of it
    begin at 0."""

    what: str  # "limit", "tier", "override", "operation", "key", "style", "store", "identity", "wait", "websocket"
    where: str  # "tiers.basic.limits.requests"
    who: str
    effect: Effect
    before: str | None
    after: str | None
    sentence: str
    anew: bool = False


def effect_of(before: object, after: object) -> Effect:
    if before is None or after is None:
        return "added" if before is None else "removed"
    if isinstance(before, int) and isinstance(after, int):
        return "raised" if after > before else "lowered"
    return "changed"


def number(text: str | None) -> int | str | None:
    """A max, where it is the same for all."""
    return int(text) if text is not None and text.isdecimal() else text


def said(value: Any) -> str:
    """A value of a policy, in words: no password, and no API key."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if isinstance(value, frozenset | tuple | list):
        return f"[{listed(map(str, sorted(value) if isinstance(value, frozenset) else value))}]"
    if isinstance(value, dict):
        return listed(f"{name} = {one}" for name, one in sorted(value.items())) or "nothing"
    return str(value) or "nothing"


def differing(old: Any, new: Any, but: frozenset[str] = frozenset()) -> list[tuple[str, Any, Any]]:
    """The fields in which two dataclasses of one kind differ, with both values."""
    names = [field.name for field in fields(old) if field.compare and field.name not in but]
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    return [(name, before, after) for name, before, after in pairs if before != after]
