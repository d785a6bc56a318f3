"""A decision over all limits of a request, from their counters: all or nothing, and how long a denied caller waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ratelimit.model import FOREVER, Charge, Decision, Lease, Quota, Rate, State
from ratelimit.stores.counting.counters import Counter, Slots, Usage
from ratelimit.stores.counting.terms import Terms, new
from ratelimit.stores.counting.window import Window

View = tuple[Charge, Terms, Counter, int, bool]  # a counter as a request finds it: what is used, and whether too much


def view(charge: Charge, terms: Terms, counter: Counter, now: int, units: int = 1) -> View:
    used, cost = counter.used(now, terms), charge.cost * units
    return charge, terms, counter, used, cost > 0 and used > terms.max - cost


def decided(
    views: Sequence[View],
    now: int,
    charge_one: Callable[[Charge, Terms, Counter, int], Lease | None],
    units: int = 1,
    *,
    unavailable: bool = False,
) -> Decision:
    """All or nothing over all limits of a request of so many units. `charge_one` counts it in one of them."""
    allowed = not any(exceeded and not terms.shadow for _, terms, _, _, exceeded in views)
    leases: list[Lease] = []
    states: list[State] = []
    for charge, terms, counter, used, exceeded in views:
        cost = charge.cost * units
        if allowed and cost and not exceeded:
            used += cost
            if lease := charge_one(charge, terms, counter, now):
                leases.append(lease)
        reset_after = counter.reset_after(now, terms, used)
        wait = _after(now, _admits(cost, terms, counter, now, now)) if exceeded else 0
        said = charge, terms.max, used, reset_after, terms.length_ms, exceeded, wait, terms.shadow
        states.append(new(State, said))
    if not allowed and any(terms.changes for _, terms, _, _, _ in views):
        states = _true_then(states, _after(now, _all_admit(views, units, now)))
    return Decision(allowed, now, tuple(states), tuple(leases), unavailable)


def new_counter(charge: Charge) -> Counter:
    match charge.limit.kind:
        case Rate(window_ms, precision):
            return Window(window_ms, precision)
        case Quota():
            return Usage()
        case _:
            return Slots()


def _admits(cost: int, terms: Terms, counter: Counter, now: int, at: int) -> int | None:
    """The first instant not before `at` from which the limit admits, with the max that is in force by then; None if it
    never does."""
    since, maximum = now, terms.max
    for until, following in (*terms.later, (FOREVER, 0)):
        if cost <= maximum:
            free = max(at, since, counter.free_at(now, terms, maximum - cost))
            if free < until:
                return free
        since, maximum = until, following
    return None


def _all_admit(views: Sequence[View], units: int, now: int) -> int | None:
    """The first instant at which each limit admits or is still in shadow; None if that never comes."""
    at, before = now, -1
    while at > before:
        before = at
        for charge, terms, counter, _, _ in views:
            if charge.cost and at >= terms.shadow_until_ms:
                admits = _admits(charge.cost * units, terms, counter, now, at)
                if admits is None:
                    return None
                at = admits
    return at


def _true_then(states: Sequence[State], wait: int | None) -> list[State]:
    """What denies for the longest time says when the request passes, whichever limit denies it last."""
    longest = max(state.wait for state in states if state.exceeded and not state.shadow)
    return [
        state._replace(retry_after_ms=wait) if state.exceeded and not state.shadow and state.wait == longest else state
        for state in states
    ]


def _after(now: int, instant: int | None) -> int | None:
    return None if instant is None else instant - now
