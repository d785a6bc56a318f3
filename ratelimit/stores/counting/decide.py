"""A decision over all limits of a request, from their counters: all or nothing, and how long a denied caller waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ratelimit.model import FOREVER, Charge, Decision, Lease, Quota, Rate, State
from ratelimit.stores.counting.counters import Counter, Slots, Usage
from ratelimit.stores.counting.terms import Terms
from ratelimit.stores.counting.window import Window

View = tuple[Charge, Terms, Counter, int, bool]  # a counter as a request finds it: what is used, and whether too much


def view(charge: Charge, terms: Terms, counter: Counter, now: int) -> View:
    used = counter.used(now, terms)
    return charge, terms, counter, used, charge.cost > 0 and used > terms.max - charge.cost


def decided(
    views: Sequence[View],
    now: int,
    charge_one: Callable[[Charge, Terms, Counter, int], Lease | None],
    *,
    unavailable: bool = False,
) -> Decision:
    """All or nothing over all limits of a request. `charge_one` counts it in one of them."""
    allowed = not any(exceeded and not terms.shadow for _, terms, _, _, exceeded in views)
    leases, states = [], []
    for charge, terms, counter, used, exceeded in views:
        if allowed and charge.cost and not exceeded:
            used += charge.cost
            if lease := charge_one(charge, terms, counter, now):
                leases.append(lease)
        reset_after = counter.reset_after(now, terms, used)
        wait = _retry_after(charge, terms, counter, now) if exceeded else 0
        states.append(State(charge, terms.max, used, reset_after, terms.length_ms, exceeded, wait, terms.shadow))
    return Decision(allowed, now, tuple(states), tuple(leases), unavailable)


def new_counter(charge: Charge) -> Counter:
    match charge.limit.kind:
        case Rate(window_ms, precision):
            return Window(window_ms, precision)
        case Quota():
            return Usage()
        case _:
            return Slots()


def _retry_after(charge: Charge, terms: Terms, counter: Counter, now: int) -> int | None:
    """Until the limit admits, with the max that is in force by then; None if it never does."""
    since, maximum = now, terms.max
    for until, following in (*terms.later, (FOREVER, 0)):
        if charge.cost <= maximum:
            at = max(since, counter.free_at(now, terms, maximum - charge.cost))
            if at < until:
                return at - now
        since, maximum = until, following
    return None
