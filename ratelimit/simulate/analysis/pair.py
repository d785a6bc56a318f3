"""Two policies over one log: whom the first denies and the second does not, and the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nlargest

from ratelimit.policy import Policy
from ratelimit.simulate.events import Caller, Event

MOST = 1_000  # callers that are told of one by one


@dataclass(slots=True)
class Changed:
    """A caller whose denials are not the same under both. `first_ms` is the first request with another answer."""

    name: str
    requests_denied: int
    requests_denied_before: int
    first_ms: int


@dataclass(slots=True)
class Against:
    """`newly` are denied by the policy and were not by the other, `no_longer` the other way round, `otherwise` by
    both, but not as often. Requests likewise."""

    newly: int = 0
    no_longer: int = 0
    otherwise: int = 0
    requests_newly: int = 0
    requests_no_longer: int = 0
    callers: list[Changed] = field(default_factory=list)  # those with the largest differences

    def add(self, other: Against) -> None:
        self.newly += other.newly
        self.no_longer += other.no_longer
        self.otherwise += other.otherwise
        self.requests_newly += other.requests_newly
        self.requests_no_longer += other.requests_no_longer
        self.callers = _most([*self.callers, *other.callers])


class Comparing:
    """`ratelimit.simulate.events.PairObserver`; its result is an Against."""

    def __init__(self, policy: Policy, other: Policy) -> None:
        self._callers: dict[str, list[int]] = {}  # denied, denied by the other, the first difference
        self._newly = self._no_longer = 0

    def saw(self, event: Event, caller: Caller, denied: bool, other: Caller, other_denied: bool) -> None:
        if not (denied or other_denied):
            return
        counts = self._callers.get(caller.name)
        if counts is None:
            counts = self._callers[caller.name] = [0, 0, -1]
        counts[0] += denied
        counts[1] += other_denied
        if denied != other_denied:
            self._newly += denied
            self._no_longer += other_denied
            if counts[2] < 0:
                counts[2] = event[0]

    def result(self) -> Against:
        found = Against(requests_newly=self._newly, requests_no_longer=self._no_longer)
        changed = []
        for name, (denied, before, first_ms) in self._callers.items():
            found.newly += not before
            found.no_longer += not denied
            found.otherwise += bool(denied and before and first_ms >= 0)
            if first_ms >= 0:
                changed.append(Changed(name, denied, before, first_ms))
        found.callers = _most(changed)
        return found


def _most(callers: Sequence[Changed]) -> list[Changed]:
    order = lambda one: (abs(one.requests_denied - one.requests_denied_before), -one.first_ms, one.name)  # noqa: E731
    return nlargest(MOST, callers, key=order)


def compared(found: Sequence[Against]) -> Against:
    """Of all processes."""
    whole = Against()
    for one in found:
        whole.add(one)
    return whole
