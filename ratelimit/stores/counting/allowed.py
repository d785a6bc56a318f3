"""The decision on nearly every request: all was charged, and there is nothing to say.

It keeps its numbers, and makes States of them where somebody asks: the app, or a style of the user's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

from ratelimit.model import Charge, Decision, Lease, State
from ratelimit.stores.counting.terms import new, terms_at

NO, ZERO = repeat(False), repeat(0)


class TermSet:
    """The terms of a set of charges while nothing of them changes."""

    __slots__ = ("_resets", "lengths", "maxes", "shadows", "since_ms", "terms", "until_ms")

    def __init__(self, charges: Sequence[Charge], now_ms: int) -> None:
        self.terms = terms = tuple([terms_at(charge, now_ms) for charge in charges])
        self.maxes = tuple([term.max for term in terms])
        self.lengths = tuple([term.length_ms for term in terms])
        self.shadows = tuple([term.shadow for term in terms])
        self.since_ms = max([term.since_ms for term in terms])
        self.until_ms = min([term.until_ms for term in terms])
        self._resets: tuple[int, tuple[int, ...]] = (-1, ())  # of an instant; one object, as threads ask too

    def resets(self, now_ms: int) -> tuple[int, ...]:
        """`reset_after_ms` of each charge that was just charged: the same for all callers of a millisecond."""
        at_ms, resets = self._resets
        if now_ms != at_ms:
            resets = tuple([term.resets_after(now_ms) for term in self.terms])
            self._resets = now_ms, resets
        return resets


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
