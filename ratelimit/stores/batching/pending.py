"""A request that waits for its decision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from ratelimit.model import Decision, Lease, StoreUnavailable
from ratelimit.stores.batching.callers import Caller
from ratelimit.stores.connection.errors import Refused

if TYPE_CHECKING:
    from ratelimit.stores.batching.batch import Batch


class Again(Enum):
    """Why a request is to ask once more."""

    CLOCK = "the store's clock was in another period than ours"
    HERE = "a denial has arrived, or units ahead"
    ELSEWHERE = "another node of the cluster has the slot, or this one has it soon; nothing was done"


Outcome = Decision | Again | Refused


class Pending(NamedTuple):
    """A request that waits for its decision until `deadline`, by the loop's clock."""

    result: asyncio.Future[Outcome]
    caller: Caller
    leases: tuple[Lease, ...]
    deadline: float


def earliest(batches: Iterable[Batch], waiting: Iterable[Pending]) -> float | None:
    """When the first of those who wait for a decision, under way or not, has waited for long enough."""
    # Not the first of the line: who asks twice has less time left than those who came in between.
    everyone = chain(*[batch.calls for batch in batches], waiting)
    return min((call.deadline for call in everyone if not call.result.done()), default=None)


def fail(call: Pending, why: str) -> None:
    if not call.result.done():
        call.result.set_exception(StoreUnavailable(why))  # an own one each: a traceback is added to where it is raised


def settle(calls: Iterable[Pending], outcome: Again | Refused = Again.ELSEWHERE) -> None:
    """Nothing was done: each is to ask again, as it was told, and where its slot is by then."""
    for call in calls:
        if not call.result.done():
            call.result.set_result(outcome)
