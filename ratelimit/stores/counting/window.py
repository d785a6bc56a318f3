"""A strict sliding window in constant space: what the memory store keeps of one rate of one caller.

A window of W ms is cut into k sub-windows aligned to the clock; sub-window i begins at ceil(i * W / k). What was
charged in sub-window i counts until the end of sub-window i + k, so in no interval of length W more than `max` is ever
admitted, and a unit is freed at most W / k late. Slots are a ring of R = k + 1 counts: R numbers whatever `max` is.

`lua/lib/rate.lua` is the same algorithm on a hash.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ratelimit.stores.counting.terms import Terms, leaves


@dataclass(slots=True)
class Window:
    window_ms: int
    precision: int
    newest: int = -1  # the sub-window of the last charge; -1: never charged
    total: int = 0  # the sum of the slots
    slots: dict[int, int] = field(default_factory=dict)  # by sub-window modulo R; an empty slot is absent

    def used(self, now_ms: int, _: Terms) -> int:
        """The units in the window at `now_ms`."""
        current = self._current(now_ms)
        if current == self.newest:
            return self.total
        if current - self.newest > self.precision:
            return 0
        return self.total - sum(self._slot(i) for i in range(self.newest + 1, current + 1))

    def repair(self, now_ms: int, _: Terms) -> int:
        """Where the clock went back by more than the ring holds, count everything as of now: an obedient caller waits
        one window longer, and nobody gets more than max. Returns for how long that matters, 0 if nothing was wrong."""
        current = now_ms * self.precision // self.window_ms
        if self.newest - current <= self.precision + 1:
            return 0
        self.newest, self.slots = current, {current % (self.precision + 1): self.total}
        return self._leaves(current) - now_ms

    def charge(self, now_ms: int, terms: Terms, cost: int) -> int:
        """Count `cost` units. Returns for how long they matter, 0 where an earlier charge said so already."""
        used, current = self.used(now_ms, terms), self._current(now_ms)
        moved = current != self.newest
        if current - self.newest > self.precision:
            self.slots = {}
        else:
            for i in range(self.newest + 1, current + 1):  # slots that were skipped hold counts that have left
                self.slots.pop(i % (self.precision + 1), None)
        self.newest, self.total = current, used + cost
        self.slots[current % (self.precision + 1)] = self._slot(current) + cost
        return self._leaves(current) - now_ms if moved else 0

    def counted_at(self, now_ms: int, _: Terms) -> int:
        """An instant in the sub-window of what was just charged: now, if the clock did not go back."""
        ahead = self.newest > now_ms * self.precision // self.window_ms
        return -(-self.newest * self.window_ms // self.precision) if ahead else now_ms

    def give_back(self, units: int, at_ms: int, _: Terms) -> None:
        """To the sub-window of an instant, while the ring has it, and never more than is there."""
        sub_window = at_ms * self.precision // self.window_ms
        if 0 <= self.newest - sub_window <= self.precision and (units := min(units, self._slot(sub_window))):
            self.slots[sub_window % (self.precision + 1)] -= units
            self.total -= units

    def reset_after(self, now_ms: int, _: Terms, used: int) -> int:
        return self._leaves(self.newest) - now_ms if used else 0

    def free_at(self, now_ms: int, terms: Terms, room: int) -> int:
        """From the oldest sub-window on, until at most `room` units are left: when the last of those leaves."""
        used, oldest = self.used(now_ms, terms), self._current(now_ms) - self.precision
        if used <= room:
            return now_ms
        used -= self._slot(oldest)
        while used > room:
            oldest += 1
            used -= self._slot(oldest)
        return self._leaves(oldest)

    def _current(self, now_ms: int) -> int:
        """The sub-window in which a charge counts; the newest, if the clock went back a little."""
        return max(now_ms * self.precision // self.window_ms, self.newest)

    def _leaves(self, sub_window: int) -> int:
        return leaves(sub_window, self.window_ms, self.precision)

    def _slot(self, sub_window: int) -> int:
        return self.slots.get(sub_window % (self.precision + 1), 0)
