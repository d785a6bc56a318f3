"""A request that waits for its decision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import Enum
from itertools import chain

from ratelimit.model import Decision, Lease, StoreUnavailable
from ratelimit.stores.batching.callers import Caller
from ratelimit.stores.connection.errors import Replied


class Again(Enum):
    """Why a request is to ask once more."""

    CLOCK = "the store's clock was in another period than ours"
    HERE = "a denial has arrived, or units ahead"
    LEFT = "this node is not asked any more; nothing was done"


Outcome = (
    Decision | Again | Replied
)  # an error is one after which nothing was done: the router follows it, or raises it

Asked = tuple[bytes, ...]  # how many units, and the id of a hold, as they are sent; () of a plain request


class Extras:
    """What few requests have. `leases` are taken when it is sent, with the max that is sent. `asking`: the node that it
    is for does not have the slot yet."""

    __slots__ = ("asked", "asking", "leases")

    def __init__(self, asked: Asked, *, asking: bool = False) -> None:
        self.asked = asked
        self.asking = asking
        self.leases: list[Lease] = []


# A request that waits for its decision: where it is told, whose it is, until when it waits by the loop's clock, and
# what few have. No NamedTuple: to make one takes 125 ns and to take it apart 60; of a tuple 30 and 14.
Pending = tuple[asyncio.Future[Outcome], Caller, float, Extras | None]


def earliest(*lines: Iterable[Pending]) -> float | None:
    """When the first of those who wait for a decision, under way or not, has waited for long enough."""
    # Not the first of the line: who asks twice has less time left than those who came in between.
    return min((deadline for result, _, deadline, _ in chain(*lines) if not result.done()), default=None)


def fail(result: asyncio.Future[Outcome], why: str) -> None:
    if not result.done():
        result.set_exception(StoreUnavailable(why))  # an own one each: a traceback is added to where it is raised


def answer(calls: Iterable[Pending], outcome: Again | Replied) -> None:
    """Nothing was done: each is told why, and asks again where its slot is by then, or not."""
    for result, _, _, _ in calls:
        if not result.done():
            result.set_result(outcome)
