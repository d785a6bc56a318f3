"""Whether a request can ever pass: not where a cost is above the most that a max can come to.

A max of 0 closes a limit on purpose, whatever the cost. An override that is below a cost in every tier that it can
match is a mistake, in some of them it is odd.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ratelimit.config.grammar.amounts import Amount
from ratelimit.config.grammar.messages import Path, Problem, place
from ratelimit.config.grammar.tables import LimitTable
from ratelimit.ground.words import shown

Limits = Sequence[tuple[Path, LimitTable]]

NEVER = "so that no such request could ever pass"
MEND = "raise the max or lower the cost, or write a max of 0 to close the limit"


def check_costs(limits: Limits) -> Iterator[Problem]:
    for path, limit in limits:
        amount = limit.rate or limit.quota
        if amount is not None and limit.concurrency is None:  # a slot costs 1: only a cap of 0 has none
            for where, cost in _costs(limit):
                if 0 < amount.max.most < cost:
                    message = f"{cost} is above the max of {shown(amount.written)}, {NEVER}; {MEND}"
                    yield Problem((*path, *where), message)


def check_cost_under(where: Path, amount: Amount, limits: Limits) -> Iterator[Problem]:
    """`limits` are those that callers can have whom the override is for."""
    above = [
        (path, f"the cost of {cost} at {place((*path, *at))}")
        for path, limit in limits
        for at, cost in _costs(limit)
        if limit.concurrency is None and 0 < amount.max.most < cost
    ]
    if not above:
        return
    message = f"{shown(amount.written)} is below {above[0][1]}, {NEVER}"
    if {path for path, _ in above} == {path for path, _ in limits}:
        yield Problem(where, f"{message}; {MEND}")
    else:
        yield Problem(where, f"{message}; add the tier that the override is for, or {MEND}", odd="override-below-cost")


def _costs(limit: LimitTable) -> list[tuple[Path, int]]:
    """Each cost that is written, with its path in the limit. The cost that is not, 1, is above no max but 0."""
    if isinstance(limit.cost, int):
        return [(("cost",), limit.cost)]
    return [(("cost", operation), cost) for operation, cost in limit.cost.items()]
