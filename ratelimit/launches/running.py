"""The launches of a process, on one store: it looks each second whether they are paused, and writes its report each
five, in the background, for as long as there are requests. No request waits for any of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
from collections.abc import Callable
from contextvars import Context
from time import monotonic
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from ratelimit.ground.printable import in_a_line
from ratelimit.ground.repeats import Once
from ratelimit.ground.times import second
from ratelimit.ground.words import fields, listed
from ratelimit.launches.report import Report, merged
from ratelimit.launches.shared import ROWS, Shared, Word, shared_of
from ratelimit.model import Admitting, ASGIApp, Decision, Identity, Limit, Receive, Scope, Send, StoreUnavailable
from ratelimit.policy import Policy

logger = logging.getLogger("ratelimit")

EVERY = 1.0  # seconds between two looks
WRITES = 5  # looks between two reports
TOLD = 5  # callers of a limit, in the log at the end of a process
IDLE = 60.0  # seconds after the last request for which it goes on

_PAUSED = "launches are paused since %s, by ratelimit launch pause: in shadow until they are resumed: %s"
_RESUMED = "launches go on since %s, by ratelimit launch resume: %s"
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


class Running:
    """Of one store. `word` is the last that an operator said, as far as this process knows."""

    def __init__(self, shared: Shared | None) -> None:
        self.report = Report()
        self.word: Word | None = None
        self._shared = shared
        self._name = secrets.token_hex(8)
        self._policies: WeakSet[Policy] = WeakSet()
        self._lock = threading.Lock()  # of these: the thread that reads an edited file adds one
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._chain: object = None
        self._asked_at = 0.0
        self._looks = 0
        self._once = Once()

    def add(self, policy: Policy) -> None:
        with self._lock:
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
            self._tell("whether launches are paused can't be read: what was known last holds (logged once): %s", error)

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
                "the report of the launches can't be written, it is kept here meanwhile (logged once): %s", error
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
            name, extra = in_a_line(one.name), fields("shadow_report", limit=in_a_line(one.name), count=one.denials)
            logger.info(what, name, one.denials, in_a_line(listed(most)), extra=extra)
        self.report.changed = False

    def _adopt(self, word: Word) -> None:
        before, self.word = self.word, word  # before who comes: one that is added meanwhile goes by it
        with self._lock:
            policies = list(self._policies)
        for policy in policies:
            policy.pause(paused=word.paused)
        names = in_a_line(listed(sorted({limit.name for policy in policies for limit in launched(policy)})))
        if word.paused:
            logger.warning(_PAUSED, second(word.at_ms), names, extra=fields("launches_paused", limits=names))
        elif before is not None:
            logger.warning(_RESUMED, second(word.at_ms), names, extra=fields("launches_resumed", limits=names))

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
            logger.warning(what, in_a_line(error), extra=fields("launch_store", reason=in_a_line(error)))
