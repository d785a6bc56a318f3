"""The one thread of a process that looks at its policy files: a file system may keep waiting whoever asks it."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol
from weakref import WeakSet

from ratelimit.ground.words import fields

logger = logging.getLogger("ratelimit")

EVERY = 0.5  # seconds


class Stepping(Protocol):
    def wanted(self) -> bool:
        """Whether there is still something to do."""

    def step(self) -> None: ...


class Ticking:
    """There is a thread while there is something to do. It never keeps the process from its end."""

    def __init__(self, every: float = EVERY) -> None:
        self._every = every
        self.forked()

    def forked(self) -> None:
        """Of a process that was forked, which has no threads."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._steps: WeakSet[Stepping] = WeakSet()

    def add(self, step: Stepping) -> None:
        """Once it is wanted."""
        with self._lock:
            self._steps.add(step)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="ratelimit-reload", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads, or the process ends
                    what = "edits of the policy file wait for a restart, as it can't be watched: %s"
                    logger.warning(what, error, extra=fields("policy_unwatched", reason=str(error)))
                else:
                    self._thread = thread

    def _run(self) -> None:
        while steps := self._left():
            for step in steps:
                step.step()
            del steps, step  # a middleware that nobody else has goes meanwhile
            time.sleep(self._every)

    def _left(self) -> list[Stepping]:
        with self._lock:
            steps = [step for step in self._steps if step.wanted()]
            self._steps = WeakSet(steps)
            if not steps:
                self._thread = None
            return steps
