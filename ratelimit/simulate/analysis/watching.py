"""Watches a simulation, one request after the other, in some microseconds for each; adds up what it saw at the end.

It keeps 0.4 kB of a caller, 0.2 kB of each of its counters, and another 2 kB of one that is denied.
"""

from __future__ import annotations

from array import array
from heapq import heappop, heappush, heapreplace
from typing import cast

from ratelimit.control.outcomes import counts
from ratelimit.model import Decision, Limit
from ratelimit.policy import Policy
from ratelimit.simulate.analysis.found import Found, OfLimit, Place, hour_of
from ratelimit.simulate.analysis.hits import MOST_DETAILED, Denials
from ratelimit.simulate.analysis.peaks import Peak, SlotPeak, UnitPeak
from ratelimit.simulate.analysis.seen import Seen, added_up
from ratelimit.simulate.events import Caller, Event
from ratelimit.stores.replay import Counter, InFlight, Quotas, Rates, Row

MOST_FORKED = 20_000  # counters at a time of which requests are counted at each of the points
SWEPT = 2_048  # of them are looked through, whether anything of them still counts

_UNKNOWN = frozenset({0, 499})  # statuses: not in the log, and of a client who has hung up


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
            if ends is None:
                seen.ends, seen.in_flight = [at + took], 1
            elif ends[0] <= at:
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
        at, call = event[0], event[4]
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
        peak.calls += called
        cost = row.plan.costs[row.counters.index(counter)]
        if not cost or (peak.conditional and _goes_back(counter.tariff.limit, event[5])):
            if counter.used > peak.top and charged:
                peak.top = counter.used
        elif isinstance(peak, SlotPeak):
            peak.see(event[0], event[3], self._may_fork)
        else:
            peak.see(cast("Rates | Quotas", counter), cost, event[0], self._may_fork, charged=charged)

    def _new(self, counter: Counter, seen: Seen) -> Peak:
        limit = counter.tariff.limit
        place = self._places.get(id(limit), (seen.tier, limit.name))  # an endpoint has declared it
        of = self._found.limits.setdefault(place, OfLimit())
        seen.counters += (counter,)
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
        return added_up(self._found, self._callers)


def _goes_back(limit: Limit, status: int) -> bool:
    return status not in _UNKNOWN and not counts(limit, status)
