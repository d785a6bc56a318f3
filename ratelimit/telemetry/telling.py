"""What a middleware tells its telemetry: kept for a moment, and counted some hundreds at a time or once a second."""

from __future__ import annotations

import atexit
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from time import monotonic
from weakref import WeakSet

from ratelimit.ground.loops import Loop, in_children, running
from ratelimit.log import lines as log
from ratelimit.model import Admitting, Charge, Decision, Identity
from ratelimit.policy import Policy
from ratelimit.telemetry.hook import Counts, Decided, Kind, Outcome, Telemetry, Watcher
from ratelimit.telemetry.journal import WHOLE, Journal
from ratelimit.telemetry.sources import NO_NEWS, News, Sources
from ratelimit.telemetry.tally import Names
from ratelimit.telemetry.timed import timed

EVERY = 1.0  # seconds
LATE = 5.0  # seconds after which a loop is taken for one that does not run any more
WAIT = 1.0  # seconds that the end of a process waits for another thread that counts

Noted = Callable[[Identity, str, Sequence[Charge], Decision], None]

_all: WeakSet[Telling] = WeakSet()


def telling(
    telemetry: Telemetry | None,
    policy: Policy,
    store: Admitting,
    reclaimed: Sequence[Counter[str]],
    reloads: Callable[[], Mapping[str, int]],
) -> Telling | None:
    """Of a middleware that has a telemetry."""
    return Telling(telemetry, policy, Sources(store, reclaimed, reloads)) if telemetry is not None else None


def heard(telling: Telling | None, *, at_the_door: bool) -> Callable[[Noted | None], Noted | None]:
    """What makes one of all who hear of each decision, so that the middleware asks once whether there is anybody.
    `at_the_door`: a decision that is made there counts."""
    return telling.beside if telling is not None and at_the_door else _alone


def _alone(noted: Noted | None) -> Noted | None:
    return noted


