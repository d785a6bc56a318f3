"""What others count by themselves, looked at once a second: slots that were reclaimed, callers, edits, servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from ratelimit.model import Admitting

Reloads = Callable[[], Mapping[str, int]]


class News(NamedTuple):
    """Slots by limit, callers by what was done, edits by outcome, how many servers more are away."""

    slots: Counter[str]
    callers: Counter[str]
    reloads: Counter[str]
    away: int


NO_NEWS = News(Counter(), Counter(), Counter(), 0)

_watching: WeakKeyDictionary[object, ref[Sources]] = WeakKeyDictionary()


class Sources:
    """Of one middleware. `reclaimed` are slots by limit, `reloads` edits of policy files, so far."""

    def __init__(self, store: Admitting, reclaimed: Sequence[Counter[str]], reloads: Reloads) -> None:
        self._store: Any = store
        self._reclaimed = reclaimed
        self._reloads = reloads
        self.begin()

    def begin(self) -> None:
        """What there is by now is not news."""
        self._seen = self._now()
        self.away = 0  # servers, of which it was told

    def news(self, *, ends: bool) -> News:
        """Since the last look. At the end no server is away any more."""
        before, self._seen = self._seen, self._now()
        slots, callers, reloads, now = self._seen
        ours = self._tells(self._store)
        away, self.away = self.away, now if ours and not ends else 0
        return News(
            slots - before.slots,
            callers - before.callers if ours else Counter(),
            reloads - before.reloads if self._tells(self._reloads) else Counter(),
            self.away - away,
        )

    def _now(self) -> News:
        slots: Counter[str] = sum(self._reclaimed, Counter())
        away = getattr(self._store, "out_of_reach", None)
        beyond = Counter(getattr(self._store, "beyond_max", {}))
        return News(slots, beyond, Counter(self._reloads()), away() if away else 0)

    def _tells(self, what: object) -> bool:
        """Whether it is this one that tells of it: the middlewares of one policy share its memory, and those of one
        process its edits."""
        try:
            first = _watching.setdefault(what, ref(self))
        except TypeError:  # of unknown make: nothing can refer to it weakly, or find it
            return True
        if first() is None:
            _watching[what] = ref(self)
        return first() in (None, self)
