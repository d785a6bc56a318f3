"""What is used, read from the store: of each caller at most once a second, whoever asks how often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary

from ratelimit.control.account import Account
from ratelimit.ground.loops import Loop, Task, ended, running, runs
from ratelimit.ground.memo import Recent
from ratelimit.model import Charge, Decision, State, StoreUnavailable
from ratelimit.styles import wire

EVERY_MS = 1000
CALLERS = 1024  # whose readings are kept: of many more than that in a second, some are read again

Peek = Callable[..., Awaitable[Decision]]


@dataclass(eq=False, slots=True)
class Read:
    """A reading, or the attempt. `at_ms` is when it began, `now_ms` when it ended, by this process's clock."""

    at_ms: int
    peek: Peek  # of which store
    charges: tuple[Charge, ...]  # held: their ids are not others' meanwhile
    states: tuple[State, ...] = ()
    now_ms: int = 0
    store_ms: int = 0  # by the store's clock
    away: str | None = None  # why the store was out of reach
    errors: list[Exception] = field(default_factory=list)  # of a store of the app's own, for who raises it
    failed: bool = False
    done: bool = False
    begun: tuple[Loop, Task] | None = field(default=None, repr=False)

    def is_fresh(self, now_ms: int, peek: Peek) -> bool:
        if not 0 <= now_ms - self.at_ms < EVERY_MS or self.peek != peek or self.failed:
            return False
        return self.done or (self.begun is not None and runs(self.begun[0]))

    def raise_error(self) -> None:
        """An error refers to all that led to it: what is kept here is a text, and what is raised is kept no more."""
        if self.away is not None:
            raise StoreUnavailable(self.away)
        if self.failed:
            raise (
                self.errors.pop()
                if self.errors
                else RuntimeError("usage: the store can't be read, as another error says")
            )
        if not self.done:  # the loop ends, and has cancelled it
            raise asyncio.CancelledError


class Reader:
    """Of one limiter, which it does not hold. Who asks while a reading is under way waits for that one; that the store
    is out of reach is remembered as long."""

    def __init__(self) -> None:
        self._recent: Recent[tuple[object, ...], Read] = Recent(CALLERS)

    async def read(self, account: Account, charges: tuple[Charge, ...]) -> Read:
        """StoreUnavailable where the store is out of reach."""
        store, now = account.store("peek"), wire.now_ms()
        peek = store.peek
        whose = tuple([(charge.key, charge.maxes, charge.stages, id(charge.limit)) for charge in charges])
        read = self._recent.get(whose)
        if read is None or not read.is_fresh(now, peek):
            read = Read(now, peek, charges)
            self._recent.put(whose, read)
            if getattr(store, "at_once", False):
                await _ask(read)
            else:
                read.begun = running(), account.begin(partial(_ask, read))
        if read.begun is not None and not read.done:
            await ended(read.begun[1])
        read.raise_error()
        return read


async def _ask(read: Read) -> None:
    try:
        decision = await read.peek(_without_cost(read.charges), 0)
        read.states, read.store_ms, read.now_ms = decision.states, decision.now_ms, wire.now_ms()
    except StoreUnavailable as error:
        read.away = str(error)
    except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
        read.errors.append(error)
        read.failed = True
    read.done, read.begun = True, None


def _without_cost(charges: Sequence[Charge]) -> tuple[Charge, ...]:
    return tuple([Charge(charge.limit, charge.key, 0, charge.maxes, charge.stages) for charge in charges])


_readers: WeakKeyDictionary[Account, Reader] = WeakKeyDictionary()


async def read(account: Account, charges: tuple[Charge, ...]) -> Read:
    """Of a limiter."""
    return await _readers.setdefault(account, Reader()).read(account, charges)
