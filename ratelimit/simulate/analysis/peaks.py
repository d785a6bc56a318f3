"""The largest `used` of each counter, had every request been counted: a caller would be denied at a max of T, by this
limit alone, if and only if its peak is above T. One look at each request so gives the answer for every T.

Until its first denial a counter has counted every request. From then on the units that were denied are counted in a
second one with the same window: what both count together is what the one would have, had it denied nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from ratelimit.control.outcomes import conditional
from ratelimit.model import FOREVER, Quota
from ratelimit.simulate.analysis.forks import Pairs, SlotForks, UnitForks, merged
from ratelimit.simulate.analysis.found import OfLimit, share_of, thresholds_of
from ratelimit.stores.replay import Quotas, Rates, Tariff

MayFork = Callable[["Peak", int], bool]  # whether a peak may begin to fork at an instant

ALWAYS = -1  # a `quiet` that everything is above


class _Peak:
    """Of one counter. Up to `quiet` a `used` has only to be compared with `top`; above it, `see` is to be called."""

    __slots__ = (
        "calls", "conditional", "max", "of", "peak", "quiet", "share", "tariff", "thresholds", "top", "uncounted",
    )  # fmt: skip

    def __init__(self, of: OfLimit, tariff: Tariff) -> None:
        self.of = of
        self.tariff = tariff
        self.conditional = conditional(tariff.limit)
        self.calls = 0  # requests
        self.top = 0  # the peak under the present max,
        self.peak = 0  # under those before it,
        self.share = 0.0  # and the largest part of one of them
        self.uncounted = False
        self._take(tariff.max)

    def _take(self, maximum: int) -> None:
        self.max = maximum
        self.thresholds = thresholds_of(maximum)
        self.quiet = FOREVER if self.uncounted else self.thresholds[0]

    def turn(self) -> None:
        """The max has become another one."""
        self.peak, self.share, self.top = self.total, self.largest_share, 0
        self._take(self.tariff.max)

    @property
    def total(self) -> int:
        return max(self.peak, self.top)

    @property
    def largest_share(self) -> float:
        return max(self.share, share_of(self.top, self.max))


class UnitPeak(_Peak):
    """Of a rate or a quota."""

    __slots__ = ("denied", "forks")

    def __init__(self, of: OfLimit, tariff: Tariff) -> None:
        super().__init__(of, tariff)
        self.denied: Rates | Quotas | None = None  # what was denied and may still count
        self.forks: UnitForks | None = None

    def turn(self) -> None:
        super().turn()
        if self.forks is not None:
            self.quiet = ALWAYS
            self.forks.turn(self.thresholds)

    def see(self, counter: Rates | Quotas, cost: int, now_ms: int, may_fork: MayFork, *, charged: bool) -> None:
        """A request that costs units. `charged`: the counter has counted them."""
        denied = self.denied
        if denied is None and not charged:
            denied = self.denied = type(counter)(counter.tariff)
        used = counter.used
        if denied is not None:
            denied.look(now_ms)
            if not charged:
                denied.add(cost)
            used += denied.used
            if not denied.used:
                self.denied = None
        if used > self.top:
            self.top = used
        if self.forks is not None and used == cost:  # nothing else counts any more: all are the same again
            self.drop()
        if used > self.quiet:
            self._fork(counter, cost, used, now_ms, may_fork)

    def _fork(self, counter: Rates | Quotas, cost: int, used: int, now_ms: int, may_fork: MayFork) -> None:
        # the sub-window that was last looked at, and how many before it count; of a quota its period, alone
        current, back = (counter.newest, counter.tariff.second) if isinstance(counter, Rates) else (counter.start, 0)
        forks = self.forks
        if forks is not None:
            forks.step(current, back, cost)
        elif may_fork(self, now_ms):
            forks = self.forks = UnitForks(self.thresholds, self.of.points)
            self.quiet = ALWAYS
        else:
            self.uncounted, self.quiet = True, FOREVER
            return
        if used > forks.next:
            before = merged(pairs_of(counter), [current, -cost])
            forks.begin(current, cost, used, merged(before, pairs_of(self.denied) if self.denied else []))

    def drop(self) -> None:
        """Nothing of what was forked counts any more."""
        if self.forks is not None:
            self.forks.flush()
        self.forks, self.quiet = None, self.thresholds[0]

    def is_over(self, now_ms: int) -> bool:
        """Whether nothing counts any more of what was forked."""
        tariff = self.tariff
        is_quota = tariff.terms.kind is Quota
        oldest = tariff.first if is_quota else now_ms * tariff.second // tariff.first - tariff.second
        return self.forks is None or self.forks.latest < oldest


class SlotPeak(_Peak):
    """Of a concurrency cap: the requests that would run beside each other. It sees every one."""

    __slots__ = ("ends", "forks")

    def __init__(self, of: OfLimit, tariff: Tariff) -> None:
        super().__init__(of, tariff)
        self.ends: list[int] = []  # a heap
        self.forks: SlotForks | None = None

    def _take(self, maximum: int) -> None:
        super()._take(maximum)
        self.quiet = ALWAYS

    def see(self, now_ms: int, took_ms: int, may_fork: MayFork) -> None:
        """A request that takes a slot, or would."""
        ends = self.ends
        while ends and ends[0] <= now_ms:
            heappop(ends)
        used = len(ends) + 1
        if used > self.top:
            self.top = used
        end_ms = now_ms + took_ms
        if not ends:
            self.forks = None
        if self.forks is not None or used > self.thresholds[0]:
            self._fork(end_ms, now_ms, may_fork)
        heappush(ends, end_ms)

    def _fork(self, end_ms: int, now_ms: int, may_fork: MayFork) -> None:
        forks = self.forks
        if forks is not None:
            forks.step(now_ms, end_ms, self.thresholds, self.of.points)
        elif not self.uncounted and may_fork(self, now_ms):
            forks = self.forks = SlotForks()
        else:
            self.uncounted = True
            return
        forks.begin(self.ends, end_ms, self.thresholds, self.of.points)

    def drop(self) -> None:
        self.forks = None

    def is_over(self, now_ms: int) -> bool:
        return self.forks is None or self.forks.latest <= now_ms


Peak = UnitPeak | SlotPeak


def pairs_of(counter: Rates | Quotas) -> Pairs:
    """What counts, by sub-window."""
    if not isinstance(counter, Rates):
        return [counter.start, counter.used]
    pairs = [*counter.older] if counter.older is not None else []
    return [*pairs, counter.newest, counter.count] if counter.count else pairs
