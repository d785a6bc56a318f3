"""Limits as they are in shadow: counted and reported, and nobody is denied."""

from __future__ import annotations

from copy import copy

from ratelimit.model import Charge, Limit


class Shadows:
    """Of each limit the same object again, as what is remembered of a limit goes by that."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[int, tuple[Limit, Limit]] = {}  # by the id of a limit that is held here

    def of(self, charges: tuple[Charge, ...]) -> tuple[Charge, ...]:
        return tuple([Charge(self._of(c.limit), c.key, c.cost, c.maxes) for c in charges])

    def _of(self, limit: Limit) -> Limit:
        known = self._made.get(id(limit))
        if known is None:
            shadow = copy(limit)  # not made anew: it was checked as its file has it
            object.__setattr__(shadow, "mode", "shadow")
            known = self._made[id(limit)] = limit, shadow
        return known[1]
