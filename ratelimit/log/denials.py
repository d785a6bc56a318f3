"""Denials in the log: at INFO at most one line a second for each caller and limit, each of the others at DEBUG."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from contextvars import Context
from functools import partial
from time import monotonic
from typing import NamedTuple
from weakref import WeakSet

from ratelimit.ground.loops import Loop, running
from ratelimit.ground.printable import in_a_line
from ratelimit.ground.repeats import EVERY, Repeats
from ratelimit.ground.words import fields
from ratelimit.log import lines as log
from ratelimit.model import Decision, Identity, Refused, State, StoreUnavailable
from ratelimit.policy.keys import caller

logger = logging.getLogger("ratelimit")

SWEPT = 2  # callers that were quiet are forgotten with each line: more than it adds
AT_ONCE = 100  # lines of a timer: a millisecond of the loop

_all: WeakSet[Denials] = WeakSet()


class Whose(NamedTuple):
    """Whom a line is about: `denied limit=requests caller=organization=acme`."""

    verdict: str
    why: str  # "limit=requests"
    caller: str


class Denials:
    """Of one policy. The first of a caller and limit is told at once. Those of the following second are counted, and
    told with its next line, or in one of their own when no other comes; at a shutdown at once.

    Callers that are known by nothing but their address have a memory of their own: a flood of made-up ones, who are
    counted together from some thousands a second on, hides no customer's first line.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._lock = threading.Lock()
        self._known: Repeats[Whose] = Repeats(clock=clock)
        self._by_address: Repeats[Whose] = Repeats(clock=clock)
        self._loop: Loop | None = None  # that tells of those who went quiet
        self.also: Callable[[Decision, Identity], None] | None = None  # who counts what limits in shadow would deny
        _all.add(self)

    def report(
        self, decision: Decision, failure: StoreUnavailable | None, operation: str, identity: Identity, log_id: str
    ) -> None:
        """What there is to say of a decision."""
        if failure:
            log.without_store(failure, operation, partial(caller, identity), log_id, allowed=decision.allowed)
        elif state := decision.denying:
            self._report("denied", state, operation, identity, log_id)
            if state.retry_after_ms is None:
                log.can_never_pass(state, operation)
        else:
            if self.also is not None:
                self.also(decision, identity)
            for state in decision.states:
                if state.shadow and state.exceeded:
                    self._report("would deny", state, operation, identity, log_id)

    def refused(self, why: Refused, ip: str, log_id: str, verdict: str = "refused") -> None:
        """A request that was answered before anything was charged, as it could not be said who asks."""
        if not logger.isEnabledFor(logging.INFO):
            return
        whose = Whose(verdict, f"code={in_a_line(why.code)}", caller(Identity(ip=ip or "unknown")))
        level, others, count = self._counted(whose, self._by_address)
        what = "%s status=%d %s log_id=%s caller=%s%s: %s"
        code, said = in_a_line(why.code), in_a_line(why.message)
        extra = _fields(whose, status=why.status, code=code, log_id=log_id, more=count, reason=said)
        logger.log(level, what, verdict, why.status, whose.why, log_id, whose.caller, others, said, extra=extra)

    def close(self) -> None:
        """Tell what is untold, as there may be no more."""
        with self._lock:
            rest = self._known.rest() + self._by_address.rest()
        _tell(rest)

    def _report(self, verdict: str, state: State, operation: str, identity: Identity, log_id: str) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        whose = Whose(verdict, f"limit={state.limit.name}", caller(identity))
        level, others, count = self._counted(whose, self._by_address if identity.root[0] == "ip" else self._known)
        if logger.isEnabledFor(level):
            wait = "never" if state.retry_after_ms is None else f"{state.retry_after_ms / 1000:.3f}s"
            wait_s = None if state.retry_after_ms is None else state.retry_after_ms / 1000
            asked, named = in_a_line(operation), in_a_line(log_id)
            logger.log(
                level,
                "%s operation=%s %s wait=%s log_id=%s caller=%s%s",
                verdict,
                asked,
                whose.why,
                wait,
                named,
                whose.caller,
                others,
                extra=_fields(whose, operation=asked, limit=state.limit.name, wait_s=wait_s, log_id=named, more=count),
            )

    def _counted(self, whose: Whose, repeats: Repeats[Whose]) -> tuple[int, str, int]:
        """At which level to tell of one, and with how many others, in words and as a number."""
        with self._lock:
            due = repeats.due(SWEPT, but=whose)
            before = repeats.told(whose, whose._replace(caller="others"))
            if before is None:
                self._tell_later()
        _tell(due)
        return logging.DEBUG if before is None else logging.INFO, f" and {before:,} more" if before else "", before or 0

    def _tell_later(self) -> None:
        if self._loop is None or self._loop.is_closed():
            try:
                self._loop = running()
            except RuntimeError:  # neither asyncio nor trio: then the next denial of anybody tells, or the end
                return
            self._tick_later(self._loop, EVERY)

    def _tick_later(self, loop: Loop, delay: float) -> None:
        loop.call_later(delay, self._tick, loop, context=Context())

    def _tick(self, loop: Loop) -> None:
        with self._lock:
            due = self._known.due(AT_ONCE) + self._by_address.due(AT_ONCE)
            if self._known.untold or self._by_address.untold:
                self._tick_later(loop, EVERY / 10 if due else EVERY)
            else:
                self._loop = None
        _tell(due)


def _tell(counts: list[tuple[Whose, int]]) -> None:
    for whose, count in counts:
        verdict, why, of = whose
        name, _, value = why.partition("=")
        extra = _fields(whose, more=count, **{name: value})
        logger.info("%s %s caller=%s and %s more", verdict, why, of, f"{count:,}", extra=extra)


def _fields(whose: Whose, **values: object) -> dict[str, object]:
    return fields(whose.verdict.replace(" ", "_"), caller=whose.caller, **values)


@atexit.register
def tell_all() -> None:
    """At the end of the process, where no lifespan said that it comes."""
    for denials in list(_all):
        denials.close()
