"""What was admitted without the store and is owed to it, until it is charged there."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable

from ratelimit.ground.words import fields
from ratelimit.stores.counting.terms import Item, Place

logger = logging.getLogger("ratelimit")

MOST = 50_000  # entries of 0.53 kB, and 0.15 kB for each further one of a counter: 27 MB an event loop


class _Debt:
    """Of one counter."""

    __slots__ = ("places", "slot")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.places: dict[Place, int] = {}


class Journal:
    """Of one event loop. `slot_of` gives the slot of a key. Of `most` entries the oldest callers are dropped first."""

    def __init__(self, slot_of: Callable[[str], int] = lambda _: 0, most: int = MOST) -> None:
        self._slot_of = slot_of
        self._most = most
        self._debts: dict[str, _Debt] = {}  # by counter, the one that owes for the longest time first
        self._size = 0
        self._slots: Counter[int] = Counter()  # how many entries are units that were admitted there
        self._open: dict[str, int] = {}  # units by counter, also those that are being settled or may be owed
        self._dropped = [0, 0]  # counters and units
        self._given_back = b""  # the number of the newest call of which something is to be given back

    def __len__(self) -> int:
        return self._size

    def owed_in(self, slot: int) -> bool:
        """Whether units were admitted there: what is only to be given back is not."""
        return slot in self._slots

    @property
    def open_units(self) -> int:
        """All that the store may not know of."""
        return sum(units for units in self._open.values() if units > 0)

    def open(self, key: str) -> int:
        """The same of one counter, less what is to be given back."""
        return self._open.get(key, 0)

    def expect(self, item: Item) -> None:
        """It was admitted; whether it is owed is not known yet."""
        self._count(item.key, item.units)

    def forget(self, item: Item) -> None:
        """What was expected is not owed, or not any more."""
        self._count(item.key, -item.units)

    def owe(self, item: Item) -> None:
        """What was expected is owed."""
        key, place, units = item
        debt = self._debts.get(key)
        if debt is None:
            debt = self._debts[key] = _Debt(self._slot_of(key))
        if place in debt.places:
            units += self._taken(debt, place)
            if units:
                self._put(debt, place, units)
            elif not debt.places:  # given back before it was charged
                del self._debts[key]
            return
        self._put(debt, place, units)
        for older in [old for old in debt.places if _over(old, place)]:
            self._drop(key, older)
        if self._size > self._most:
            self._drop_oldest()

    def give_back(self, item: Item, number: bytes) -> None:
        """A call of this number has charged it for nothing."""
        self._given_back = max(self._given_back, number)
        self.expect(item)
        self.owe(item)

    def take(self, wanted: Callable[[int], bool]) -> list[tuple[int, Item]]:
        """What is owed in slots that are wanted, the oldest first. Who takes it says what became of it."""
        taken: list[tuple[int, Item]] = []
        for key, debt in [entry for entry in self._debts.items() if wanted(entry[1].slot)]:
            del self._debts[key]
            taken += [(debt.slot, Item(key, place, self._taken(debt, place))) for place in list(debt.places)]
        return taken

    @property
    def refunds(self) -> bool:
        """Whether something may have to be given back."""
        return bool(self._given_back)

    def drop_refunds(self, after: bytes) -> None:
        """What is to be given back may not be there any more, unless a marker tells of a call as late as that."""
        if after >= self._given_back:
            return
        self._given_back = b""
        for _, item in self.take(lambda _: True):
            if item.units > 0:
                self.owe(item)
            else:
                self.forget(item)

    def drop_refunds_of(self, keys: Iterable[str]) -> None:
        """These counters were reset: what would go back to them is somebody else's by now."""
        for key in keys:
            places = self._debts[key].places if key in self._debts else {}
            for place in [place for place, units in places.items() if units < 0]:
                self._drop(key, place)

    def report(self) -> None:
        """What was dropped is said once, when it is over."""
        if self._dropped[0]:
            extra = fields("units_never_charged", counters=self._dropped[0], units=self._dropped[1])
            logger.error(
                "admitted without the store and dropped: %d counters, %d units in all", *self._dropped, extra=extra
            )
            self._dropped = [0, 0]

    def _count(self, key: str, units: int) -> None:
        left = self._open.get(key, 0) + units
        if left:
            self._open[key] = left
        else:
            self._open.pop(key, None)

    def _drop(self, key: str, place: Place) -> int:
        debt = self._debts[key]
        units = self._taken(debt, place)
        self._count(key, -units)
        if not debt.places:
            del self._debts[key]
        return units

    def _put(self, debt: _Debt, place: Place, units: int) -> None:
        debt.places[place] = units
        self._size += 1
        if units > 0:
            self._slots[debt.slot] += 1

    def _taken(self, debt: _Debt, place: Place) -> int:
        units = debt.places.pop(place)
        self._size -= 1
        if units > 0:
            self._slots[debt.slot] -= 1
            if not self._slots[debt.slot]:
                del self._slots[debt.slot]
        return units

    def _drop_oldest(self) -> None:
        key, debt = next(iter(self._debts.items()))
        if not self._dropped[0]:
            what = "more callers than can be kept account of without the store: the oldest will not be charged"
            logger.error(what, extra=fields("account_full"))
        self._dropped[0] += 1
        self._dropped[1] += sum([self._drop(key, place) for place in list(debt.places)])


def _over(old: Place, new: Place) -> bool:
    """Whether what was counted in one place does not count any more where the other is now."""
    if old.letter == "q":
        return old.second <= new.first
    return new.sub_window - old.sub_window > new.second
