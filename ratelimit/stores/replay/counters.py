"""The counters of one caller, for who looks at them in the order of time: `look` at an instant, then `add`.

Each is what `stores/counting` has of it (`Window`, `Usage`, `Slots`), with the look and the charge in one step and
nothing in it for a clock that goes back. `kept` gives that one, which knows how long a denied caller waits.
"""

from __future__ import annotations

from array import array
from typing import Any

from ratelimit.model import FOREVER, Concurrency, Rate
from ratelimit.stores.counting.counters import Slots, Usage
from ratelimit.stores.counting.window import Window
from ratelimit.stores.replay.tariffs import Tariff


class Rates:
    """Of a rate. `older` has the sub-windows before `newest` in which something counts, each followed by its count."""

    __slots__ = ("count", "newest", "notes", "older", "pending", "tariff", "used")

    def __init__(self, tariff: Tariff) -> None:
        self.tariff = tariff
        self.used = 0  # units that count at the instant that was last looked at
        self.newest = -1  # the sub-window of that instant, and what was charged in it
        self.count = 0
        self.older: array[int] | None = None
        self.pending = 0  # requests whose units may come back
        self.notes: Any = None  # of who watches

    def look(self, now_ms: int) -> int:
        """The units that count now."""
        tariff = self.tariff
        current = now_ms * tariff.second // tariff.first
        if current != self.newest:
            self._move(current, current - tariff.second)
        return self.used

    def _move(self, current: int, oldest: int) -> None:
        """To a later sub-window: what is before the oldest counts no more."""
        older, count = self.older, self.count
        if count:
            if older is None:
                older = self.older = array("q", (self.newest, count))
            else:
                older.append(self.newest)
                older.append(count)
            self.count = 0
        self.newest = current
        if older is not None and older[0] < oldest:
            left, end = 0, len(older)
            while left < end and older[left] < oldest:
                self.used -= older[left + 1]
                left += 2
            if left == end:
                self.older = None
            else:
                del older[:left]

    def add(self, cost: int) -> None:
        self.count += cost
        self.used += cost

    def give_back(self, units: int, at_ms: int) -> None:
        """To the sub-window of an instant, while it counts, and never more than is there."""
        sub_window = at_ms * self.tariff.second // self.tariff.first
        if sub_window == self.newest:
            given = min(units, self.count)
            self.count -= given
        else:
            older = self.older
            at = older[::2].index(sub_window) if older is not None and sub_window in older[::2] else None
            if older is None or at is None:
                return
            given = min(units, older[2 * at + 1])
            older[2 * at + 1] -= given
        self.used -= given

    def kept(self) -> Window:
        older, newest, rate = array("q", self.older or ()), self.newest, self.tariff.terms
        if not self.count and older:
            newest = older[-2]
            del older[-2:]
        return Window(rate.first, rate.second, newest, self.used, older)

    def copy(self) -> Rates:
        """One more that has counted the same."""
        twin = Rates(self.tariff)
        twin.used, twin.newest, twin.count = self.used, self.newest, self.count
        twin.older = None if self.older is None else self.older[:]
        return twin


class Quotas:
    """Of a quota: what was charged in the period that begins at `start`."""

    __slots__ = ("notes", "pending", "start", "tariff", "used")

    def __init__(self, tariff: Tariff) -> None:
        self.tariff = tariff
        self.used = 0
        self.start = -1
        self.pending = 0
        self.notes: Any = None

    def look(self, now_ms: int) -> int:
        if self.start != self.tariff.first:
            self.start, self.used = self.tariff.first, 0
        return self.used

    def add(self, cost: int) -> None:
        self.used += cost

    def give_back(self, units: int, at_ms: int) -> None:
        if at_ms >= self.tariff.first and self.start == self.tariff.first:
            self.used -= min(units, self.used)

    def kept(self) -> Usage:
        return Usage(self.used, self.start)

    def copy(self) -> Quotas:
        twin = Quotas(self.tariff)
        twin.used, twin.start = self.used, self.start
        return twin


class InFlight:
    """Of a concurrency cap: the requests that hold a slot. A lease is renewed while its request runs, so that none ends
    before `leave`."""

    __slots__ = ("notes", "pending", "tariff", "used")

    def __init__(self, tariff: Tariff) -> None:
        self.tariff = tariff
        self.used = 0
        self.pending = 0
        self.notes: Any = None

    def look(self, now_ms: int) -> int:
        return self.used

    def add(self, cost: int) -> None:
        self.used += 1

    def leave(self) -> None:
        self.used -= 1

    def give_back(self, units: int, at_ms: int) -> None:
        """A slot is no unit."""

    def kept(self) -> Slots:
        slots = Slots()
        slots.leases = {str(number): FOREVER for number in range(self.used)}
        return slots

    def copy(self) -> InFlight:
        twin = InFlight(self.tariff)
        twin.used = self.used
        return twin


Counter = Rates | Quotas | InFlight


def counter_of(tariff: Tariff) -> Counter:
    if isinstance(tariff.limit.kind, Rate):
        return Rates(tariff)
    return InFlight(tariff) if isinstance(tariff.limit.kind, Concurrency) else Quotas(tariff)
