"""What a store says of a caller now, and nothing is charged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ratelimit.model import Charge, Concurrency, Decision, State, Store

SLOT_FREES_MS = 1000  # as stores have it: a slot can free at any time


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one limit. `used` is without this call, which `exceeded` says there is no room for."""

    charge: Charge
    max: int
    used: int
    reset_after_ms: int
    exceeded: bool = False
    shadow: bool = False

    @property
    def left(self) -> int:
        return max(0, self.max - self.used)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`denied_by` is the limit that would deny, `retry_after_ms` how long then: None where it can never pass."""

    now_ms: int  # by the store's clock
    allowed: bool
    usage: tuple[Usage, ...]
    denied_by: str | None = None
    retry_after_ms: int | None = 0


async def usage_of(store: Store, charges: Sequence[Charge]) -> Verdict:
    """What is used of each limit, whatever a call costs. StoreUnavailable."""
    decision = await store.peek([_at_cost(charge, 0) for charge in charges], 0)
    states = zip(charges, decision.states, strict=True)
    used = tuple([Usage(charge, s.max, s.used, s.reset_after_ms, shadow=s.shadow) for charge, s in states])
    return Verdict(decision.now_ms, allowed=True, usage=used)


async def verdict_of(store: Store, charges: Sequence[Charge]) -> Verdict:
    """What would be decided now. Slots are read, as none may be taken to see whether there is one. StoreUnavailable."""
    read = [_at_cost(c, 0) if isinstance(c.limit.kind, Concurrency) else c for c in charges]
    decision = await store.peek(read)
    states = [_with_slot(state, charge) for state, charge in zip(decision.states, charges, strict=True)]
    allowed = not any(state.exceeded and not state.shadow for state in states)
    whole = Decision(allowed, decision.now_ms, tuple(states))
    denying = whole.denying
    return Verdict(
        decision.now_ms,
        allowed,
        tuple([_usage(state, before=decision.allowed) for state in states]),
        None if denying is None else denying.limit.name,
        0 if denying is None else denying.retry_after_ms,
    )


def _at_cost(charge: Charge, cost: int) -> Charge:
    return Charge(charge.limit, charge.key, cost, charge.maxes, charge.stages)


def _with_slot(state: State, charge: Charge) -> State:
    state = state._replace(charge=charge)
    if not isinstance(charge.limit.kind, Concurrency) or not charge.cost or state.used < state.max:
        return state
    return state._replace(exceeded=True, retry_after_ms=SLOT_FREES_MS if state.max else None)


def _usage(state: State, *, before: bool) -> Usage:
    """Of what was admitted, a peek says what is used with it."""
    counted = before and not state.exceeded and not isinstance(state.limit.kind, Concurrency)
    used = state.used - state.charge.cost if counted else state.used
    return Usage(state.charge, state.max, used, state.reset_after_ms, state.exceeded, state.shadow)
