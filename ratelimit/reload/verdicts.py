"""What is said of an edit of a policy file, shared by the processes of one store.

It is kept in two counters of the store, by the digest of the file: so no server needs other rights for it, and the
first verdict is found in one atomic step. A verdict costs 1 or 2 units of a max that admits it alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, Literal, TypeVar, cast

from ratelimit.model import FOREVER, Admitting, Charge, Limit, Rate, Store, StoreUnavailable
from ratelimit.policy import Policy
from ratelimit.reload import telling
from ratelimit.reload.effect import Effect
from ratelimit.reload.following import Follower
from ratelimit.stores.memory import MemoryStore

Verdict = Literal["taken", "refused"]
Prepared = tuple[Follower, Any]  # a middleware, and what it will be
Before = tuple[Follower, Any, str]  # a middleware, what it was, and the digest of that
Ask = Callable[[Store], Coroutine[Any, Any, Verdict | None]]
T = TypeVar("T")

PATIENCE = 1.0  # seconds
LATE = 30.0  # seconds after which others who know callers have said what they say
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
    before: Sequence[Before] = ()  # of one that is in force as nobody has said anything yet
    until: float = 0.0  # when that is for good

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


def store_of(followers: Sequence[Follower]) -> tuple[Store, asyncio.AbstractEventLoop] | None:
    """One that other processes have too, and a loop on which it can be asked."""
    for follower in followers:
        store = shared_by(follower.limiter._opened) if follower.limiter else None
        if store is not None and follower.loop is not None:
            return store, follower.loop
    return None


def of_others(followers: Sequence[Follower], ask: Ask, *, tell: bool = False) -> Verdict | None:
    """What the processes of one store have said. Where it is out of reach each goes by itself."""
    if found := store_of(followers):
        try:
            return answer(ask(found[0]), found[1])
        except Exception as error:  # noqa: BLE001 - a store may be of the user's making
            if tell:
                telling.not_shared(error)
    return None


def ask_operators(follower: Follower, limiter: Any) -> None:
    """Whether launches are paused, where the first of them comes with an edit: it is in force when that is known."""
    launches, loop = limiter._launches, follower.loop
    if launches is not None and launches.word is None and loop is not None:
        with suppress(StoreUnavailable):
            answer(launches.look(), loop)


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
