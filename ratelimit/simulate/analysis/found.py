"""What was seen, as data that processes hand over and add up: the callers of two of them are not the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from math import inf

# Shares of the present max at which requests are counted one by one, as if there were that limit alone.
POINTS = (5, 10, 20, 35, 50, 70, 85, 100, 125, 150, 200, 300)  # in percent
HOURS = 168  # of a week, from Monday 00:00 UTC
MOST_HIT = 1_000  # denied callers that are told of one by one

MANY = 4_096  # maxes whose thresholds are remembered

_thresholds: dict[int, Sequence[int]] = {}

Place = tuple[str, str]  # the tier and the name of a limit


@dataclass(slots=True)
class OfLimit:
    """One limit of one tier. `peaks` has how many callers had which largest `used`, had every request of theirs been
    counted, `shares` the same as a part of their max, rounded up to four digits."""

    peaks: Counter[int] = field(default_factory=Counter)
    shares: Counter[float] = field(default_factory=Counter)
    maxes: Counter[int] = field(default_factory=Counter)  # of the callers
    requests: int = 0  # that the limit counts
    denied: int = 0  # by this limit, of all that deny the one with the longest wait
    would_deny: int = 0  # in shadow
    callers_denied: int = 0
    points: list[int] = field(default_factory=lambda: [0] * len(POINTS))  # requests that it alone would deny
    uncounted: int = 0  # callers of whom the points could not be counted, as there were too many at a time

    def add(self, other: OfLimit) -> None:
        self.peaks += other.peaks
        self.shares += other.shares
        self.maxes += other.maxes
        self.requests += other.requests
        self.denied += other.denied
        self.would_deny += other.would_deny
        self.callers_denied += other.callers_denied
        self.points = [ours + theirs for ours, theirs in zip(self.points, other.points, strict=True)]
        self.uncounted += other.uncounted


@dataclass(slots=True)
class Hit:
    """A caller that is denied. Instants are in milliseconds since 1970, `week` has requests by the hour of the week and
    `week_denied` those that are denied."""

    name: str
    tier: str
    requests: int
    denied: int
    first_ms: int
    limit: str  # that denied it most often
    needs: int  # of that limit the max with which it alone would have denied nothing
    max: int  # of that limit, at present
    blocked_ms: int  # the longest stretch without an admitted request that this limit counts
    pattern: str
    week: Sequence[int]
    week_denied: Sequence[int]


@dataclass(slots=True)
class Found:
    """Of one policy."""

    requests: int = 0
    denied: int = 0
    would_deny: int = 0  # requests that a limit in shadow exceeds
    callers: int = 0
    callers_denied: int = 0
    tiers: Counter[str] = field(default_factory=Counter)  # callers
    first: tuple[int, str] | None = None  # the instant of the first denial, and whose
    limits: dict[Place, OfLimit] = field(default_factory=dict)
    in_flight: Counter[int] = field(default_factory=Counter)  # callers, by their largest number of requests at a time
    patterns: Counter[str] = field(default_factory=Counter)  # denied callers
    hits: list[Hit] = field(default_factory=list)  # those with the most denials, in this order
    week: list[int] = field(default_factory=lambda: [0] * HOURS)
    week_denied: list[int] = field(default_factory=lambda: [0] * HOURS)
    timed: bool = False  # whether the log says how long requests take

    def add(self, other: Found) -> None:
        """What another process has found, of other callers."""
        self.requests += other.requests
        self.denied += other.denied
        self.would_deny += other.would_deny
        self.callers += other.callers
        self.callers_denied += other.callers_denied
        self.tiers += other.tiers
        self.first = min([first for first in (self.first, other.first) if first], default=None)
        for place, limit in other.limits.items():
            self.limits.setdefault(place, OfLimit()).add(limit)
        self.in_flight += other.in_flight
        self.patterns += other.patterns
        self.hits = most_denied([*self.hits, *other.hits])
        self.week = [ours + theirs for ours, theirs in zip(self.week, other.week, strict=True)]
        self.week_denied = [ours + theirs for ours, theirs in zip(self.week_denied, other.week_denied, strict=True)]
        self.timed = self.timed or other.timed


def most_denied(hits: list[Hit]) -> list[Hit]:
    return nlargest(MOST_HIT, hits, key=lambda hit: (hit.denied, -hit.first_ms, hit.name))


def together(found: Sequence[Found]) -> Found:
    """Of all processes."""
    whole = Found()
    for one in found:
        whole.add(one)
    return whole


def hour_of(at_ms: int) -> int:
    """Of the week: 1970 began on a Thursday."""
    return (at_ms // 3_600_000 + 72) % HOURS


def thresholds_of(maximum: int) -> Sequence[int]:
    """Of a max, at the shares that requests are counted at."""
    known = _thresholds.get(maximum)
    if known is None:
        if len(_thresholds) >= MANY:
            _thresholds.clear()
        known = _thresholds[maximum] = tuple([percent * maximum // 100 for percent in POINTS])
    return known


def share_of(peak: int, maximum: int) -> float:
    """The part of a max, rounded up to four digits: above a number of four digits if and only if the part itself is."""
    if not peak:
        return 0.0
    if not maximum:
        return inf
    shift = 4 - len(str(peak)) + len(str(maximum))  # one digit more than needed, or as many
    digits = -(-peak * 10**shift // maximum) if shift >= 0 else -(-peak // (maximum * 10**-shift))
    if digits > 9_999:
        shift -= 1
        digits = -(-peak * 10**shift // maximum) if shift >= 0 else -(-peak // (maximum * 10**-shift))
    return float(f"{digits}e{-shift}")
