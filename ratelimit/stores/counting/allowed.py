"""The decision on nearly every request: all was charged, and there is nothing to say.

It keeps its numbers, and makes States of them where the app asks. A style needs none, or one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat

from ratelimit.ground.memo import Recent
from ratelimit.model import Charge, Decision, Lease, LimitSet, Numbers, State, share
from ratelimit.stores.counting.terms import Terms, new, terms_at

NO, ZERO = repeat(False), repeat(0)
_made = object.__new__


class TermSet(LimitSet):
    """The terms of a set of charges while nothing of them changes."""

    __slots__ = ("latest", "since_ms", "terms", "until_ms")

    def __init__(self, charges: Sequence[Charge], now_ms: int) -> None:
        self.terms = terms = tuple([terms_at(charge, now_ms) for charge in charges])
        super().__init__(
            charges,
            [term.max for term in terms],
            [term.length_ms for term in terms],
            [term.shadow for term in terms],
        )
        self.since_ms = max([term.since_ms for term in terms])
        self.until_ms = min([term.until_ms for term in terms])
        self.latest: tuple[int, tuple[int, ...]] = (-1, ())  # and their instant; one object, as threads ask too

    def resets(self, now_ms: int) -> tuple[int, ...]:
        """`reset_after_ms` of each charge that was just charged: the same for all callers of a millisecond."""
        at_ms, resets = self.latest
        if now_ms != at_ms:
            resets = tuple([term.resets_after(now_ms) for term in self.terms])
            self.latest = now_ms, resets
        return resets


class TermSets:
    """Those of late: callers with the same limits share one, in which a style keeps its bytes."""

    def __init__(self, terms_of: Callable[[Charge, int], Terms] = terms_at) -> None:
        self._terms_of = terms_of
        self._recent: Recent[tuple[object, ...], TermSet] = Recent()

    def at(self, charges: Sequence[Charge], now_ms: int) -> TermSet:
        same = alike(charges, tuple([self._terms_of(charge, now_ms) for charge in charges]))
        known = self._recent.get(same)
        if known is None:
            known = TermSet(charges, now_ms)
            self._recent.put(same, known)
        return known


def alike(charges: Sequence[Charge], terms: tuple[Terms, ...]) -> tuple[object, ...]:
    """Equal of those that say the same, also by name: limits are told apart by their ids, and a TermSet holds them."""
    return tuple([(id(charge.limit), charge.cost) for charge in charges]), terms


class AllowedDecision(Decision):
    """Made by `admitted`. `used` are of the charges, in their order."""

    __slots__ = ("charges", "limit_set", "used")

    charges: tuple[Charge, ...]

    limit_set: TermSet  # type: ignore[misc] # a slot: None is said by the class
    used: Sequence[int]  # type: ignore[misc] # not the reply: that is of up to 128 callers

    allowed, exceeded, unavailable = True, False, False  # of the class: to set them each time takes 0.2 µs
    notable = False
    units, counted_ms, hold = 1, (), None

    @property
    def states(self) -> tuple[State, ...]:  # type: ignore[override]
        term_set = self.limit_set
        resets, windows, shadows = term_set.resets(self.now_ms), term_set.windows_ms, term_set.shadows
        # What State(charge, max, used, reset_after, window, False, 0, shadow) makes of each, in a third of the time.
        rows = zip(self.charges, term_set.maxes, self.used, resets, windows, NO, ZERO, shadows)  # noqa: B905
        return tuple(map(new, repeat(State), rows))

    @property
    def numbers(self) -> Numbers:
        term_set = self.limit_set
        at_ms, resets = term_set.latest
        if at_ms != self.now_ms:
            resets = term_set.resets(self.now_ms)
        return self.charges, term_set, self.used, resets

    @property
    def binding(self) -> State | None:
        return rate_of(self.numbers)


def admitted(
    charges: tuple[Charge, ...], term_set: TermSet, now_ms: int, leases: tuple[Lease, ...], used: Sequence[int]
) -> AllowedDecision:
    """Python goes right into a function, and through C into an `__init__`: 145 ns where that takes 195."""
    made = _made(AllowedDecision)
    made.charges = charges
    made.limit_set = term_set
    made.now_ms = now_ms
    made.leases = leases
    made.used = used
    return made


def rate_of(numbers: Numbers) -> State | None:
    """The rate that headers speak of, where nothing is exceeded: the one with the smallest share remaining. No State is
    made but this one."""
    charges, limits, used, resets = numbers
    rates, maxes = limits.rates, limits.maxes
    if not rates:
        return None
    c = rates[0] if len(rates) == 1 else min(rates, key=lambda c: share(maxes[c], used[c]))
    return new(State, (charges[c], maxes[c], used[c], resets[c], limits.windows_ms[c], False, 0, False))
