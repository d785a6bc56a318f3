"""Random steps of all verbs of a store, who takes them, and an oracle that keeps every time stamp."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ratelimit.model import Charge, Decision, Hold, Lease, Limit, Quota, Rate
from ratelimit.stores.counting.holds import known_ms
from tests.stores import Subject, concurrency, quota, rate

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
DAY = 86_400_000
HOLDABLE = ("r1", "r2", "q1", "q2")
LEASES = (1_000, 5_000, 60_000)
VERBS = {"acquire": 5, "hold": 5, "settle": 5, "charge": 2, "refund": 3, "peek": 2, "renew": 3, "release": 1}


class Step(NamedTuple):
    now_ms: int
    verb: str
    charges: tuple[Charge, ...]
    units: int
    lease_ms: int
    pick: float  # from 0 to 1: which of what was given so far, the latest most often


def steps(seed: int, count: int, *, wild: bool) -> Iterator[Step]:
    """A wild clock jumps back by more than a window, and then counters are reset too, and slots are taken."""
    dice, now = random.Random(seed), T
    verbs = {**VERBS, "reset": 0.2} if wild else VERBS
    for _ in range(count):
        now = max(T - 1_000 * DAY, now + _advance(dice, wild=wild))
        verb = dice.choices(list(verbs), list(verbs.values()))[0]
        units = dice.choice([0, 1, 1, 2, 3, 9])
        pick = 1 - dice.random() ** 3
        yield Step(now, verb, _charges(dice, verb, wild=wild), units, dice.choice(LEASES), pick)


def _advance(dice: random.Random, *, wild: bool) -> int:
    kind = dice.random()
    if kind < 0.5:
        return dice.randint(0, 3)
    if kind < 0.85:
        return dice.randint(0, 2_000)
    if kind < 0.93:
        return dice.randint(-3_000, 0)
    if wild and kind < 0.95:
        return dice.choice([-11_000, -200_000, -DAY, 31 * DAY, 400 * DAY, -400 * DAY])
    return dice.choice([10_000, 11_000, 70_000, DAY // 3])


def _charges(dice: random.Random, verb: str, *, wild: bool) -> tuple[Charge, ...]:
    """One to three limits of the same few counters, so that one step finds what another has left."""
    countable = (*HOLDABLE, "r3") if wild and verb != "hold" else HOLDABLE
    names = (*countable, "c1") if wild and verb in ("acquire", "reset") else countable
    return tuple([_charge(dice, name) for name in dice.sample(names, dice.randint(1, 3))])


def _charge(dice: random.Random, name: str) -> Charge:
    rest: dict[str, Any] = {"key": name, "hold": name in HOLDABLE}
    rest["mode"] = dice.choice(["enforce", "enforce", "enforce", "shadow"])
    cost = dice.choice([0, 1, 1, 1, 2, 5])
    maximum = dice.choice([0, 5, 12, 12, 40])
    if name == "c1":
        return concurrency(min(maximum, 5), dice.choice([5_000, 20_000]), key=name, mode=rest["mode"])
    if name == "r1":
        return rate(maximum, 10_000, 7, cost=cost, **rest)
    if name == "r2":
        return rate(maximum, 60_000, 60, cost=cost, **rest)
    if name == "q1":
        return quota(maximum, "day", cost=cost, **rest)
    if name == "q2":
        return quota(maximum * 3, "month", cost=cost, **rest)
    return rate(maximum, 5, 5, cost=cost, **rest)


@dataclass
class Player:
    """Takes steps on a store, and remembers what it was given."""

    subject: Subject
    decisions: list[Decision] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)

    async def take(self, step: Step) -> Any:
        """What two stores say alike: everything but the ids of leases, which are random."""
        now_ms, verb, charges, units, lease_ms, pick = step
        store = self.subject.at(now_ms).store
        if verb in ("acquire", "peek", "charge", "hold"):
            asked = {"peek": [units], "charge": [units], "hold": [max(1, units), lease_ms]}.get(verb, [])
            decision = await getattr(store, verb)(charges, *asked)
            self._given(decision)
            return comparable(decision)
        if verb == "reset":
            return await store.reset([charge.key for charge in charges])
        if verb == "release":
            return await store.release(_picked(self.leases, pick))
        if verb == "renew":
            leases = [*_picked(self.leases, pick), *[hold.lease for hold in _picked(self.holds, pick)]]
            gone = await store.renew(leases)
            return [lease in gone for lease in leases]
        if verb == "settle":
            for hold in _picked(self.holds, pick):
                await store.settle(hold, units)
        for decision in _picked(self.decisions, pick) if verb == "refund" else ():
            await store.refund(decision, None if units == 9 else units)
        return None

    def _given(self, decision: Decision) -> None:
        self.leases += decision.leases
        if decision.hold:
            self.holds.append(decision.hold)
        elif decision.units:
            self.decisions.append(decision)


def _picked(given: Sequence[Any], pick: float) -> Sequence[Any]:
    return [given[min(int(len(given) * pick), len(given) - 1)]] if given else []


def comparable(decision: Decision) -> tuple[object, ...]:
    leases = [(lease.key, lease.lease_ms) for lease in decision.leases]
    hold = decision.hold and (
        decision.hold.units,
        decision.hold.lease._replace(id=""),
        comparable(decision.hold.charged),
    )
    states = [state._replace(charge=_as_values(state.charge)) for state in decision.states]
    said = decision.allowed, decision.now_ms, states, decision.unavailable, leases
    return *said, decision.units, decision.counted_ms, hold


def _as_values(charge: Charge) -> Charge:
    return replace(charge, limit=replace(charge.limit, max=_nobody)) if isinstance(charge.limit, Limit) else charge


def _nobody(_: object) -> int:
    raise NotImplementedError


@dataclass
class Entry:
    """Units that were counted at one instant for somebody, less what went back."""

    owner: object
    index: int  # of the sub-window or the period
    units: int


@dataclass
class Kept:
    """A hold, under one counter."""

    entry: Entry
    lease_ms: int
    until_ms: int  # of one that is settled: until when that is known
    settled: bool = False


class Oracle:
    """Every unit that was ever counted, with who took it and when. What goes back is its owner's own: that the store,
    which knows of sums alone, never takes somebody else's is what it is compared for. Not for a clock that goes far
    back, where nobody knows what was counted when, and not for concurrency."""

    def __init__(self) -> None:
        self._entries: defaultdict[str, list[Entry]] = defaultdict(list)
        self._newest: defaultdict[str, int] = defaultdict(int)
        self._held: defaultdict[str, dict[object, Kept]] = defaultdict(dict)
        self._charges: dict[object, tuple[tuple[Charge, ...], int]] = {}
        self._lease_ms: dict[object, int] = {}
        self._left: dict[object, int] = {}  # units that can be refunded, by decision

    def used(self, charge: Charge, now: int, *, but: Sequence[Entry] = ()) -> int:
        lasts = charge.limit.kind.precision if isinstance(charge.limit.kind, Rate) else 0
        current = max(index(charge, now), self._newest[charge.key])
        kept = [e for e in self._entries[charge.key] if e.index >= current - lasts and e not in but]
        return sum(entry.units for entry in kept)

    def decide(self, step: Step, owner: object) -> tuple[bool, list[int], list[bool]]:
        """Whether it is allowed, what is used then, and what is exceeded."""
        now, verb, charges, units, lease_ms, _ = step
        units = {"acquire": 1, "hold": max(1, units)}.get(verb, units)
        ended = {c.key: self._ended(c, now) if c.limit.hold else [] for c in charges}
        if verb != "peek":
            for charge in charges:
                self._reap(charge, ended[charge.key])
        but = [kept.entry for held in ended.values() for kept in held]
        before = [self.used(charge, now, but=but) for charge in charges]
        costs = [charge.cost * units for charge in charges]
        exceeded = [
            verb != "charge" and cost > 0 and used + cost > charge.maxes[-1][1]
            for charge, used, cost in zip(charges, before, costs, strict=True)
        ]
        allowed = not any(over and c.limit.mode == "enforce" for over, c in zip(exceeded, charges, strict=True))
        taken = [allowed and not over for over in exceeded]
        after = [used + cost * took for used, cost, took in zip(before, costs, taken, strict=True)]
        if verb != "peek" and allowed:
            self._charges[owner] = tuple(c for c, took in zip(charges, taken, strict=True) if took and c.cost), units
            self._left[owner], self._lease_ms[owner] = 0 if verb == "hold" else units, lease_ms
            for charge in self._charges[owner][0]:
                entry = self._count(charge, charge.cost * units, now, owner)
                if verb == "hold":
                    self._held[charge.key][owner] = Kept(entry, lease_ms, now + lease_ms)
        return allowed, after, exceeded

    def _count(self, charge: Charge, units: int, now: int, owner: object) -> Entry:
        if units:
            self._newest[charge.key] = max(self._newest[charge.key], index(charge, now))
        entry = Entry(owner, max(self._newest[charge.key], index(charge, now)), units)
        self._entries[charge.key].append(entry)
        return entry

    def _ended(self, charge: Charge, now: int) -> list[Kept]:
        return [kept for kept in self._held[charge.key].values() if kept.until_ms <= now and not kept.settled]

    def _reap(self, charge: Charge, ended: Sequence[Kept]) -> None:
        for kept in ended:
            kept.entry.units = 0
            del self._held[charge.key][kept.entry.owner]

    def renew(self, owner: object, now: int) -> bool:
        """Whether it is gone."""
        charges = self._charges[owner][0]
        there = [kept for c in charges if (kept := self._held[c.key].get(owner)) and not kept.settled]
        for kept in there:
            kept.until_ms = now + kept.lease_ms
        return bool(charges) and not there

    def settle(self, owner: object, used: int, now: int) -> None:
        charges, units = self._charges[owner]
        for charge in charges:
            kept = self._held[charge.key].get(owner)
            if kept and kept.settled and now < kept.until_ms:
                continue
            there = charge.cost * units if kept and not kept.settled else 0
            if kept is None or kept.settled:
                kept = Kept(self._count(charge, 0, now, owner), self._lease_ms[owner], 0)
                self._held[charge.key][owner] = kept
            kept.entry.units = min(kept.entry.units, charge.cost * used)
            kept.settled, kept.until_ms = True, now + known_ms(kept.lease_ms)
            if (more := charge.cost * used - there) > 0:
                self._count(charge, more, now, owner)

    def refund(self, owner: object, units: int | None) -> None:
        charges, _ = self._charges[owner]
        given = self._left[owner] if units is None else min(units, self._left[owner])
        self._left[owner] -= given
        for charge in charges:
            for entry in self._entries[charge.key]:
                if entry.owner is owner:
                    entry.units = max(0, entry.units - given * charge.cost)


def index(charge: Charge, now: int) -> int:
    match charge.limit.kind:
        case Rate(window_ms, precision):
            return now * precision // window_ms
        case Quota("day"):
            return now // DAY
    day = datetime.fromtimestamp(now // 1000, UTC)
    return day.year * 12 + day.month
