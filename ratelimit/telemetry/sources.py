"""What others count by themselves, looked at once a second: slots that were reclaimed, callers, servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

from ratelimit.model import Admitting

_watching: WeakKeyDictionary[Admitting, ref[Sources]] = WeakKeyDictionary()


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

    def news(self, *, ends: bool) -> tuple[Counter[str], Counter[str], int]:
        """Since the last look: slots, callers, and how many servers more are away. At the end none is any more."""
        slots, callers, away = self._slots, self._callers, self.away
        self._slots, self._callers, now = self._now()
        self.away = now if self._ours() and not ends else 0
        return self._slots - slots, self._callers - callers if self._ours() else Counter(), self.away - away

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
