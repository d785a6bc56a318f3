"""The decision on nearly every request: all was charged, and there is nothing to say.

It keeps its numbers of the reply, and makes States of them where somebody asks: a style with headers, or the app.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

from ratelimit.model import Charge, Decision, Lease, State
from ratelimit.stores.batching.allotments import new
from ratelimit.stores.batching.callers import TermSet

NO, ZERO = repeat(False), repeat(0)


class AllowedDecision(Decision):
    """`useds` are of the charges, in their order."""

    __slots__ = ("_charges", "_term_set", "_useds")

    exceeded = False
    units, counted_ms, hold = 1, (), None

    def __init__(
        self,
        charges: tuple[Charge, ...],
        term_set: TermSet,
        now_ms: int,
        leases: tuple[Lease, ...],
        useds: Sequence[int],
    ) -> None:
        self.allowed = True
        self.now_ms = now_ms
        self.leases = leases
        self.unavailable = False
        self._charges = charges
        self._term_set = term_set
        self._useds = useds  # not the reply: that is of up to 128 callers

    @property
    def states(self) -> tuple[State, ...]:  # type: ignore[override]
        term_set = self._term_set
        resets, lengths, shadows = term_set.resets(self.now_ms), term_set.lengths, term_set.shadows
        # What State(charge, max, used, reset_after, length, False, 0, shadow) makes of each, in a third of the time.
        rows = zip(self._charges, term_set.maxes, self._useds, resets, lengths, NO, ZERO, shadows)  # noqa: B905
        return tuple(map(new, repeat(State), rows))
