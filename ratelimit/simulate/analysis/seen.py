"""What is kept of each caller while a log is read, and what all of them come to at the end."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from operator import add

from ratelimit.simulate.analysis.found import HOURS, Found, Hit, most_denied
from ratelimit.simulate.analysis.hits import Denials
from ratelimit.simulate.analysis.patterns import NOT_LOOKED_AT
from ratelimit.simulate.analysis.peaks import Peak
from ratelimit.simulate.events import Caller
from ratelimit.stores.replay import Counter


class Seen:
    """Of one caller."""

    __slots__ = ("counters", "denials", "ends", "in_flight", "requests", "slow", "tier", "week")

    def __init__(self, tier: str) -> None:
        self.tier = tier
        self.requests = 0
        self.week: bytearray | array[int] = bytearray(HOURS)  # of more than 255 in an hour an array
        self.ends: list[int] | None = None  # a heap: when its requests are over
        self.in_flight = 0  # the most at a time
        self.counters: tuple[Counter, ...] = ()
        self.denials: Denials | None = None
        self.slow = False  # something of it was denied once, be it in shadow: its counters have not counted all


def added_up(found: Found, callers: Sequence[Caller]) -> Found:
    """The same `found`, whose limits are counted already, with all that these callers come to."""
    hits: list[Hit] = []
    for caller in callers:
        seen: Seen = caller.notes
        found.requests += seen.requests
        found.callers += 1
        found.tiers[seen.tier] += 1
        if seen.in_flight:
            found.in_flight[seen.in_flight] += 1
            found.timed = True
        found.week = [*map(add, found.week, seen.week)]
        peaks = _peaks(seen)
        if seen.denials is not None:
            hits.append(_hit(found, caller.name, seen, seen.denials, peaks))
    found.hits = most_denied(hits)
    return found


def _peaks(seen: Seen) -> dict[str, Peak]:
    """Of a caller the highest of its counters, by the name of the limit; all are added to what is known of each."""
    highest: dict[str, Peak] = {}
    shares: dict[str, float] = {}
    uncounted: set[str] = set()
    for counter in seen.counters:
        peak: Peak = counter.notes
        name = counter.tariff.limit.name
        peak.of.requests += peak.calls
        peak.drop()
        before = highest.get(name)
        if before is None or before.total < peak.total:
            highest[name] = peak
        shares[name] = max(shares.get(name, 0.0), peak.largest_share)
        if peak.uncounted:
            uncounted.add(name)
    for name, peak in highest.items():
        peak.of.peaks[peak.total] += 1
        peak.of.shares[shares[name]] += 1
        peak.of.maxes[peak.max] += 1
        peak.of.uncounted += name in uncounted
    return highest


def _hit(found: Found, name: str, seen: Seen, denials: Denials, peaks: dict[str, Peak]) -> Hit:
    limit, blocked_ms = denials.end()
    found.denied += denials.denied
    found.callers_denied += 1
    first = denials.first_ms, name
    found.first = first if found.first is None else min(found.first, first)
    for of, stretch in denials.stretches.items():
        peaks[of].of.denied += stretch.denied
        peaks[of].of.callers_denied += 1
    pattern = NOT_LOOKED_AT if denials.shape is None else denials.shape.pattern()
    found.patterns[pattern] += 1
    week_denied: Sequence[int] = denials.week or ()
    if week_denied:
        found.week_denied = [*map(add, found.week_denied, week_denied)]
    return Hit(
        name=name,
        tier=seen.tier,
        requests=seen.requests,
        denied=denials.denied,
        first_ms=denials.first_ms,
        limit=limit,
        needs=peaks[limit].total,
        max=peaks[limit].max,
        blocked_ms=blocked_ms,
        pattern=pattern,
        week=[*seen.week],
        week_denied=[*week_denied],
    )
