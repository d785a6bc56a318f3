"""A set of charges that comes again and again: inside one sub-window, a decision is a look at some numbers.

With two limits that is a tenth of the time of a look at each counter, with ten a twentieth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ratelimit.ground.memo import Returning
from ratelimit.model import Charge, Decision, Quota
from ratelimit.stores.counting.allowed import AllowedDecision, TermSet, TermSets
from ratelimit.stores.counting.terms import Terms
from ratelimit.stores.counting.window import Window
from ratelimit.stores.records.record import MARK, Record
from ratelimit.stores.records.table import Place

LASTS_MS = 1_000  # who is served by it was seen so long ago at most
AGAIN_MS = 2_000  # who comes back later than that is not worth the preparation

# The record, where in it the mark is, the least and the last mark with which the total behind it counts, the largest
# total with room for the cost, the cost, whether the mark is the instant of the last charge.
_Row = tuple[Record, int, int, int, int, int, bool]
Keep = Callable[[str, Window, int], None]


class Prepared:
    """`charges` from `since_ms` until `until_ms`, by the store's clock."""

    __slots__ = ("_ends", "_places", "_rows", "_term_set", "asked_ms", "charges", "since_ms", "until_ms")

    _term_set: TermSet
    _places: Sequence[Place]

    def __init__(self, charges: tuple[Charge, ...], now_ms: int) -> None:
        self.charges = charges
        self.asked_ms = now_ms
        self.since_ms = self.until_ms = 0  # nothing is prepared yet
        self._rows: list[_Row] = []
        self._ends: list[int] = []  # when the sub-window or period of each is over

    def prepare(self, now_ms: int, term_set: TermSet, places: Sequence[Place]) -> None:
        """After a decision that charged all of it, at these places."""
        self._term_set, self._places = term_set, places
        made = [self._row(c, now_ms) for c in range(len(places))]
        self._rows, self._ends = [row for row, _ in made], [ends for _, ends in made]
        self._begin(now_ms)

    def decide(self, now_ms: int) -> AllowedDecision | None:
        """None where it takes a closer look."""
        rows = self._rows
        for record, mark, least, last, room, _, _ in rows:
            if not least <= record[mark] <= last or record[mark + 1] > room:
                return None
        used = []
        for record, mark, _, _, _, cost, dated in rows:
            record[mark + 1] = total = record[mark + 1] + cost
            used.append(total)
            if dated and record[mark] < now_ms:
                record[mark] = now_ms
        return AllowedDecision(self.charges, self._term_set, now_ms, (), used)

    def advance(self, now_ms: int, load: Callable[[Charge], object], keep: Keep) -> AllowedDecision | None:
        """The same where sub-windows are over: what has left them is dropped, if there is room in all limits then."""
        if not self._rows or not self.since_ms <= now_ms < self._term_set.until_ms:
            return None
        moved: list[tuple[int, Terms, Window]] = []
        for c, (ends, terms) in enumerate(zip(self._ends, self._term_set.terms, strict=True)):
            record, mark, least, last, room, _, _ = self._rows[c]
            if ends > now_ms:
                if not least <= record[mark] <= last or record[mark + 1] > room:
                    return None
                continue
            window = load(self.charges[c])
            if not isinstance(window, Window) or window.newest > _sub_window(terms, now_ms):
                return None
            if window.used(now_ms, terms) > room:
                return None
            moved.append((c, terms, window))
        for c, terms, window in moved:
            keep(self.charges[c].key, window, window.charge(now_ms, terms, 0))
            self._rows[c], self._ends[c] = self._row(c, now_ms)
        self._begin(now_ms)
        return self.decide(now_ms)

    def _row(self, c: int, now_ms: int) -> tuple[_Row, int]:
        terms, cost, (record, place) = self._term_set.terms[c], self.charges[c].cost, self._places[c]
        room = terms.max - cost
        if terms.kind is Quota:
            return (record, place + MARK, terms.start, terms.end - 1, room, cost, True), terms.end
        newest = _sub_window(terms, now_ms)
        ends = -(-(newest + 1) * terms.first // terms.second)
        return (record, place + MARK, newest, newest, room, cost, False), ends

    def _begin(self, now_ms: int) -> None:
        self.since_ms = now_ms
        self.until_ms = min(now_ms + LASTS_MS, self._term_set.until_ms, *self._ends)


class PreparedCharges:
    """Those who came of late, by the id of their charges. `terms_of` gives the terms of a charge at an instant."""

    def __init__(self, terms_of: Callable[[Charge, int], Terms]) -> None:
        self.recent: Returning[int, Prepared] = Returning()
        self._term_sets = TermSets(terms_of)

    def of(self, charges: Sequence[Charge], now_ms: int) -> Prepared | None:
        """Of who comes again soon; None of who comes for the first time, or with charges that may change."""
        known = self.recent.get(id(charges))
        if known is not None and known.charges is charges:
            if now_ms - known.asked_ms <= AGAIN_MS:
                return known
            known.asked_ms = now_ms
        elif charges and isinstance(charges, tuple):
            self.recent.put(id(charges), Prepared(charges, now_ms), who=charges[0].key)
        return None

    def decided(self, known: Prepared, decision: Decision, place_of: Callable[[str], Place | None]) -> None:
        """It took a look at each counter; the next decision need not."""
        known.asked_ms = now = decision.now_ms
        if _is_plain(decision):
            places = [place for charge in known.charges if (place := place_of(charge.key))]
            known.prepare(now, self._term_sets.at(known.charges, now), places)


def _sub_window(terms: Terms, now_ms: int) -> int:
    return now_ms * terms.second // terms.first


def _is_plain(decision: Decision) -> bool:
    """Whether all was charged, and nothing but numbers changed."""
    if not decision.allowed or decision.leases:
        return False
    return not any(s.exceeded or s.charge.limit.hold or not s.charge.cost for s in decision.states)
