"""When a counter of the memory store can be forgotten."""

from __future__ import annotations

import heapq
import time


class Expiry:
    """By a clock that never goes back. It only collects garbage."""

    def __init__(self) -> None:
        self._until: dict[str, int] = {}
        self._queue: list[tuple[int, str]] = []  # one entry a key, at its expiry or earlier

    def keep(self, key: str, matters_ms: int) -> None:
        """Not before `matters_ms` and a second more."""
        until = time.monotonic_ns() // 1_000_000 + matters_ms + 1_000
        if key not in self._until:
            heapq.heappush(self._queue, (until, key))
        self._until[key] = max(until, self._until.get(key, 0))

    def due(self, at_most: int) -> list[str]:
        """Keys to forget: more than a request can add, so that they never pile up, and never a pause."""
        now = time.monotonic_ns() // 1_000_000
        due: list[str] = []
        for _ in range(at_most):
            if not self._queue or self._queue[0][0] > now:
                break
            key = self._queue[0][1]
            if self._until[key] > now:
                heapq.heapreplace(self._queue, (self._until[key], key))
            else:
                heapq.heappop(self._queue)
                del self._until[key]
                due.append(key)
        return due
