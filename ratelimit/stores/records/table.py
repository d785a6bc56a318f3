"""Counters by their keys: taken out as objects that know their arithmetic, and put back as numbers."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from ratelimit.ground.memo import Returning
from ratelimit.model import Charge, Rate
from ratelimit.stores.counting.counters import Usage
from ratelimit.stores.counting.window import Window
from ratelimit.stores.records.callers import ANONYMOUS, SHARED, Callers
from ratelimit.stores.records.record import (
    FIRST,
    GONE,
    MARK,
    OLDER,
    TOTAL,
    UNTIL,
    WIDTH,
    Record,
    clear,
    grown,
    joined,
    place_in,
    split,
)
from ratelimit.stores.records.shards import Shards

GRACE_MS = 1_000  # what counts is kept so much longer

Place = tuple[Record, int]


class CounterTable:
    """Rates and quotas of about `most` callers, see callers.py. `on_push_out` is told the key of each counter that is
    dropped though it still counts. `now` is of a clock that never goes back, in ms."""

    def __init__(self, most: int, on_push_out: Callable[[str], object]) -> None:
        self.callers = Callers(most, self._drop, self._drop_older, self._push_out)
        self._on_push_out = on_push_out
        self._whats: list[str] = []  # what can be counted: a few of each limit of a policy
        self._numbers: dict[str, int] = {}
        self._places: Returning[str, Place] = Returning()  # of counters of late, of a caller's own
        self._older: Shards[bytes] = Shards()  # of rates, what was counted before their newest sub-window

    def place(self, key: str) -> Place | None:
        """Where a counter is, be it one that its caller shares."""
        name, what = split(key)
        return self._place(self.callers.find(name), what)

    def seen(self, charges: Sequence[Charge], now: int) -> None:
        """Somebody asks for these."""
        if charges and charges[0].key.startswith(ANONYMOUS):
            for name in {split(charge.key)[0] for charge in charges}:
                self.callers.seen(name, now)

    def load(self, charge: Charge, *, own: bool = False) -> Window | Usage | None:
        """None where nothing is counted. `own`: not where others are counted too."""
        place = self._places.get(charge.key)
        if place is None or place[0][place[1]] == GONE:
            name, what = split(charge.key)
            record = self.callers.own(name)
            shared = record is None and not own
            place = self._place(self.callers.find(name) if shared else record, what)
            if place is None:
                return None
            if not shared:
                self._places.put(charge.key, place)
        (record, at), kind = place, charge.limit.kind
        if record[at + MARK] == GONE:
            return None
        mark, total = record[at + MARK], record[at + TOTAL]
        if not isinstance(kind, Rate):
            return Usage(total, mark, place)
        older = self._older.get(self._key_of_older(charge.key, record)) if record[OLDER] else None
        return Window(kind.window_ms, kind.precision, mark, total, array("q", older or b""), place)

    def save(self, key: str, counter: Window | Usage, matters_ms: int, now: int) -> None:
        """It matters for so long, or for as long as was said before."""
        place: Place | None = counter.place  # type: ignore[assignment] # it is of here
        if place is None or place[0][place[1]] == GONE:
            place = self._place_for(key, now)
        (record, at), until = place, now + matters_ms + GRACE_MS
        if until > record[UNTIL]:
            record[UNTIL] = until
        if until < self.callers.dies_at:
            self.callers.dies_at = until
        record[at + TOTAL] = counter.total
        if isinstance(counter, Usage):
            record[at + MARK] = counter.charged_at
            return
        record[at + MARK] = counter.newest
        if counter.aged and (counter.older or record[OLDER]):
            self._keep_older(key, counter.older, record, until)

    def forget(self, key: str) -> bool:
        """Whether there was something in it. One that is shared stays."""
        name, what = split(key)
        found = self._place(self.callers.own(name), what)
        if found is None:
            return False
        record, place = found
        record[place + MARK], record[place + TOTAL] = GONE, 0
        self._older.pop(key)
        return True

    def _place(self, record: Record | None, what: str) -> Place | None:
        number = self._numbers.get(what)
        if record is None or number is None:
            return None
        at = place_in(record, number)
        return (record, at) if at and record[at + MARK] != GONE else None

    def _place_for(self, key: str, now: int) -> Place:
        name, what = split(key)
        number = self._numbers.get(what)
        if number is None:
            self._numbers[what] = number = len(self._whats)
            self._whats.append(what)
        record = self.callers.record(name, now)
        at = place_in(record, number)
        return (record, at) if at else (self.callers.replace(name, grown(record, number)), len(record))

    def _keep_older(self, key: str, older: array[int], record: Record, until: int) -> None:
        key = self._key_of_older(key, record)
        if older:
            record[OLDER] = max(record[OLDER], until)
            self._older.of(key)[key] = older.tobytes()
        else:
            self._older.pop(key)

    def _key_of_older(self, key: str, record: Record) -> str:
        """By whose record it is: while a request is counted, who shared may have become one of its own."""
        name, what = split(key)
        own = self.callers.own(name)
        return key if own is not None and own.obj is record.obj else joined(SHARED, what)

    def _drop(self, name: str, record: Record) -> None:
        """Whoever still has it finds nothing in it."""
        if record[OLDER]:
            self._drop_older(name, record)
        clear(record)

    def _drop_older(self, name: str, record: Record) -> None:
        for key in self._keys(name, record):
            self._older.pop(key)

    def _push_out(self, name: str, record: Record) -> None:
        for key in self._keys(name, record):
            self._on_push_out(key)

    def _keys(self, name: str, record: Record) -> list[str]:
        return [joined(name, self._whats[number]) for number in record[FIRST::WIDTH]]
