"""Whom limits in shadow would have denied, in bounded memory: the callers with the most would-be denials, and the max
that each of them needs.

A limit keeps KEPT callers. When there are twice as many, those with the fewest are dropped, and one that comes later
may have been among them: its count then says by how much it may be too high. So a count is never too low, and nobody
who is not in the report has more than `floor`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any, NamedTuple

from ratelimit.model import Concurrency, Decision, Identity, Quota, State
from ratelimit.policy.keys import caller, period_of

KEPT = 256  # callers of a limit
LIMITS = 64  # of a process; of more no report is kept
PARTS = 60  # of a window at most, in which would-be denials are added up: as many as a rate has by itself


class Row(NamedTuple):
    """A caller. `needs`: with a max of so many units none of its requests would have been over, as far as was seen;
    None for a limit of concurrency, where a request that gets no slot says nothing of how long it takes."""

    caller: (
        str  # as in the log, an API key as a hash: organization=acme; with what the limit is `per` besides: user=ana
    )
    denials: int  # at most so many
    surely: int  # and at least
    needs: int | None
    last_ms: int  # by the store's clock


class LimitReport(NamedTuple):
    name: str
    period: str  # what it counts in, as in its key: 60000/60, month, c
    denials: int
    rows: list[Row]  # the most denied first
    floor: int  # who is not in `rows` has at most so many


@dataclass(slots=True)
class _Seen:
    denials: int
    unsure: int
    last_ms: int = 0
    used: int = 0  # the most at a would-be denial, with its own units and those of the others before it in its window
    over: int = 0  # the most units of would-be denials in one window
    parts: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Tally:
    denials: int = 0
    floor: int = 0
    callers: dict[str, _Seen] = field(default_factory=dict)


class Report:
    """Of one process and one store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self.changed = False  # since it was last looked at by who writes it

    def note(self, decision: Decision, identity: Identity) -> None:
        """What a decision would have denied, of the limits that have a launch."""
        for state in decision.states:
            if state.exceeded and state.shadow and state.charge.limit.launch is not None:
                with self._lock:
                    self._note(state, _counted(state, identity), decision.now_ms)

    def _note(self, state: State, who: str, now_ms: int) -> None:
        name = state.limit.name, period_of(state.limit.kind)
        tally = self._tallies.get(name)
        if tally is None:
            if len(self._tallies) >= LIMITS:
                return
            tally = self._tallies[name] = _Tally()
        self.changed = True
        tally.denials += 1
        seen = tally.callers.get(who)
        if seen is None:
            if len(tally.callers) >= 2 * KEPT:
                _drop(tally)
            seen = tally.callers[who] = _Seen(tally.floor, tally.floor)
        seen.denials += 1
        seen.last_ms = now_ms
        _add_up(seen, state, now_ms)

    def written(self, most: int = 2 * KEPT) -> list[object]:
        """As JSON has it, `most` callers of a limit: what `merged` reads."""
        with self._lock:
            return [[*name, *_written(tally, most)] for name, tally in self._tallies.items()]


def _counted(state: State, identity: Identity) -> str:
    """Whom a counter is of: a max is one of each counter, of which an organization has several where it is by user."""
    return " ".join([caller(identity), *state.charge.key.split(":")[3:]])


def _drop(tally: _Tally) -> None:
    """Keep those with the most; of the others no more is known than how many they have at the most."""
    kept = nlargest(KEPT, tally.callers.items(), key=lambda item: item[1].denials)
    names = {name for name, _ in kept}
    tally.floor = max(tally.floor, *(seen.denials for name, seen in tally.callers.items() if name not in names))
    tally.callers = dict(kept)


def _add_up(seen: _Seen, state: State, now_ms: int) -> None:
    """A request that would be denied is not counted: what is used with it is what was counted, and all that was not."""
    kind, cost = state.limit.kind, state.charge.cost
    if isinstance(kind, Concurrency):
        return
    if isinstance(kind, Quota):
        part, oldest = now_ms + state.reset_after_ms, now_ms + state.reset_after_ms
    else:
        parts = min(PARTS, kind.precision)
        part = now_ms * parts // kind.window_ms
        oldest = part - parts - (parts < kind.precision)  # of larger ones, one more: it needs rather too much
    seen.parts = {at: units for at, units in seen.parts.items() if at >= oldest}
    seen.parts[part] = seen.parts.get(part, 0) + cost
    over = sum(seen.parts.values())
    seen.over = max(seen.over, over)
    seen.used = max(seen.used, state.used + over)


def _written(tally: _Tally, most: int) -> list[object]:
    first = nlargest(most + 1, tally.callers.items(), key=lambda item: item[1].denials)
    floor = max([tally.floor, *(seen.denials for _, seen in first[most:])])
    rows = [(who, s.denials, s.denials - s.unsure, s.used, s.over, s.last_ms) for who, s in first[:most]]
    return [tally.denials, floor, rows]


def merged(parts: Iterable[object], most: int) -> list[LimitReport]:
    """Of all processes: what each has `written`. ValueError for what is none of ours."""
    by_limit: dict[tuple[str, str], list[_Written]] = {}
    for part in parts:
        for one in map(_Written.read, part if isinstance(part, list) else [part]):
            by_limit.setdefault((one.name, one.period), []).append(one)
    return [_merge(name, period, several, most) for (name, period), several in sorted(by_limit.items())]


class _Written(NamedTuple):
    name: str
    period: str
    denials: int
    floor: int
    rows: dict[str, tuple[int, int, int, int, int]]  # denials, surely, used, over, last_ms

    @classmethod
    def read(cls, part: object) -> _Written:
        given: Any = part
        try:
            name, period, denials, floor, rows = given
            read = {str(who): (int(a), int(b), int(c), int(d), int(e)) for who, a, b, c, d, e in rows}
            return cls(str(name), str(period), int(denials), int(floor), read)
        except (TypeError, ValueError):
            raise ValueError("it is no report of a launch") from None


def _merge(name: str, period: str, several: list[_Written], most: int) -> LimitReport:
    """What a caller needs is what one process saw used, and what all the others did not count."""
    floor = sum(one.floor for one in several)
    rows = []
    for who in {who for one in several for who in one.rows}:
        seen = [one.rows[who] for one in several if who in one.rows]
        absent = sum(one.floor for one in several if who not in one.rows)
        over = sum(row[3] for row in seen)
        needs = max(used and used + over - own for _, _, used, own, _ in seen)
        rows.append(
            Row(
                who,
                sum(row[0] for row in seen) + absent,
                sum(row[1] for row in seen),
                needs or None,
                max(row[4] for row in seen),
            )
        )
    rows.sort(key=lambda row: (-row.denials, row.caller))
    cut = max([floor, *(row.denials for row in rows[most : most + 1])])
    return LimitReport(name, period, sum(one.denials for one in several), rows[:most], cut)
