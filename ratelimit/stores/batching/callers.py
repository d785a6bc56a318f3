"""What is kept of a caller between its requests: its keys as they are sent, its last denial, its units ahead.

What it asks for besides deciding (peek, charge, hold) is asked by a Caller of its own, which keeps only what is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from ratelimit.ground.memo import Recent
from ratelimit.model import Charge, Concurrency, Decision, Lease, Rate
from ratelimit.stores.batching.allotments import Allotment, Demand, later
from ratelimit.stores.connection.socket import bulk
from ratelimit.stores.counting.allowed import TermSet, alike
from ratelimit.stores.counting.terms import LETTERS, new_lease
from ratelimit.stores.lua.scripts import record_of

BEHIND_MS = 1_000  # a denial is remembered no longer: by then a reset, a refund or returned units are seen

DECIDE = "decide"  # the mode of plain requests

Charges = tuple[Charge, ...]


class SentTerms(TermSet):
    """As they are sent: once in a call, for all callers that share them."""

    __slots__ = ("keys", "parts", "reserves", "size", "weight", "wire")

    def __init__(self, charges: Charges, now_ms: int, mode: str = DECIDE) -> None:
        super().__init__(charges, now_ms)
        terms = self.terms
        self.size = len(terms)
        self.keys = self.size + sum(charge.limit.hold for charge in charges)
        self.reserves = mode == DECIDE and reservable(charges) and not any(term.shadow for term in terms)
        parts: list[str | int] = [self.since_ms, self.until_ms, "ahead" if self.reserves else mode, self.size]
        for charge, term in zip(charges, terms, strict=True):
            letter = LETTERS[term.kind].upper() if charge.limit.hold else LETTERS[term.kind]
            parts += (letter, charge.cost, term.max, term.shadow_until_ms, term.first, term.second)
        later_maxes = [number for c, term in enumerate(terms, 1) for step in term.later for number in (c, *step)]
        parts += (len(later_maxes) // 3, *later_maxes)
        self.parts = len(parts)
        # A denial reads all sub-windows: with 1,000 of them as much as eight decisions take.
        self.weight = 1 + sum(term.second // 120 for term in terms if term.kind is Rate)
        self.wire = b"".join(map(bulk, parts))


class SentTermSets:
    """Those of late: the same object for the same limits and terms. `changed` is when this process last changed a
    counter by more than a decision, by `time.monotonic`: what was denied before that is not denied for certain."""

    def __init__(self) -> None:
        self._recent: Recent[tuple[object, ...], SentTerms] = Recent()
        self.changed: Recent[str, float] = Recent()

    def at(self, charges: Charges, now_ms: int, mode: str) -> SentTerms:
        made = SentTerms(charges, now_ms, mode)
        same = mode, *alike(charges, made.terms)
        known = self._recent.get(same)
        if known is None:
            self._recent.put(same, made)
        return known or made


class Caller:
    """A set of charges that comes again: the same object, for as long as the policy is the same."""

    __slots__ = (
        "_mode", "_refused_at", "_refused_until", "_sent", "_sets", "_told", "_told_after_ms", "_verbs",
        "allotment", "caps", "charges", "demand", "keys", "plain", "prefix", "refusal", "seen", "slot", "special",
        "term_set",
    )  # fmt: skip

    def __init__(
        self, charges: Charges, prefix: str, sets: SentTermSets, now_ms: int, slot: int = 0, mode: str = DECIDE
    ) -> None:
        self._sets = sets
        self._mode = mode
        self._verbs: dict[str, Caller] | None = None  # by mode, where it asks for more than decisions
        self.plain: Caller | None = None  # who decides on the same charges, and goes on from what is counted here
        self.charges = charges
        self.prefix = prefix
        self.slot = slot  # of all its keys, on a cluster
        keys = [(charge.key, record_of(charge.key))[: 1 + charge.limit.hold] for charge in charges]
        self.keys = b"".join([bulk(prefix + key) for of_one in keys for key in of_one])
        self.term_set = sets.at(charges, now_ms, mode)
        taking = [(c, charge.key, charge.limit.kind) for c, charge in enumerate(charges) if charge.cost]
        self.caps = [(c, key, kind.lease_ms) for c, key, kind in taking if isinstance(kind, Concurrency)]
        self.refusal: Decision | None = None
        self.seen: Decision | None = None  # what the store decided last, where this process may have to go on from it
        self._told: Decision | None = None  # the refusal as it was in one millisecond: a flood asks many times in it
        self._told_after_ms = 0
        self._sent = self._refused_at = self._refused_until = 0.0
        self.allotment: Allotment | None = None
        self.demand = Demand(_sub_window_ms(charges)) if mode == DECIDE and reservable(charges) else None
        # Whether there is more to it than a trip with its keys: a denial, leases, units ahead. One look for all three.
        self.special = bool(self.caps or self.demand)

    def refreshed(self, now_ms: int) -> SentTerms:
        """Its terms at another instant."""
        self.term_set = self._sets.at(self.charges, now_ms, self._mode)
        return self.term_set

    def asking(self, mode: str, now_ms: int) -> Caller:
        """Who asks for that: with the same charges, and nothing remembered."""
        if self._verbs is None:
            self._verbs = {}
        if mode not in self._verbs:
            self._verbs[mode] = asking = Caller(self.charges, self.prefix, self._sets, now_ms, self.slot, mode)
            asking.plain = None if mode == "peek" else self  # what is only asked about is not counted
        return self._verbs[mode]

    def new_leases(self) -> list[Lease]:
        """By the terms that it has: those that are sent."""
        maxes = self.term_set.maxes
        return [new_lease(key, lease_ms, maxes[c]) for c, key, lease_ms in self.caps]

    def refused(self, decision: Decision, until_ms: int, sent: float, now: float) -> None:
        """Remember a denial, by terms that hold until then, for as long as it is certain. Of a concurrency cap never:
        a slot can free at any time."""
        if self._mode != DECIDE:
            return
        certain_ms = min(BEHIND_MS, until_ms - decision.now_ms)
        for state in decision.states:
            if state.exceeded and isinstance(state.limit.kind, Concurrency):
                return
            changes_ms = state.retry_after_ms if state.exceeded else state.reset_after_ms
            certain_ms = min(certain_ms, changes_ms or BEHIND_MS)
        self.refusal, self._refused_at, self._told, self._told_after_ms = decision, now, decision, 0
        self._sent, self.special = sent, True
        self._refused_until = sent + certain_ms / 1000  # in the store no more has passed by then

    def decide(self, now: float) -> Decision | None:
        """The decision that needs no trip: denied a moment ago, or on a unit taken ahead. Then there is no `await`
        between this and the app."""
        if self.refusal and (refusal := self.refusal_at(now)):
            return refusal
        if self.allotment and self.demand and (spent := self.allotment.spend(now)):
            self.demand.count += 1
            return spent
        return None

    def refusal_at(self, now: float) -> Decision | None:
        """The denial as it is now; None where this caller could succeed by now."""
        if self.refusal is None or now >= self._refused_until or (self._sets.changed.young and self._changed()):
            self.refusal, self.special = None, bool(self.caps or self.demand)
            return None
        after_ms = int((now - self._refused_at) * 1000)
        if after_ms != self._told_after_ms:
            self._told, self._told_after_ms = later(self.refusal, after_ms), after_ms
        return self._told

    def _changed(self) -> bool:
        """Whether this process has changed one of its counters since what it remembers was asked for."""
        return any((self._sets.changed.get(charge.key) or 0) > self._sent for charge in self.charges)


class CallerCache:
    """Of one event loop: those of late, by the id of their charges. `slot_of` says the slot of all keys of charges,
    `clock` what the store's clock presumably says where a slot is."""

    def __init__(self, prefix: str, slot_of: Callable[[Charges], int], clock: Callable[[int], int]) -> None:
        self.recent: Recent[int, Caller] = Recent()
        self._prefix = prefix
        self._slot_of = slot_of
        self._clock = clock
        self._sets = SentTermSets()

    def of(self, charges: Sequence[Charge], mode: str = DECIDE) -> Caller:
        caller = self.recent.get(id(charges))
        if caller is None or caller.charges is not charges:
            caller = self._new(charges)
        return caller if mode == DECIDE else caller.asking(mode, self._clock(caller.slot))

    def _new(self, charges: Sequence[Charge]) -> Caller:
        own = tuple(charges)  # the same object if it is a tuple; a list may hold something else the next time
        slot = self._slot_of(own)
        caller = Caller(own, self._prefix, self._sets, self._clock(slot), slot)
        if own is charges:
            self.recent.put(id(own), caller)
        return caller

    def changed(self, keys: Iterable[str]) -> None:
        """Counters that this process has changed by more than a decision."""
        now = time.monotonic()
        for key in keys:
            self._sets.changed.put(key, now)

    def seen(self, charges: Sequence[Charge]) -> Decision | None:
        """What the store decided last on these, where that is kept."""
        caller = self.recent.get(id(charges))
        return caller.seen if caller and caller.charges is charges else None


def reservable(charges: Charges) -> bool:
    """Whether units may be taken ahead: where one limit is left that has to be asked for, nothing would be saved."""
    limits = [charge.limit for charge in charges if charge.cost]
    return bool(limits) and all(limit.reserve and not isinstance(limit.kind, Concurrency) for limit in limits)


def _sub_window_ms(charges: Charges) -> int:
    kinds = (charge.limit.kind for charge in charges if charge.cost)
    return min([BEHIND_MS, *(-(-kind.window_ms // kind.precision) for kind in kinds if isinstance(kind, Rate))])
