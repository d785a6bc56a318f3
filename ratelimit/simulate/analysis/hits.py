"""A caller that is denied: when first, how often, for how long at a time, and what its denials look like."""

from __future__ import annotations

from array import array

from ratelimit.model import State
from ratelimit.simulate.analysis.found import HOURS, hour_of
from ratelimit.simulate.analysis.patterns import Shape

HOUR, MINUTE, SECOND = 3_600_000, 60_000, 1_000
MOST_DETAILED = 10_000  # of whom the hours and the seconds of denials are kept; 2 kB each


class Stretch:
    """Of one limit that has denied: from a denial to the next request that it admits, or to the end of the wait that
    was told last."""

    __slots__ = ("began_ms", "denied", "ends_ms", "longest_ms")

    def __init__(self) -> None:
        self.denied = 0
        self.began_ms = -1  # -1: it is over
        self.ends_ms = 0
        self.longest_ms = 0

    def deny(self, now_ms: int, wait_ms: int) -> None:
        self.denied += 1
        if self.began_ms >= 0 and now_ms > self.ends_ms:
            self.end(self.ends_ms)  # nobody has asked since it was over
        if self.began_ms < 0:
            self.began_ms = now_ms
        self.ends_ms = now_ms + wait_ms

    def end(self, now_ms: int) -> None:
        self.longest_ms = max(self.longest_ms, min(now_ms, self.ends_ms) - self.began_ms)
        self.began_ms = -1


class Denials:
    """Of one caller. `week` and `shape` are None where there were too many callers to keep them."""

    __slots__ = ("denied", "first_ms", "open", "shape", "stretches", "week")

    def __init__(self, now_ms: int, *, detailed: bool) -> None:
        self.first_ms = now_ms
        self.denied = 0
        self.open = 0  # stretches that go on
        self.stretches: dict[str, Stretch] = {}  # by name of the limit
        self.week = array("I", bytes(4 * HOURS)) if detailed else None
        self.shape = Shape() if detailed else None

    def deny(self, now_ms: int, call: bytes, state: State) -> None:
        self.denied += 1
        wait_ms = state.retry_after_ms or 0  # what can never pass is no wait
        stretch = self.stretches.get(state.limit.name)
        if stretch is None:
            stretch = self.stretches[state.limit.name] = Stretch()
        stretch.deny(now_ms, wait_ms)
        if self.week is not None and self.shape is not None:
            self.week[hour_of(now_ms)] += 1
            self.shape.deny(now_ms, call, wait_ms)

    def admit(self, now_ms: int, names: tuple[str, ...]) -> None:
        """A request that these limits count."""
        for name, stretch in self.stretches.items():
            if stretch.began_ms >= 0 and name in names:
                stretch.end(now_ms)
        if self.shape is not None:
            self.shape.admit(now_ms)

    def end(self) -> tuple[str, int]:
        """The limit that has denied most often, and the longest stretch of all."""
        for stretch in self.stretches.values():
            if stretch.began_ms >= 0:
                stretch.end(stretch.ends_ms)
        longest = max(stretch.longest_ms for stretch in self.stretches.values())
        return max(self.stretches, key=lambda name: (self.stretches[name].denied, name)), longest
