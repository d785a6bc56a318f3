"""A limit with another max, as if it were alone: requests that it denies at each of some thresholds, in one pass.

A counter that has never come to a threshold has counted there what it has counted without any: nothing is kept for it.
Where it goes beyond one, a fork begins with what counts by then, and goes on by itself. When nothing counts any more
all are the same again. A fork that denies knows until when: most of its requests cost a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from ratelimit.model import FOREVER

Pairs = list[int]  # sub-windows in which something counts, each followed by its count, in their order


class UnitForks:
    """Of a rate or a quota of one caller. A quota's period is a sub-window with none before it that counts: `back`,
    the sub-windows before the present one that still count, is 0."""

    __slots__ = (
        "_blocked", "_cost", "_denied", "_pairs", "_skipped", "_skipped_cost", "_skipped_until", "_used", "latest",
        "next", "thresholds",
    )  # fmt: skip

    def __init__(self, thresholds: Sequence[int], denied: list[int]) -> None:
        """`denied` has the requests that each threshold denies: they are added to it, some of them late."""
        self.latest = -1  # the sub-window of the last request
        self.thresholds = thresholds
        self.next = thresholds[0]  # the first that nothing was beyond
        self._denied = denied
        self._pairs: list[Pairs] = []
        self._used: list[int] = []
        self._blocked: list[int] = []  # before this sub-window nothing of `_cost` or more fits
        self._cost: list[int] = []
        self._skipped = 0  # requests that all of them deny, and that are not in `denied` yet
        self._skipped_until = self._skipped_cost = 0  # before this sub-window they deny all that cost as much

    def turn(self, thresholds: Sequence[int]) -> None:
        """The thresholds have changed."""
        self.flush()
        self.thresholds = thresholds
        self._blocked = [0] * len(self._blocked)
        self._skipped_until = 0
        self._set_next()

    def flush(self) -> None:
        """Have `denied` be true."""
        if self._skipped:
            for number in range(len(self._pairs)):
                self._denied[number] += self._skipped
            self._skipped = 0

    def step(self, current: int, back: int, cost: int) -> None:
        """A request of the sub-window `current`."""
        self.latest = current
        if current < self._skipped_until and cost >= self._skipped_cost:
            self._skipped += 1
            return
        until = current
        for number, pairs in enumerate(self._pairs):
            if current < self._blocked[number] and cost >= self._cost[number]:
                self._denied[number] += 1
                until = self._blocked[number] if number == 0 else min(until, self._blocked[number])
            elif self._fits(number, pairs, current, back, cost):
                until = 0
            else:
                self._denied[number] += 1
                self._blocked[number] = pairs[0] + back + 1 if pairs else current + 1
                self._cost[number] = cost
                until = self._blocked[number] if number == 0 else min(until, self._blocked[number])
        self._skipped_until, self._skipped_cost = until, cost

    def _fits(self, number: int, pairs: Pairs, current: int, back: int, cost: int) -> bool:
        """Whether there is room at a threshold; then it is taken."""
        used, gone = self._used[number], 0
        while gone < len(pairs) and pairs[gone] < current - back:
            used -= pairs[gone + 1]
            gone += 2
        if gone:
            del pairs[:gone]
        fits = used + cost <= self.thresholds[number]
        if fits:
            used += cost
            if pairs and pairs[-2] == current:
                pairs[-1] += cost
            else:
                pairs += (current, cost)
        self._used[number] = used
        return fits

    def begin(self, current: int, cost: int, used: int, before: Pairs) -> None:
        """Where `used` is beyond `next` with this request: each threshold that it goes beyond for the first time denies
        it. `before` is what counted before it."""
        self.flush()
        self.latest = current
        while len(self._pairs) < len(self.thresholds) and used > self.thresholds[len(self._pairs)]:
            self._denied[len(self._pairs)] += 1
            self._pairs.append([*before])
            self._used.append(used - cost)
            self._blocked.append(0)
            self._cost.append(cost)
        self._skipped_until = 0
        self._set_next()

    def _set_next(self) -> None:
        number = len(self._pairs)
        self.next = self.thresholds[number] if number < len(self.thresholds) else FOREVER


class SlotForks:
    """Of a concurrency cap of one caller: when each request ends that has a slot."""

    __slots__ = ("_ends", "latest")

    def __init__(self) -> None:
        self.latest = -1  # the last end of all
        self._ends: list[list[int]] = []

    def step(self, now_ms: int, end_ms: int, thresholds: Sequence[int], denied: list[int]) -> None:
        self.latest = max(self.latest, end_ms)
        for number, ends in enumerate(self._ends):
            while ends and ends[0] <= now_ms:
                heappop(ends)
            if len(ends) < thresholds[number]:
                heappush(ends, end_ms)
            else:
                denied[number] += 1

    def begin(self, ends: Sequence[int], end_ms: int, thresholds: Sequence[int], denied: list[int]) -> None:
        """`ends` are those of the requests that run beside this one, a heap."""
        self.latest = max(self.latest, end_ms, *ends, 0)
        while len(self._ends) < len(thresholds) and len(ends) + 1 > thresholds[len(self._ends)]:
            denied[len(self._ends)] += 1
            self._ends.append([*ends])


def merged(first: Pairs, second: Pairs) -> Pairs:
    """What counts in both."""
    counts = dict(zip(first[::2], first[1::2], strict=True))
    for sub_window, count in zip(second[::2], second[1::2], strict=True):
        counts[sub_window] = counts.get(sub_window, 0) + count
    return [number for pair in sorted(counts.items()) if pair[1] for number in pair]
