"""What a charge comes to at an instant: its max, whether it is in shadow, the period it counts in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from itertools import pairwise

from ratelimit.model import Charge, Concurrency, Lease, Rate
from ratelimit.stores.calendar import period


@dataclass(frozen=True, slots=True)
class Terms:
    """A charge between `since_ms` and `until_ms`, an interval in which nothing of it changes.

    `first` and `second` depend on the kind: window and precision of a rate, start and end of a quota's period,
    lease and 0 of a concurrency cap.
    """

    max: int
    shadow: bool
    first: int
    second: int
    length_ms: int  # of the window, the period or the lease
    since_ms: int
    until_ms: int
    later: tuple[tuple[int, int], ...] = ()  # instants from which on the max is another one, and that max

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


def new_lease(key: str, lease_ms: int) -> Lease:
    """With 128 random bits, and its length: an edit of the limit does not change what is held."""
    return Lease(key, f"{secrets.token_hex(16)}/{lease_ms}", lease_ms)


def terms_at(charge: Charge, now_ms: int) -> Terms:
    """The terms of `charge` at `now_ms`, and the longest interval around it in which they hold."""
    limit = charge.limit
    since = 0
    for until, maximum in charge.maxes[:-1]:  # noqa: B007 - the step in force is what the loop ends with
        if now_ms < until:
            break
        since = until
    else:
        until, maximum = charge.maxes[-1]
    later = () if until == charge.maxes[-1][0] else _later(charge, until)
    shadow = limit.mode == "shadow"
    if limit.enforce_from_ms:
        if now_ms < limit.enforce_from_ms:
            shadow, until = True, min(until, limit.enforce_from_ms)
        else:
            since = max(since, limit.enforce_from_ms)
    match limit.kind:
        case Rate(window_ms, precision):
            return Terms(maximum, shadow, window_ms, precision, window_ms, since, until, later)
        case Concurrency(lease_ms):
            return Terms(maximum, shadow, lease_ms, 0, lease_ms, since, until, later)
        case quota:
            start, end = period(quota, now_ms)
            return Terms(maximum, shadow, start, end, end - start, max(since, start), min(until, end), later)


def _later(charge: Charge, until_ms: int) -> tuple[tuple[int, int], ...]:
    """The maxes that come after the one that holds until an instant. Most charges have one max for ever."""
    return tuple((ends, following) for (ends, _), (_, following) in pairwise(charge.maxes) if ends >= until_ms)
