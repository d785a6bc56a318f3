"""Requests that the store did not decide: counted one by one, and told in the log once a second."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from contextvars import Context
from time import monotonic
from typing import Literal, get_args

from ratelimit.ground.loops import Loop, running
from ratelimit.ground.trio_loop import TrioTask
from ratelimit.ground.words import fields

logger = logging.getLogger("ratelimit")

EVERY = 1.0  # seconds between two lines: 10,000 requests a second would fill a disk with a line each

Verdict = Literal["allowed", "refused", "decided locally"]
_counts: Counter[str] = Counter()  # of this process: an app can't reach the middleware that its framework has made
_lock = threading.Lock()  # `+=` is no single step where event loops run in several threads


def requests_without_store() -> dict[str, int]:
    """How many requests this process has answered without the store since it began: "allowed" and "refused" by
    `on_failure`, and "decided locally"."""
    with _lock:
        return {"allowed": 0, "refused": 0, "decided locally": 0, **_counts}


class Outage:
    """Of one middleware. It begins with the first request that the store did not decide, and ends when the store has
    decided some and none was without it for a second: on a cluster a part of the store can be out of reach.

    A line when it begins, at most one a second with the requests since the last line, and one when it ends; the
    requests of all lines together are those that there were.
    """

    def __init__(self, on_failure: str) -> None:
        self._on_failure = on_failure
        self.began: float | None = None  # by time.monotonic; None: the store is there
        self._back: float | None = None  # when it first decided again
        self._why = ""
        self._untold: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._loop: Loop | None = None  # that writes the lines
        self._timer: asyncio.TimerHandle | TrioTask | None = None

    def without(self, why: object, verdict: Verdict) -> None:
        """A request was answered without the store."""
        with _lock:
            _counts[verdict] += 1
            self._untold[verdict] += 1
            self._why, self._back = str(why), None
            if self.began is None:
                self.began = monotonic()
                what = 'the store is out of reach, on_failure = "%s" decides: %s'
                extra = fields("store_out_of_reach", on_failure=self._on_failure, reason=self._why)
                logger.warning(what, self._on_failure, why, extra=extra)
            if self._loop is None or self._loop.is_closed():
                self._loop = running()
                self._tick_later(self._loop)

    def decided(self) -> None:
        """The store has decided a request, though there is an outage."""
        if self._back is None:
            self._back = monotonic()

    def close(self) -> None:
        """Tell what is untold, as there will be no more."""
        with _lock:
            if self._untold:
                self._tell()
            if self._timer:
                self._timer.cancel()
            self.began = self._loop = self._timer = None
            self._told.clear()

    def _tick_later(self, loop: Loop) -> None:
        self._timer = loop.call_later(EVERY, self._tick, loop, context=Context())

    def _tick(self, loop: Loop) -> None:
        with _lock:
            if self._untold:
                self._tell()
            elif self._back is not None and self.began is not None:
                took, extra = self._back - self.began, fields("store_back", after_s=self._back - self.began)
                what = "the store is back after %.1f s: %s without it"
                logger.warning(what, took, _listed(self._told), extra=extra | _counted(self._told))
                self._told.clear()
                self.began = self._loop = self._timer = None
                return
            self._tick_later(loop)

    def _tell(self) -> None:
        extra = fields("requests_without_store", reason=self._why) | _counted(self._untold)
        logger.warning("without the store: %s: %s", _listed(self._untold), self._why, extra=extra)
        self._told += self._untold
        self._untold.clear()


def _counted(counts: Counter[str]) -> dict[str, object]:
    """`ratelimit_allowed`, `ratelimit_refused`, `ratelimit_decided_locally`."""
    return {f"ratelimit_{verdict.replace(' ', '_')}": counts[verdict] for verdict in get_args(Verdict)}


def _listed(counts: Counter[str]) -> str:
    """`4,210 requests allowed, 3 refused`."""
    (verdict, count), *others = sorted(counts.items())
    noun = "request" if count == 1 else "requests"
    return ", ".join([f"{count:,} {noun} {verdict}", *(f"{count:,} {verdict}" for verdict, count in others)])
