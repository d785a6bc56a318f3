"""A set of charges that comes again and again: inside one sub-window, a decision is a look at some numbers.

With two limits that is an eighth of the time of a look at each counter, with ten a twentieth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ratelimit.ground.memo import Returning
from ratelimit.model import Charge, Concurrency, Decision, Lease, Quota
from ratelimit.stores.counting.allowed import AllowedDecision, TermSet, TermSets, admitted
from ratelimit.stores.counting.terms import Terms
from ratelimit.stores.counting.window import Window
from ratelimit.stores.records.kept import Kept
from ratelimit.stores.records.record import MARK, Record
from ratelimit.stores.records.table import Place

LASTS_MS = 1_000  # who is served by it was seen so long ago at most
AGAIN_MS = 2_000  # who comes back later than that is not worth the preparation

# Of a rate or a quota: the record, where in it the mark is, the least and the last mark with which the total behind it
# counts, the largest total with room for the cost, the cost, whether a charge makes the mark the instant that it is.
_Row = tuple[Record, int, int, int, int, int, bool]
_Cap = tuple[int, Charge, Terms]  # of a concurrency limit, behind its place among the charges


class Prepared:
    """`charges` from `since_ms` until `until_ms`, by the store's clock."""

    __slots__ = ("_caps", "_ends", "_kept", "_rows", "_term_set", "asked_ms", "charges", "since_ms", "until_ms")

    _term_set: TermSet

    def __init__(self, charges: tuple[Charge, ...], now_ms: int, kept: Kept) -> None:
        self._kept = kept
        self.charges = charges
        self.asked_ms = now_ms
        self.since_ms = self.until_ms = 0  # nothing is prepared yet
        self._rows: list[_Row] = []
        self._caps: list[_Cap] = []
        self._ends: list[int] = []  # when the sub-window or period of each row is over

    def prepare(self, now_ms: int, term_set: TermSet) -> None:
        """After a decision that charged all of it."""
        self.since_ms = self.until_ms = 0
        self._term_set, self._rows, self._caps, self._ends = term_set, [], [], []
        for c, (charge, terms) in enumerate(zip(self.charges, term_set.terms, strict=True)):
            if terms.kind is Concurrency:
                self._caps.append((c, charge, terms))
                continue
            place = self._kept.counters.place(charge.key)
            if place is None:  # the counter of another charge has pushed it out
                return
            row, ends = _row(charge, terms, place, now_ms)
            self._rows.append(row)
            self._ends.append(ends)
        self._begin(now_ms)

    def decide(self, now_ms: int) -> AllowedDecision | None:
        """None where it takes a closer look."""
        rows = self._rows
        for record, mark, least, last, room, _, _ in rows:
            if not least <= record[mark] <= last or record[mark + 1] > room:
                return None
        leases = self._slots(now_ms) if self._caps else ()
        if leases is None:
            return None
        used = []
        for record, mark, _, _, _, cost, dated in rows:
            record[mark + 1] = total = record[mark + 1] + cost
            used.append(total)
            if dated and record[mark] < now_ms:
                record[mark] = now_ms
        for c, charge, _ in self._caps:
            used.insert(c, self._kept.taken(charge.key))
        return admitted(self.charges, self._term_set, now_ms, leases, used)

    def advance(self, now_ms: int) -> AllowedDecision | None:
        """The same where sub-windows are over: what has left them is dropped, if there is room in all limits then."""
        if not self.since_ms or not self.since_ms <= now_ms < self._term_set.until_ms:
            return None
        moved: list[tuple[int, Charge, Terms, Window]] = []
        counted = [(c, t) for c, t in zip(self.charges, self._term_set.terms, strict=True) if t.kind is not Concurrency]
        for r, (charge, terms) in enumerate(counted):
            record, mark, least, last, room, _, _ = self._rows[r]
            if self._ends[r] > now_ms:
                if not least <= record[mark] <= last or record[mark + 1] > room:
                    return None
                continue
            window = self._kept.counters.load(charge)
            if not isinstance(window, Window) or window.newest > terms.sub_window(now_ms):
                return None
            if window.used(now_ms, terms) > room:
                return None
            moved.append((r, charge, terms, window))
        if not self._has_slots(now_ms):  # before anything is moved: a denial writes nothing
            return None
        for r, charge, terms, window in moved:
            self._kept.keep(charge.key, window, window.charge(now_ms, terms, 0))
            record, mark, *_ = self._rows[r]
            self._rows[r], self._ends[r] = _row(charge, terms, (record, mark - MARK), now_ms)
        self._begin(now_ms)
        return self.decide(now_ms)

    def _slots(self, now_ms: int) -> tuple[Lease, ...] | None:
        """One of each cap, if each has one."""
        if not self._has_slots(now_ms):
            return None
        return tuple([self._kept.take_slot(charge.key, terms, now_ms) for _, charge, terms in self._caps])

    def _has_slots(self, now_ms: int) -> bool:
        return all(self._kept.has_slot(charge.key, terms, now_ms) for _, charge, terms in self._caps)

    def _begin(self, now_ms: int) -> None:
        self.since_ms = now_ms
        self.until_ms = min(now_ms + LASTS_MS, self._term_set.until_ms, *self._ends)


class PreparedCharges:
    """Those who came of late, by the id of their charges. `terms_of` gives the terms of a charge at an instant."""

    def __init__(self, kept: Kept, terms_of: Callable[[Charge, int], Terms]) -> None:
        self.recent: Returning[int, Prepared] = Returning()
        self._kept = kept
        self._term_sets = TermSets(terms_of)

    def of(self, charges: Sequence[Charge], now_ms: int) -> Prepared | None:
        """Of who comes again soon; None of who comes for the first time, or with charges that may change."""
        known = self.recent.get(id(charges))
        if known is not None and known.charges is charges:
            if now_ms - known.asked_ms <= AGAIN_MS:
                return known
            known.asked_ms = now_ms
        elif charges and isinstance(charges, tuple):
            self.recent.put(id(charges), Prepared(charges, now_ms, self._kept), who=charges[0].key)
        return None

    def decided(self, known: Prepared, decision: Decision) -> None:
        """It took a look at each counter; the next decision need not."""
        known.asked_ms = now = decision.now_ms
        states = decision.states
        if decision.allowed and not any(s.exceeded or s.charge.limit.hold or not s.charge.cost for s in states):
            known.prepare(now, self._term_sets.at(known.charges, now))


def _row(charge: Charge, terms: Terms, place: Place, now_ms: int) -> tuple[_Row, int]:
    cost, (record, at) = charge.cost, place
    room = terms.max - cost
    if terms.kind is Quota:
        return (record, at + MARK, terms.start, terms.end - 1, room, cost, True), terms.end
    newest = terms.sub_window(now_ms)
    ends = -(-(newest + 1) * terms.first // terms.second)
    return (record, at + MARK, newest, newest, room, cost, False), ends