class Telling:
    """Of one middleware. Several threads may tell; one at a time counts. Nothing that the telemetry raises gets out."""

    def __init__(self, telemetry: Telemetry, policy: Policy, sources: Sources) -> None:
        self._telemetry = telemetry
        self._watcher: Callable[[], Watcher | None] | None = getattr(telemetry, "watcher", None)
        self._names = Names(policy)
        self._sources = sources
        self._failed: set[str] = set()
        self._journal = Journal()
        _all.add(self)
        atexit.unregister(tell_all)
        atexit.register(tell_all)  # the last is called first: before what exports it is shut down
        self.begin()

    def begin(self) -> None:
        """With nothing to tell: what a process was forked with is its parent's to tell."""
        self._lock = threading.Lock()
        self._journal.clear()
        self._full = -1  # the entries of requests above which there is something to do: any while no timer runs
        self._due = 0.0  # when the timer should have rung, by time.monotonic
        self._sources.begin()

    def under(self, policy: Policy) -> None:
        """An edited one, which is in force from now on."""
        self._names = Names(policy)

    def noted(self, identity: Identity, operation: str, charges: Sequence[Charge], decision: Decision) -> None:
        """Of a request, in its path. Of what is denied it is told later: perhaps it waits."""
        if decision.allowed:
            journal = self._journal
            journal.put((operation, identity, decision))
            if len(journal.requests) > self._full:
                self._work()
            if self._watcher is not None:
                self._watched("request", operation, identity, decision)

    def beside(self, noted: Noted | None) -> Noted:
        """The same, and somebody else who wants to hear of it."""
        if noted is None:
            return self.noted

        def both(identity: Identity, operation: str, charges: Sequence[Charge], decision: Decision) -> None:
            noted(identity, operation, charges, decision)
            self.noted(identity, operation, charges, decision)

        return both

    def denied(self, identity: Identity, operation: str, decision: Decision, *, deferred: bool) -> None:
        """What became of a request that was denied: perhaps it has waited, and is not. Then, where who asks is known
        later, that is told later."""
        if not (decision.allowed and deferred):
            self.decided(identity, operation, decision)

    def decided(self, identity: Identity, operation: str, decision: Decision) -> None:
        """What became of a request."""
        self._journal.request(identity, operation, decision)
        self._work()
        self._watched("request", operation, identity, decision)

    def decided_as(self, kind: Kind, identity: Identity, operation: str, decision: Decision) -> None:
        """Of what is no request."""
        self._journal.others.append((self._names.decided(kind, operation, identity.tier, decision), decision))
        self._work()
        self._watched(kind, operation, identity, decision)

    def decided_late(self, identity: Identity, operation: str, decision: Decision) -> None:
        """The same where nothing more may be done, as a call may be closed in the middle of anything."""
        self._journal.request(identity, operation, decision)

    def undecided(self, outcome: Outcome) -> None:
        """A request over which no limit was asked: "exempt" or "refused"."""
        self._journal.others.append((Decided("request", "", "", "", outcome), None))
        self._work()

    def timed(self, store: Admitting) -> Admitting:
        """The store, as the middleware is to ask it."""
        return timed(store, self._journal.seconds)

    def close(self) -> None:
        """Tell the rest, as there may be no more: of a server that is away, that nobody asks for it."""
        if self._lock.acquire(timeout=WAIT):
            self._count(look=True, ends=True)

    def _watched(self, kind: Kind, operation: str, identity: Identity, decision: Decision) -> None:
        try:
            watcher = self._watcher and self._watcher()
            if watcher:
                watcher(self._names.decided(kind, operation, identity.tier, decision), decision)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on
            self._fails("watcher", error)

    def _work(self) -> None:
        """Where there is enough, count it; have a loop count the rest within a second."""
        if self._journal.is_full:
            if self._lock.acquire(blocking=False):
                self._count()
            elif self._journal.is_too_long:
                self._journal.clear()
                self._fails("count", TimeoutError("it does not come to an end"))
        if monotonic() <= self._due:
            return
        try:
            loop = running()
        except RuntimeError:  # neither asyncio nor trio: then the next hundreds are counted, or the end tells
            self._full = WHOLE - 1
            return
        self._later(loop)

    def _later(self, loop: Loop) -> None:
        self._full = WHOLE - 1
        self._due = monotonic() + EVERY + LATE
        loop.call_later(EVERY, self._tick, loop, self._due, context=Context())

    def _tick(self, loop: Loop, due: float) -> None:
        if due != self._due:
            return  # its loop had paused, and another timer has taken its place
        if not self._lock.acquire(blocking=False) or self._count(look=True):
            self._later(loop)
            return
        self._due, self._full = 0.0, -1
        if self._journal.requests:  # of another thread, which took this timer for one that goes on
            self._later(loop)

    def _count(self, *, look: bool = False, ends: bool = False) -> bool:
        """With the lock, which it gives back, and perhaps a `look` at what others count. Whether there was anything, or
        may be though nobody asks."""
        try:
            counts = self._counts(self._sources.news(ends=ends) if look else NO_NEWS)
            if counts is None:
                return False
            self._telemetry.count(counts)
        except Exception as error:  # noqa: BLE001 - on a timer, or in a request that goes on
            self._fails("count", error)
        finally:
            self._lock.release()
        return True

    def _counts(self, news: News) -> Counts | None:
        tally, seconds = self._journal.taken(self._names)
        if not (tally.decisions or seconds or any(news) or self._sources.away):
            return None
        return Counts(tally.decisions, tally.near, tally.shadow_denials, tally.without_store, seconds, *news)

    def _fails(self, method: str, error: Exception) -> None:
        if method not in self._failed:
            self._failed.add(method)
            log.telemetry_failed(type(self._telemetry).__name__, method, error)


def _forked() -> None:
    for telling in list(_all):
        telling.begin()


def tell_all() -> None:
    """At the end of the process, where no lifespan said that it comes."""
    for telling in list(_all):
        telling.close()


in_children(_forked)
