"""What a charge comes to at an instant: its max, whether it is in shadow, the period it counts in."""

from __future__ import annotations

import secrets
from itertools import pairwise
from typing import NamedTuple

from ratelimit.ground.memo import Recent
from ratelimit.launches.stages.timeline import staged
from ratelimit.model import FOREVER, Charge, Concurrency, Lease, Limit, Quota, Rate
from ratelimit.stores.counting.calendar import period

new = tuple.__new__  # of a NamedTuple: its own goes through Python, which takes three times as long
LETTERS = {Rate: "r", Quota: "q", Concurrency: "c"}  # of the kinds, in the scripts


class Terms(NamedTuple):
    """A charge between `since_ms` and `until_ms`, an interval in which nothing of it changes.

    `first` and `second` depend on the kind: window and precision of a rate, start and end of a quota's period,
    lease and 0 of a concurrency cap.
    """

    kind: type[Rate | Quota | Concurrency]
    max: int
    shadow_until_ms: int  # 0: it is enforced; FOREVER: it is in shadow for good
    first: int
    second: int
    length_ms: int  # of the window, the period or the lease
    since_ms: int
    until_ms: int
    later: tuple[tuple[int, int], ...] = ()  # instants from which on the max is another one, and that max

    @property
    def shadow(self) -> bool:
        """Within this interval."""
        return self.shadow_until_ms > 0

    @property
    def changes(self) -> bool:
        """Whether it may deny later what it admits now, if nothing is charged: its max falls, its shadow ends."""
        return bool(self.later) or 0 < self.shadow_until_ms < FOREVER

    @property
    def start(self) -> int:
        """Of a quota's period."""
        return self.first

    @property
    def end(self) -> int:
        """Of a quota's period."""
        return self.second

    @property
    def lease_ms(self) -> int:
        return self.first

    def sub_window(self, now_ms: int) -> int:
        """Of a rate: the one at an instant."""
        return now_ms * self.second // self.first

    def resets_after(self, now_ms: int) -> int:
        """Until all is free again, of what is charged at `now_ms`: a rate's sub-window, a quota's period, a lease."""
        if self.kind is Rate:
            return leaves(self.sub_window(now_ms), self.first, self.second) - now_ms
        return self.first if self.kind is Concurrency else self.end - now_ms


class Place(NamedTuple):
    """Where units count, as lua/settle.lua has it: a sub-window of a rate, "r"; the period of a quota, "q"."""

    letter: str
    first: int
    second: int
    sub_window: int

    @classmethod
    def at(cls, terms: Terms, now_ms: int) -> Place:
        sub_window = terms.sub_window(now_ms) if terms.kind is Rate else 0
        return cls(LETTERS[terms.kind], terms.first, terms.second, sub_window)


class Item(NamedTuple):
    """Units that are owed, or below 0 to be given back, in one place of one counter."""

    key: str
    place: Place
    units: int


def leaves(sub_window: int, window_ms: int, precision: int) -> int:
    """The instant at which a sub-window has left the window: start(i + k + 1)."""
    return -(-(sub_window + precision + 1) * window_ms // precision)


def new_lease(key: str, lease_ms: int, maximum: int) -> Lease:
    """With 128 random bits, and its length: an edit of the limit does not change what is held."""
    return Lease(key, f"{secrets.token_hex(16)}/{lease_ms}", lease_ms, maximum)


def terms_at(charge: Charge, now_ms: int) -> Terms:
    """The terms of `charge` at `now_ms`, and the longest interval around it in which they hold."""
    limit = charge.limit
    if charge.stages:
        return _of_kind(limit, now_ms, *staged(charge.maxes, charge.stages, now_ms))
    since = 0
    for until, maximum in charge.maxes[:-1]:  # noqa: B007 - the step in force is what the loop ends with
        if now_ms < until:
            break
        since = until
    else:
        until, maximum = charge.maxes[-1]
    later = () if until == charge.maxes[-1][0] else _later(charge, until)
    shadow = FOREVER if limit.mode == "shadow" else 0
    if limit.enforce_from_ms:
        if now_ms < limit.enforce_from_ms:
            shadow, until = shadow or limit.enforce_from_ms, min(until, limit.enforce_from_ms)
        else:
            since = max(since, limit.enforce_from_ms)
    return _of_kind(limit, now_ms, maximum, shadow, since, until, later)


def _of_kind(
    limit: Limit, now_ms: int, maximum: int, shadow: int, since: int, until: int, later: tuple[tuple[int, int], ...]
) -> Terms:
    match limit.kind:
        case Rate(window_ms, precision):
            return Terms(Rate, maximum, shadow, window_ms, precision, window_ms, since, until, later)
        case Concurrency(lease_ms):
            return Terms(Concurrency, maximum, shadow, lease_ms, 0, lease_ms, since, until, later)
        case quota:
            start, end = period(quota, now_ms)
            return Terms(Quota, maximum, shadow, start, end, end - start, max(since, start), min(until, end), later)


class KnownTerms:
    """`terms_at`, remembered while they hold: the same for all callers who have the same max of a limit."""

    def __init__(self) -> None:
        self._known: Recent[tuple[object, ...], tuple[Limit, Terms]] = Recent()

    def __call__(self, charge: Charge, now_ms: int) -> Terms:
        asked = id(charge.limit), charge.maxes, charge.stages
        known = self._known.get(asked)
        if known and known[0] is charge.limit and known[1].since_ms <= now_ms < known[1].until_ms:
            return known[1]
        terms = terms_at(charge, now_ms)
        self._known.put(asked, (charge.limit, terms))
        return terms


def _later(charge: Charge, until_ms: int) -> tuple[tuple[int, int], ...]:
    """The maxes that come after the one that holds until an instant. Most charges have one max for ever."""
    return tuple((ends, following) for (ends, _), (_, following) in pairwise(charge.maxes) if ends >= until_ms)
