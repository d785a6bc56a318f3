"""The launches of a process, on one store: it looks each second whether they are paused, and writes its report each
five, in the background, for as long as there are requests. No request waits for any of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from contextvars import Context
from time import monotonic
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakSet, ref

from ratelimit.ground.printable import in_a_line
from ratelimit.ground.repeats import Once
from ratelimit.ground.times import second
from ratelimit.ground.words import listed
from ratelimit.launches.report import Report, merged
from ratelimit.launches.shared import ROWS, Shared, Word
from ratelimit.model import Admitting, ASGIApp, Decision, Identity, Limit, Receive, Scope, Send, StoreUnavailable
from ratelimit.policy import Policy

logger = logging.getLogger("ratelimit")

EVERY = 1.0  # seconds between two looks
WRITES = 5  # looks between two reports
TOLD = 5  # callers of a limit, in the log at the end of a process
IDLE = 60.0  # seconds after the last request for which it goes on

R = TypeVar("R")

_of_stores: WeakKeyDictionary[Admitting, Running] = WeakKeyDictionary()


def launched(policy: Policy) -> list[Limit]:
    return [limit for limits in policy.tiers.values() for limit in limits if limit.launch is not None]


class Telling(Protocol):
    """What says in the log whom a policy has denied."""

    also: Callable[[Decision, Identity], None] | None


def running(policy: Policy, store: Admitting, denials: Telling) -> Running | None:
    """What runs for a middleware of this policy; None where nothing of it is launched. The middlewares of one store,
    and the policies that follow each other there, have one."""
    if not launched(policy):
        return None
    try:
        known = _of_stores.get(store)
        if known is None:
            known = _of_stores[store] = Running(shared_of(store))
    except TypeError:  # a store of the user's that can't be remembered: each middleware of it has its own
        known = Running(shared_of(store))
    known.add(policy)
    denials.also = known.report.note
    return known


def shared_of(store: object) -> Shared | None:
    """What a store keeps for all processes; None of one that is of this process alone."""
    if not callable(getattr(store, "ask", None)):
        return None
    there = ref(store)  # which is the key under which this is kept

    async def ask(*parts: Any) -> Any:
        store: Any = there()
        if store is None:
            raise StoreUnavailable("the store is gone")
        return await store.ask(*parts)

    return Shared(ask, getattr(store, "prefix", "ratelimit"))


class Running:
    """Of one store. `word` is the last that an operator said, as far as this process knows."""

    def __init__(self, shared: Shared | None) -> None:
        self.report = Report()
        self.word: Word | None = None
        self._shared = shared
        self._name = secrets.token_hex(8)
        self._policies: WeakSet[Policy] = WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._chain: object = None
        self._asked_at = 0.0
        self._looks = 0
        self._once = Once()

    def add(self, policy: Policy) -> None:
        self._policies.add(policy)
        if self.word is not None and self.word.paused:
            policy.pause(paused=True)

    def watching(self, asked: Callable[[Scope], R]) -> Callable[[Scope], R]:
        """The same, which each request is asked of."""
        if self._shared is None:
            return asked

        def watched(scope: Scope) -> R:
            self._asked_at = monotonic()
            if self._loop is None or self._loop.is_closed():
                self._begin()
            return asked(scope)

        return watched

    def first(self, app: ASGIApp) -> ASGIApp:
        """The lifespan of an app, before which it is known whether launches are paused, if the store says so."""

        async def started(scope: Scope, receive: Receive, send: Send) -> None:
            await self.look()
            await app(scope, receive, send)

        return started

    async def look(self) -> None:
        """What operators said. A process that can't read keeps what it knew last; what the store has lost, or never
        had, it writes again."""
        if self._shared is None:
            return
        try:
            words = await self._shared.words()
            found = words[-1] if words else None
            if self.word is not None and (found is None or found < self.word):
                await self._shared.say(self.word)
            elif found is not None and found != self.word:
                self._adopt(found)
        except StoreUnavailable as error:
            self._tell(
                "whether launches are paused can't be read, so what was known last holds (logged once): %s", error
            )

    async def write(self) -> None:
        """The report of this process, where there is something new in it."""
        if self._shared is None or not self.report.changed:
            return
        self.report.changed = False
        try:
            process = f"{self._name}-{os.getpid()}"  # one that was forked has the name of another one
            await self._shared.write(process, self.report.written(ROWS))
        except StoreUnavailable as error:
            self.report.changed = True
            self._tell(
                "the report of the launches can't be written, it is kept here meanwhile (logged once): %s",
                error,
            )

    async def close(self) -> None:
        """Of the loop that runs: its last word."""
        self._loop = self._chain = None
        if self._shared is None:
            self._tell_report()
        elif self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            self._task.cancel()
        await self.write()

    def _tell_report(self) -> None:
        """Of a process whose report nobody else can read: in the log, at its end."""
        for one in merged([self.report.written()], TOLD) if self.report.changed else ():
            most = [f"{row.caller} {row.denials} (needs a max of {row.needs or 'what is unknown'})" for row in one.rows]
            what = "limit=%s would have denied %d requests while it was in shadow, the most: %s"
            logger.info(what, in_a_line(one.name), one.denials, in_a_line(listed(most)))
        self.report.changed = False

    def _adopt(self, word: Word) -> None:
        before, self.word = self.word, word
        for policy in list(self._policies):
            policy.pause(paused=word.paused)
        names = listed(sorted({limit.name for policy in self._policies for limit in launched(policy)}))
        if word.paused:
            what = "launches are paused since %s, by ratelimit launch pause: in shadow until they are resumed: %s"
            logger.warning(what, second(word.at_ms), in_a_line(names))
        elif before is not None:
            what = "launches go on since %s, by ratelimit launch resume: %s"
            logger.warning(what, second(word.at_ms), in_a_line(names))

    def _begin(self) -> None:
        """On the loop that runs; on trio no store has anything in common with other processes."""
        try:
            loop = self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._chain = chain = object()
        self._task = None  # of a loop that ended in the middle of it
        loop.call_soon(self._tick, loop, chain, context=Context())

    def _tick(self, loop: asyncio.AbstractEventLoop, chain: object) -> None:
        """Of the chain that was begun last."""
        if chain is not self._chain:
            return
        if monotonic() - self._asked_at > IDLE:
            self._loop = self._chain = None
            return
        if self._task is None or self._task.done():
            self._looks += 1
            self._task = loop.create_task(self._round(write=self._looks % WRITES == 0), context=Context())
        loop.call_later(EVERY, self._tick, loop, chain, context=Context())

    async def _round(self, *, write: bool) -> None:
        await self.look()
        if write:
            await self.write()

    def _tell(self, what: str, error: StoreUnavailable) -> None:
        if self._once.first(what):
            logger.warning(what, in_a_line(error))
