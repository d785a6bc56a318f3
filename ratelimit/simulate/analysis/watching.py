"""Watches a simulation, one request after the other, in some microseconds for each; adds up what it saw at the end.

It keeps 0.4 kB of a caller, 0.2 kB of each of its counters, and another kB of one that is denied.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from heapq import heappop, heappush, heapreplace

from ratelimit.control.outcomes import conditional, counts
from ratelimit.model import Decision, Limit
from ratelimit.policy import Policy
from ratelimit.simulate.analysis.found import HOURS, Found, Hit, OfLimit, Place, hour_of, most_denied
from ratelimit.simulate.analysis.hits import MOST_DETAILED, Denials
from ratelimit.simulate.analysis.patterns import NOT_LOOKED_AT
from ratelimit.simulate.analysis.peaks import Peak, SlotPeak, UnitPeak
from ratelimit.simulate.events import Caller, Event
from ratelimit.stores.replay import Counter, InFlight, Row

MOST_FORKED = 20_000  # counters at a time of which requests are counted at each of the points
SWEPT = 2_048  # of them are looked through, whether anything of them still counts

_UNKNOWN = frozenset({0, 499})  # statuses: not in the log, and of a client who has hung up


class Seen:
    """Of one caller."""

    __slots__ = ("counters", "denials", "ends", "in_flight", "requests", "slow", "tier", "week")

    def __init__(self, tier: str) -> None:
        self.tier = tier
        self.requests = 0
        self.week: bytearray | array[int] = bytearray(HOURS)  # of more than 255 in an hour an array
        self.ends: list[int] = []  # a heap: when its requests are over
        self.in_flight = 0  # the most at a time
        self.counters: list[Counter] = []
        self.denials: Denials | None = None
        self.slow = False  # something of it was denied once, be it in shadow: its counters have not counted all


class Watching:
    """`ratelimit.simulate.events.Observer`; its result is a Found."""

    def __init__(self, policy: Policy) -> None:
        self._places: dict[int, Place] = {
            id(limit): (tier, limit.name) for tier, limits in policy.tiers.items() for limit in limits
        }
        self._policy = policy  # which holds the limits, so that no other has their ids
        self._found = Found()
        self._callers: list[Caller] = []
        self._forked: list[Peak] = []
        self._swept_at = SWEPT
        self._detailed = 0

    def saw(self, event: Event, caller: Caller, row: Row, decision: Decision | None) -> None:  # noqa: C901 - in one step
        seen: Seen | None = caller.notes
        if seen is None:
            seen = caller.notes = Seen(caller.tier)
            self._callers.append(caller)
        at, took = event[0], event[3]
        seen.requests += 1
        try:
            seen.week[(at // 3_600_000 + 72) % 168] += 1
        except ValueError:
            seen.week = array("I", [*seen.week])
            seen.week[hour_of(at)] += 1
        if took:
            ends = seen.ends
            if ends and ends[0] <= at:
                heapreplace(ends, at + took)
                while ends[0] <= at:
                    heappop(ends)
            else:
                heappush(ends, at + took)
                if len(ends) > seen.in_flight:
                    seen.in_flight = len(ends)
        if decision is not None or seen.slow:
            self._slowly(event, seen, row, decision)
            return
        for counter in row.counters:
            peak: Peak | None = counter.notes
            if peak is None or counter.tariff.max != peak.max:
                self._see(event, seen, row, counter, charged=True)
                continue
            peak.calls += 1
            used = counter.used
            if used > peak.top:
                peak.top = used
            if used > peak.quiet:
                self._see(event, seen, row, counter, charged=True, called=0)

    def _slowly(self, event: Event, seen: Seen, row: Row, decision: Decision | None) -> None:
        """Of a caller of whom something was denied."""
        seen.slow = True
        at, _, _, _, call, *_ = event
        denies = decision is not None and not decision.allowed
        exceeded = {state.limit.name for state in decision.states if state.exceeded} if decision is not None else ()
        for counter in row.counters:
            charged = not denies and counter.tariff.limit.name not in exceeded
            self._see(event, seen, row, counter, charged=charged)
            if exceeded and not denies and counter.tariff.limit.name in exceeded:
                counter.notes.of.would_deny += 1
        if exceeded and not denies:
            self._found.would_deny += 1
        if decision is not None and (state := decision.denying) is not None:
            denials = seen.denials
            if denials is None:
                detailed = self._detailed < MOST_DETAILED
                self._detailed += detailed
                denials = seen.denials = Denials(at, detailed=detailed)
            denials.deny(at, call, state)
        elif seen.denials is not None:
            seen.denials.admit(at, row.plan.names)

    def _see(self, event: Event, seen: Seen, row: Row, counter: Counter, *, charged: bool, called: int = 1) -> None:
        """Any request, of one counter. `charged`: the counter has counted it."""
        peak: Peak | None = counter.notes
        if peak is None:
            peak = counter.notes = self._new(counter, seen)
        elif counter.tariff.max != peak.max:
            peak.turn()
        at, _, _, took, _, status, *_ = event
        peak.calls += called
        cost = row.plan.costs[row.counters.index(counter)]
        if not cost or _goes_back(counter.tariff.limit, status):
            if counter.used > peak.top and charged:
                peak.top = counter.used
        elif isinstance(peak, SlotPeak):
            peak.see(at, took, self._may_fork)
        elif isinstance(peak, UnitPeak) and not isinstance(counter, InFlight):
            peak.see(counter, cost, at, self._may_fork, charged=charged)

    def _new(self, counter: Counter, seen: Seen) -> Peak:
        limit = counter.tariff.limit
        place = self._places.get(id(limit), (seen.tier, limit.name))  # an endpoint has declared it
        of = self._found.limits.setdefault(place, OfLimit())
        seen.counters.append(counter)
        return (SlotPeak if isinstance(counter, InFlight) else UnitPeak)(of, counter.tariff)

    def _may_fork(self, peak: Peak, now_ms: int) -> bool:
        if len(self._forked) >= self._swept_at:
            kept: list[Peak] = []
            for one in self._forked:
                if one.is_over(now_ms):
                    one.drop()
                else:
                    kept.append(one)
            self._forked = kept
            self._swept_at = max(SWEPT, min(2 * len(kept), MOST_FORKED))
        if len(self._forked) >= MOST_FORKED:
            return False
        self._forked.append(peak)
        return True

    def result(self) -> Found:
        found = self._found
        hits: list[Hit] = []
        for caller in self._callers:
            seen: Seen = caller.notes
            found.requests += seen.requests
            found.callers += 1
            found.tiers[seen.tier] += 1
            if seen.in_flight:
                found.in_flight[seen.in_flight] += 1
                found.timed = True
            _add(found.week, seen.week)
            needs = self._peaks(seen)
            if seen.denials is not None:
                hits.append(self._hit(caller.name, seen, seen.denials, needs))
        found.hits = most_denied(hits)
        return found

    def _peaks(self, seen: Seen) -> dict[str, Peak]:
        """Of a caller the highest of its counters, by the name of the limit; all are added to what is known of each."""
        highest: dict[str, Peak] = {}
        shares: dict[str, float] = {}
        for counter in seen.counters:
            peak: Peak = counter.notes
            name = counter.tariff.limit.name
            peak.of.requests += peak.calls
            before = highest.get(name)
            if before is None or before.total < peak.total:
                highest[name] = peak
            shares[name] = max(shares.get(name, 0.0), peak.largest_share)
        for name, peak in highest.items():
            peak.of.peaks[peak.total] += 1
            peak.of.shares[shares[name]] += 1
            peak.of.maxes[peak.max] += 1
            peak.of.uncounted += any(c.notes.uncounted for c in seen.counters if c.tariff.limit.name == name)
        return highest

    def _hit(self, name: str, seen: Seen, denials: Denials, peaks: dict[str, Peak]) -> Hit:
        found = self._found
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
        _add(found.week_denied, week_denied)
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


def _add(to: list[int], counts_: Sequence[int]) -> None:
    for at, count in enumerate(counts_):
        if count:
            to[at] += count


def _goes_back(limit: Limit, status: int) -> bool:
    return conditional(limit) and status not in _UNKNOWN and not counts(limit, status)
