"""What would be said with every request: once, or of many of each at most once in a while, and how often meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import islice
from time import monotonic
from typing import Generic, TypeVar

EVERY = 1.0  # seconds
MOST = 4_096  # of whom is known when they were told of: 2 MB where their names are as long as a counter's may be

_K = TypeVar("_K", bound=Hashable)


class Once:
    """Remembers what was said, up to a bound: of what comes beyond it nothing is said at all."""

    __slots__ = ("_most", "_said")

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._said: set[str] = set()

    def first(self, about: str) -> bool:
        """Whether this is the first time."""
        if about in self._said or len(self._said) >= self._most:
            return False
        self._said.add(about)
        return True


class Repeats(Generic[_K]):
    """When each was told of, and how often not since then. Of more than `most` that were told of within `every`
    seconds, the others are counted together. Not for several threads at a time."""

    def __init__(self, every: float = EVERY, most: int = MOST, clock: Callable[[], float] = monotonic) -> None:
        self._every = every
        self._most = most
        self._clock = clock
        self._told: dict[_K, float] = {}  # the one told of the longest time ago first
        self.untold: dict[_K, int] = {}

    def __len__(self) -> int:
        return len(self._told)

    def told(self, who: _K, others: _K) -> int | None:
        """To be told now, with how often it was not since the last time; None: it is counted, under `others` where
        there are too many."""
        now = self._clock()
        at = self._told.get(who)
        if at is not None and now - at < self._every:
            pass
        elif at is None and len(self._told) >= self._most:
            who = others
            self._told.setdefault(others, now)
        else:
            self._told.pop(who, None)
            self._told[who] = now
            return self.untold.pop(who, 0)
        self.untold[who] = self.untold.get(who, 0) + 1
        return None

    def due(self, at_most: int, but: _K | None = None) -> list[tuple[_K, int]]:
        """Of whom it is time to tell how often it was: they are told of by that. Who was quiet is forgotten."""
        now = self._clock()
        due: list[tuple[_K, int]] = []
        for who in list(islice(self._told, at_most)):
            if now - self._told[who] < self._every:
                break
            if who != but:
                del self._told[who]
                if count := self.untold.pop(who, 0):
                    self._told[who] = now
                    due.append((who, count))
        return due

    def rest(self) -> list[tuple[_K, int]]:
        """All that is untold."""
        rest, self.untold = list(self.untold.items()), {}
        return rest
