"""What others count by themselves, looked at once a second: slots that were reclaimed, callers, servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from ratelimit.model import Admitting

_watching: WeakKeyDictionary[Admitting, ref[Sources]] = WeakKeyDictionary()


class News(NamedTuple):
    """Slots by limit, callers by what was done, how many servers more are away."""

    slots: Counter[str]
    callers: Counter[str]
    away: int


NO_NEWS = News(Counter(), Counter(), 0)


class Sources:
    """Of one middleware. `reclaimed` are slots by limit, so far."""

    def __init__(self, store: Admitting, reclaimed: Sequence[Counter[str]]) -> None:
        self._store: Any = store
        self._reclaimed = reclaimed
        self.away = 0  # servers, when last looked at
        self.begin()

    def begin(self) -> None:
        """What there is by now is not news."""
        self._slots, self._callers, self.away = self._now()

    def news(self, *, ends: bool) -> News:
        """Since the last look. At the end no server is away any more."""
        slots, callers, away = self._slots, self._callers, self.away
        self._slots, self._callers, now = self._now()
        self.away = now if self._ours() and not ends else 0
        return News(self._slots - slots, self._callers - callers if self._ours() else Counter(), self.away - away)

    def _now(self) -> tuple[Counter[str], Counter[str], int]:
        slots: Counter[str] = sum(self._reclaimed, Counter())
        away = getattr(self._store, "out_of_reach", None)
        return slots, Counter(getattr(self._store, "beyond_max", {})), away() if away else 0

    def _ours(self) -> bool:
        """Whether this is who tells of the store: the middlewares of one policy share its memory."""
        try:
            first = _watching.setdefault(self._store, ref(self))
        except TypeError:  # of unknown make: nothing can refer to it weakly, or find it
            return True
        if first() is None:
            _watching[self._store] = ref(self)
        return first() in (None, self)
