"""What is said of an edit of a policy file, shared by the processes of one store.

It is kept in two counters of the store, by the digest of the file: so no server needs other rights for it, and the
first verdict is found in one atomic step. A verdict costs 1 or 2 units of a max that admits it alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, Literal, TypeVar, cast

from ratelimit.model import FOREVER, Admitting, Charge, Limit, Rate, Store, StoreUnavailable
from ratelimit.policy import Policy
from ratelimit.reload.effect import Effect
from ratelimit.reload.following import Follower
from ratelimit.stores.memory import MemoryStore

Verdict = Literal["taken", "refused"]
Prepared = tuple[Follower, Any]  # a middleware, and what it will be
T = TypeVar("T")

PATIENCE = 1.0  # seconds
HOUR_MS = 3_600_000
LASTS_MS = 24 * HOUR_MS  # a file that was accepted can be edited in until the next day
_VERDICT = Limit("reload verdict", Rate(HOUR_MS, precision=1), max=lambda _: FOREVER)
_ACCEPTED = Limit("reload accepted", Rate(LASTS_MS, precision=1), max=lambda _: FOREVER)
_UNITS: dict[Verdict, int] = {"taken": 1, "refused": 2}


@dataclass(slots=True)
class Edit:
    """A content that is valid, and not in force. `own` is what this process says of it; None while it knows nobody."""

    digest: str
    policy: Policy
    prepared: Sequence[Prepared]
    effect: Effect
    own: Verdict | None
    refused: bool = False
    ask_at: float = 0.0
    asked: int = 0

    @property
    def refuse_above(self) -> float:  # the new file says itself how much it may deny
        return self.policy.reload.refuse_above


def shared_by(store: Admitting) -> Store | None:
    """The store, where other processes may have it too, and it can be asked for what was said."""
    if isinstance(store, MemoryStore) or not callable(getattr(store, "peek", None)):
        return None
    return cast("Store", store)


async def first(store: Store, digest: str, own: Verdict | None) -> Verdict | None:
    """The verdict that counts: an acceptance, else the first one, which may be our own. None of who has none, where
    nobody has. Raises StoreUnavailable."""
    said = await known(store, digest)
    if said is not None or own is None:
        return said
    units = _UNITS[own]
    decision = await store.acquire((_charge(_VERDICT, digest, units, units),))
    return own if decision.allowed else _verdict(decision.states[0].used)


async def known(store: Store, digest: str) -> Verdict | None:
    """What was said so far. Raises StoreUnavailable."""
    accepted, verdict = (await store.peek((_charge(_ACCEPTED, digest), _charge(_VERDICT, digest)), 0)).states
    return "taken" if accepted.used else _verdict(verdict.used)


async def accept(store: Store, digest: str) -> None:
    """An operator says that this content is meant. Raises StoreUnavailable."""
    await store.charge((_charge(_ACCEPTED, digest),))


def answer(asked: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """What comes of asking a store on the loop of the app, from another thread: its connection is there. Raises
    StoreUnavailable also where that loop does not run."""
    try:
        future = asyncio.run_coroutine_threadsafe(asked, loop)
    except RuntimeError:
        asked.close()
        raise StoreUnavailable("the event loop has ended") from None
    try:
        return future.result(PATIENCE)
    except TimeoutError:
        future.cancel()
        if getcoroutinestate(asked) == CORO_CREATED:  # nobody will ever begin it
            asked.close()
        raise StoreUnavailable(f"the event loop does not answer within {PATIENCE:.0f} s") from None
    except CancelledError:
        raise StoreUnavailable("the event loop ends") from None


def _verdict(used: int) -> Verdict | None:
    return next((verdict for verdict, units in _UNITS.items() if units == used), None)


def _charge(limit: Limit, digest: str, cost: int = 1, maximum: int = FOREVER) -> Charge:
    kind = cast("Rate", limit.kind)
    key = f"{{policy={digest[:32]}}}:{limit.name}:{kind.window_ms}/{kind.precision}"
    return Charge(limit, key, cost, ((FOREVER, maximum),))
