"""A strict sliding window in constant space: what the memory store keeps of one rate of one caller.

A window of W ms is cut into k sub-windows aligned to the clock; sub-window i begins at ceil(i * W / k). What was
charged in sub-window i counts until the end of sub-window i + k, so in no interval of length W more than `max` is ever
admitted, and a unit is freed at most W / k late. At most k + 1 sub-windows count, whatever `max` is.

`lua/lib/rate.lua` is the same algorithm on a hash.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from ratelimit.stores.counting.terms import Terms, leaves


@dataclass(slots=True)
class Window:
    """`older` has the sub-windows before the newest in which something was charged, each followed by its count, in
    their order: 16 bytes each, and nothing of who came once. What is not theirs of `total` is the newest's."""

    window_ms: int
    precision: int
    newest: int = -1  # the sub-window of the last charge; -1: never charged
    total: int = 0
    older: array[int] = field(default_factory=lambda: array("q"))
    place: object = field(default=None, compare=False, repr=False)  # of it, for who keeps it
    aged: bool = field(default=False, compare=False, repr=False)  # whether `older` has changed, for who keeps it

    def used(self, now_ms: int, _: Terms) -> int:
        """The units in the window at `now_ms`."""
        current = self._current(now_ms)
        if current == self.newest:
            return self.total
        if current - self.newest > self.precision:
            return 0
        return self.total - sum(self.older[1 : self._left(current) : 2])

    def repair(self, now_ms: int, _: Terms) -> int:
        """Where the clock went back by more than the window holds, count everything as of now: an obedient caller waits
        one window longer, and nobody gets more than max. Returns for how long that matters, 0 if nothing was wrong."""
        current = now_ms * self.precision // self.window_ms
        if self.newest - current <= self.precision + 1:
            return 0
        self.newest, self.older, self.aged = current, array("q"), True
        return self._leaves(current) - now_ms

    def charge(self, now_ms: int, terms: Terms, cost: int) -> int:
        """Count `cost` units. Returns for how long they matter, 0 where an earlier charge said so already."""
        used, current = self.used(now_ms, terms), self._current(now_ms)
        moved = current != self.newest
        self.aged = self.aged or moved
        if current - self.newest > self.precision:
            self.older = array("q")
        elif moved:
            if count := self._count(self.newest):
                self.older.extend((self.newest, count))
            del self.older[: self._left(current)]
        self.newest, self.total = current, used + cost
        return self._leaves(current) - now_ms if moved else 0

    def counted_at(self, now_ms: int, _: Terms) -> int:
        """An instant in the sub-window of what was just charged: now, if the clock did not go back."""
        ahead = self.newest > now_ms * self.precision // self.window_ms
        return -(-self.newest * self.window_ms // self.precision) if ahead else now_ms

    def give_back(self, units: int, at_ms: int, _: Terms) -> None:
        """To the sub-window of an instant, while it is there, and never more than is there."""
        sub_window = at_ms * self.precision // self.window_ms
        given = min(units, self._count(sub_window))
        if given and sub_window != self.newest:
            self.older[2 * self.older[::2].index(sub_window) + 1] -= given
            self.aged = True
        self.total -= given

    def reset_after(self, now_ms: int, _: Terms, used: int) -> int:
        return self._leaves(self.newest) - now_ms if used else 0

    def free_at(self, now_ms: int, terms: Terms, room: int) -> int:
        """From the oldest sub-window on, until at most `room` units are left: when the last of those leaves."""
        used = self.used(now_ms, terms)
        if used <= room:
            return now_ms
        for sub_window, count in self._counting(self._current(now_ms)):
            used -= count
            if used <= room:
                return self._leaves(sub_window)
        return self._leaves(self.newest)

    def _current(self, now_ms: int) -> int:
        """The sub-window in which a charge counts; the newest, if the clock went back a little."""
        return max(now_ms * self.precision // self.window_ms, self.newest)

    def _leaves(self, sub_window: int) -> int:
        return leaves(sub_window, self.window_ms, self.precision)

    def _left(self, current: int) -> int:
        """How much of `older` is of sub-windows that count no more."""
        left = 0
        while left < len(self.older) and self.older[left] < current - self.precision:
            left += 2
        return left

    def _counting(self, current: int) -> Iterator[tuple[int, int]]:
        left = self._left(current)
        return zip(self.older[left::2], self.older[left + 1 :: 2], strict=True)

    def _count(self, sub_window: int) -> int:
        """What was charged in one of them."""
        if sub_window == self.newest:
            return self.total - sum(self.older[1::2])
        return dict(self._counting(self.newest)).get(sub_window, 0)
