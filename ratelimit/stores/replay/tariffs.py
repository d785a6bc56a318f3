"""What is the same for many callers: the terms of a limit, and what an operation takes from each."""

from __future__ import annotations

from collections.abc import Sequence

from ratelimit.model import Charge, Limit
from ratelimit.stores.counting.terms import Terms, terms_at


class Tariff:
    """A limit for all who have the same max of it, as it is in force: `max`, `shadow`, and `first` and `second` as the
    Terms have them; `what` is the part of its keys that all of these have. `turn` has it follow a clock that never goes
    back."""

    __slots__ = ("_charge", "first", "limit", "max", "second", "shadow", "terms", "what")

    def __init__(self, charge: Charge, now_ms: int) -> None:
        self._charge = charge
        self.limit: Limit = charge.limit
        self.what = ":".join(what(charge).split(":", 3)[:3])  # not what it is counted per, which others have too
        self.turn(now_ms)

    def turn(self, now_ms: int) -> None:
        self.terms: Terms = terms_at(self._charge, now_ms)
        self.max = self.terms.max
        self.shadow = self.terms.shadow
        self.first, self.second = self.terms.first, self.terms.second


def what(charge: Charge) -> str:
    """The part of its key behind the root, `:requests:60000/60`, with what else it is counted per."""
    return charge.key.partition("}")[2]


class Plan:
    """What requests of one operation take from each of their counters, in the order of the limits. The same object for
    all callers who have the same limits."""

    __slots__ = ("back", "costs", "late", "limits", "names", "operation", "slots", "tariffs", "tier")

    def __init__(
        self,
        operation: str,
        tier: str,
        charges: Sequence[Charge],
        tariffs: Sequence[Tariff],
        *,
        slots: tuple[int, ...] = (),
        back: tuple[int, ...] = (),
    ) -> None:
        self.operation = operation
        self.tier = tier
        self.costs = tuple([charge.cost for charge in charges])
        self.tariffs = tuple(tariffs)  # who shares a counter with others may have another max of it
        self.limits = tuple([charge.limit for charge in charges])
        self.names = tuple([limit.name for limit in self.limits])
        self.slots = slots  # which of them hold a slot until the request is over
        self.back = back  # which of them may get units back then, by its status
        self.late = bool(slots or back)
