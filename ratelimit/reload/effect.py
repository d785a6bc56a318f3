"""Whom a new policy would deny that was let through: what it would have come to for the callers of late.

Who asks with a demand of 420 is denied by a max of 10, whenever that was: a caller is denied by one limit exactly where
its demand is above the max. So nothing has to be asked again, and what all processes have counted is in it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction

from ratelimit.identity import IdentifyByApiKey
from ratelimit.model import ANONYMOUS, Charge, Concurrency, Decision, Identity, Limit, Quota, Rate, State
from ratelimit.policy import Policy
from ratelimit.policy.keys import caller
from ratelimit.reload.callers import Demands, Note
from ratelimit.stores.memory import MemoryStore

DAY_MS = 86_400_000
AT_ONCE = 32  # callers that are looked at before others run: a millisecond and a half
PAUSE = 0.0005  # seconds
Costs = dict[tuple[str, str], Fraction]  # by the key of a counter, and of that in its place
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


@dataclass(frozen=True, slots=True)
class Example:
    caller: str  # as in the log, without an API key
    limit: str
    demand: int
    max: int


@dataclass(frozen=True, slots=True)
class Effect:
    """Of so many `callers`, and how many of them would be `denied` that were not. `limits` says by which."""

    callers: int = 0
    denied: int = 0
    limits: Counter[str] = field(default_factory=Counter)
    example: Example | None = None  # who is the farthest above the max of the limit that denies most of them

    @property
    def share(self) -> float:
        return self.denied / self.callers if self.callers else 0.0


def effect(late: Iterable[tuple[Note, Demands, bool]], old: Policy, new: Policy, now_ms: int) -> Effect:
    """Of putting `new` in the place of `old`, at an instant of the store's clock. Who was denied before is newly denied
    where not even half would be let through of what was: or among callers who are all at their limits any edit passed.
    ValueError where the new policy has no limits for one.
    """
    store = MemoryStore(clock=lambda: now_ms)  # knows what a max is by now, and what is in shadow; empty
    callers: set[tuple[str, str]] = set()
    before: set[tuple[str, str]] = set()
    judged: list[tuple[Note, Demands, Sequence[State]]] = []
    for number, (note, demands, was_denied) in enumerate(late):
        if number % AT_ONCE == AT_ONCE - 1:
            time.sleep(PAUSE)
        callers.add(note.identity.root)
        if was_denied:
            before.add(note.identity.root)
        charges = _charges(new, _under(note.identity, old, new), note.operation)
        judged.append((note, demands, _decided(store, charges)))
    costs = _least(judged)
    denied: dict[tuple[str, str], list[Example]] = {}
    for note, demands, states in judged:
        found = _above(states, note.charges, demands, costs)
        if found:
            denied.setdefault(note.identity.root, []).extend(Example(caller(note.identity), *one) for one in found)
    newly = {root: e for root, e in denied.items() if root not in before or any(one.demand > 2 * one.max for one in e)}
    limits = Counter(limit for examples in newly.values() for limit in {one.limit for one in examples})
    most = max(limits, key=lambda name: limits[name], default=None)
    of_most = [one for examples in newly.values() for one in examples if one.limit == most]
    return Effect(
        len(callers), len(newly), limits, max(of_most, key=lambda one: one.demand / (one.max + 1), default=None)
    )


def _least(judged: Iterable[tuple[Note, Demands, Sequence[State]]]) -> Costs:
    """Of what is used of a counter it is not known by which operations: what becomes of the cost of each at least."""
    costs: Costs = {}
    for note, _, states in judged:
        for new in [state.charge for state in states]:
            for old in note.charges:
                if old.cost and (old.key == new.key or _in(old, new)):
                    becomes = Fraction(new.cost, old.cost)
                    costs[old.key, new.key] = min(becomes, costs.get((old.key, new.key), becomes))
    return costs


def _above(
    states: Sequence[State], charges: Sequence[Charge], demands: Demands, costs: Costs
) -> list[tuple[str, int, int]]:
    """The limits that would deny: name, demand and max of each."""
    found = []
    for state in states:
        if not state.shadow and state.charge.cost:
            demand = _demand(state.charge, charges, demands, costs)
            if demand > state.max:
                found.append((state.limit.name, demand, state.max))
    return found


def _demand(new: Charge, charges: Sequence[Charge], demands: Demands, costs: Costs) -> int:
    """What of a counter is known that was there before. Of one that starts anew: at least what one of the same callers
    has in it that counts no other operations, and of a longer window the part that falls on the shorter."""
    known = list(zip(charges, demands, strict=False))  # of who was only denied there are no demands
    own = [_scaled(new, old, demand, costs) for old, demand in known if old.key == new.key]
    return own[0] if own else max([_scaled(new, old, d, costs) for old, d in known if _in(old, new)], default=0)


def _in(old: Charge, new: Charge) -> bool:
    """Whether what is counted in one would be in the other."""
    a, b = old.limit, new.limit
    slots = isinstance(a.kind, Concurrency), isinstance(b.kind, Concurrency)
    of_its_operations = b.operations is None or (a.operations is not None and a.operations <= b.operations)
    return slots[0] == slots[1] and a.per == b.per and of_its_operations


def _scaled(new: Charge, old: Charge, demand: int, costs: Costs) -> int:
    if not old.cost:
        return 0
    was, becomes = _window_ms(old.limit), _window_ms(new.limit)
    others = max(0, demand - old.cost) * costs[old.key, new.key]
    return int((others + new.cost) * min(was, becomes) / was)


def _window_ms(limit: Limit) -> int:
    match limit.kind:
        case Rate(window_ms):
            return window_ms
        case Quota(period):
            return _DAYS[period] * DAY_MS
    return 1


def _charges(new: Policy, identity: Identity, operation: str) -> tuple[Charge, ...]:
    try:
        return new.charges(identity, operation)
    except LookupError as error:  # its tier is gone, and there is none in its place
        raise ValueError(f"{caller(identity)}: {error}") from None


def _under(identity: Identity, old: Policy, new: Policy) -> Identity:
    """Who a caller is for the new policy, where it is known by a key of the file."""
    before, after = old.identify, new.identify
    if not (isinstance(before, IdentifyByApiKey) and isinstance(after, IdentifyByApiKey)):
        return identity
    api_key = identity.api_key
    if api_key is None or api_key not in before.keys:
        return identity
    known = after.keys.get(api_key)
    if known is None:
        return Identity(ip=identity.ip, tier=ANONYMOUS)
    return known._replace(api_key=api_key, ip=identity.ip)


def _decided(store: MemoryStore, charges: Sequence[Charge]) -> tuple[State, ...]:
    """It never waits, so that no event loop is needed."""
    decisions: list[Decision] = []

    async def ask() -> None:
        decisions.append(await store.acquire(charges))

    with suppress(StopIteration):
        ask().send(None)
    return decisions[0].states
