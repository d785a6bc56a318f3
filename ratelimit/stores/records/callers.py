"""The callers of a memory store, and how many there may be: a flood of addresses must neither fill the machine nor push
out what a customer has spent."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace

from ratelimit.ground.words import fields
from ratelimit.model import FOREVER
from ratelimit.stores.records import record as records
from ratelimit.stores.records.record import OLDER, SEEN, Record, head_of, opened
from ratelimit.stores.records.shards import DROPPED, LOOKED_AT, PARTS, Shards, Walk

logger = logging.getLogger("ratelimit")

ANONYMOUS = "{ip="  # how the names of those begin of whom no more is known than an address
SHARED = "{ip}"  # the caller that they all are where there is room for none of them
SHARED_BELOW = 100  # a part of the bound: in fewer places, as many addresses and one would push each other out for ever
TOLD_EVERY_MS = 60_000
KINDS = ("dropped", "shared", "above")

Forget = Callable[[str, Record], None]


class Callers:
    """Their records by their names, the anonymous ones in the order in which they were last seen.

    Of more than `most`, what counts no more is dropped first, then the anonymous caller that was unseen the longest. A
    known caller is never dropped, and comes also above the bound; where known ones fill all but a hundredth of it, new
    anonymous callers share one record. `beyond` has how often: callers "dropped", requests "shared", known callers
    "above".

    `forget` drops what else there is of a caller, `forget_older` what there is of older sub-windows; `push_out` is told
    of who is dropped though it still counts. Every instant is of a clock that never goes back, in ms.
    """

    def __init__(self, most: int, forget: Forget, forget_older: Forget, push_out: Forget) -> None:
        self.most = most
        self.count = 0
        self.beyond: Counter[str] = Counter()
        self.dies_at = 0  # before that all records count
        self._last: tuple[str | None, Record | None] = None, None  # who was found last: a request has several counters
        self._forget = forget
        self._forget_older = forget_older
        self._push_out = push_out
        self._known: Shards[bytearray] = Shards()
        self._anonymous: Shards[bytearray] = Shards()
        self._anonymous_count = 0
        self._heads: list[tuple[int, int]] = []  # a heap: a part, and when the first of it was last seen, or before
        self._has_head = [False] * PARTS
        self._walk = Walk(self._known, self._anonymous)
        self._soonest = FOREVER  # when the first of those dies at which it was
        self._tell_at = 0
        self._told: Counter[str] = Counter()

    def own(self, name: str) -> Record | None:
        last, record = self._last
        if name != last:
            kept = self._of(name).get(name)
            if kept is None:
                return None
            record = opened(kept)
            self._last = name, record
        return record

    def find(self, name: str) -> Record | None:
        """Its own record, or the one that it shares."""
        return self._last[1] if name == self._last[0] else self.own(self.name_of(name))

    def name_of(self, name: str) -> str:
        """The name of the record that `find` finds, or would."""
        return SHARED if self._is_shared(name) and name not in self._anonymous.of(name) else name

    def record(self, name: str, now: int) -> Record:
        """The same, made if it is not there."""
        record = self.own(name)
        if record is None:
            if self.count >= self.most:
                self._make_room(name, now)
            name = self.name_of(name)
            record = self.own(name) or self._add(name, now)
        return record

    def replace(self, name: str, kept: bytearray) -> Record:
        """Its record, by one that has more counters."""
        name = self.name_of(name)
        self._of(name)[name] = kept
        self._last = name, opened(kept)
        return self._last[1]

    def seen(self, name: str, now: int) -> None:
        """An anonymous caller has asked for something."""
        part = self._anonymous.of(name)
        kept = part.pop(name, None)
        if kept is not None:
            part[name] = kept
            opened(kept)[SEEN] = now
        elif self._is_shared(name):
            self._note("shared", now)

    def drop(self, name: str) -> None:
        kept = self._of(name).pop(name)
        self._last = None, None
        self.count -= 1
        self._anonymous_count -= name.startswith(ANONYMOUS)
        self._forget(name, opened(kept))

    def forget_some(self, now: int, at_most: int = LOOKED_AT) -> bool:
        """Drop what counts no more of about so many records. Whether all were looked at by now."""
        for part in self._walk.some(at_most):
            if self._forget_in(part, now) > DROPPED:
                self._walk.again()
                return False
        if not self._walk.ended():
            return False
        self.dies_at, self._soonest = self._soonest, FOREVER
        self._tell(now)
        return True

    def _forget_in(self, part: dict[str, bytearray], now: int) -> int:
        """Returns how many there were to drop; some of very many."""
        gone, aged = [], []
        for name, kept in part.items():
            until, _, older = head_of(kept)
            if until <= now:
                gone.append(name)
            else:
                self._soonest = min(self._soonest, until)
                if 0 < older <= now:
                    aged.append((name, kept))
        for name in gone[:DROPPED]:
            self.drop(name)
        for name, kept in aged:
            record = opened(kept)
            record[OLDER] = 0
            self._forget_older(name, record)
        return len(gone)

    def _of(self, name: str) -> dict[str, bytearray]:
        return (self._anonymous if name.startswith(ANONYMOUS) else self._known).of(name)

    def _is_shared(self, name: str) -> bool:
        few = self._anonymous_count <= self.most // SHARED_BELOW
        return few and self.count >= self.most and name.startswith(ANONYMOUS)

    def _make_room(self, name: str, now: int) -> None:
        if now >= self.dies_at:
            self.forget_some(now)
        if self.count >= self.most and not self._is_shared(name) and self._drop_longest_unseen():
            self._note("dropped", now)

    def _drop_longest_unseen(self) -> bool:
        while self._heads:
            seen, number = self._heads[0]
            part = self._anonymous.parts[number]
            if not part:
                heappop(self._heads)
                self._has_head[number] = False
                continue
            name, kept = next(iter(part.items()))
            if (last := head_of(kept)[SEEN]) == seen:
                self._push_out(name, opened(kept))
                self.drop(name)
                return True
            heapreplace(self._heads, (last, number))
        return False

    def _add(self, name: str, now: int) -> Record:
        self._of(name)[name] = kept = records.new(now)
        self.count += 1
        if name.startswith(ANONYMOUS):
            self._anonymous_count += 1
            number = self._anonymous.number(name)
            if not self._has_head[number]:
                self._has_head[number] = True
                heappush(self._heads, (now, number))
        elif self.count > self.most and name != SHARED:
            self._note("above", now)
        return opened(kept)

    def _note(self, what: str, now: int) -> None:
        self.beyond[what] += 1
        self._tell(now)

    def _tell(self, now: int) -> None:
        """What is untold, once a minute."""
        news = self.beyond - self._told
        if news and now >= self._tell_at:
            self._tell_at, self._told = now + TOLD_EVERY_MS, self.beyond.copy()
            logger.warning(
                "the memory store has as many callers as max_callers allows, %s: %s anonymous callers were dropped,"
                " those unseen for the longest time; %s requests of anonymous callers were counted together; %s known"
                " callers came above it; raise max_callers in [store], or keep counters in Redis",
                *[f"{number:,}" for number in (self.most, *map(news.__getitem__, KINDS))],
                extra=fields("callers_beyond_max", **{kind: news[kind] for kind in KINDS}),
            )
