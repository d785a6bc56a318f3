"""The lines of several logs as one stream of requests, in order of arrival.

A server logs a request when it is over, so that a long one stands behind others that came later. What was read is kept
until no line within the window can come before it. Each file is read in turns: whose lines are the oldest goes on.

Several processes read the same files. Each parses its share of the chunks, keeps the requests of its own callers, and
hands the others theirs. They agree on the next chunks without a word, as all know how far each file has come.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Protocol

from ratelimit.ground.printable import in_a_line
from ratelimit.simulate.events import Event, Summary
from ratelimit.simulate.events.summary import SAMPLES
from ratelimit.simulate.logs.formats import Reader
from ratelimit.simulate.logs.sources import Chunk, Source

WINDOW_MS = 60_000  # how much later than those behind it a line may have come
UNTIMED_MS = 5_000  # of a log without durations, which is in order but for what several workers write at once
UNSURE = 8  # so many of the latest lines of a chunk do not tell how far a file has come: a clock may have been wrong
SHOWN = 120  # characters of a sample
_OVER = 2**62  # how far a file has come that is at its end

Progress = Callable[[int, int], None]  # bytes read of all files, and lines


class Others(Protocol):
    """The other processes that read the same."""

    part: int  # which of them this one is
    parts: int

    def split(self, events: Sequence[Event]) -> list[list[Event]]:
        """By the process whose callers they are of."""

    def send(self, latest: int, shares: Sequence[list[Event]]) -> None:
        """What was parsed here, to each of the others; `latest` is the latest instant in it."""

    def receive(self, part: int) -> tuple[int, list[Event]]:
        """The next of what another has parsed for this one."""


class Alone:
    """There is no other."""

    part, parts = 0, 1

    def split(self, events: Sequence[Event]) -> list[list[Event]]:
        return [[*events]]

    def send(self, latest: int, shares: Sequence[list[Event]]) -> None:
        pass

    def receive(self, part: int) -> tuple[int, list[Event]]:
        raise AssertionError("there is no other")


@dataclass(slots=True)
class _Round:
    files: list[int]  # of the chunks, each of which another process parses
    ended: list[int]  # files that were found to be at their end
    own: list[Event]  # of the chunk that is parsed here, those of our callers
    latest: int = -1  # in that chunk


class Reading:
    """`readers` are of the files, in their order. `summary` has what was read by this process."""

    def __init__(
        self,
        sources: Sequence[Source],
        readers: Sequence[Reader],
        summary: Summary,
        others: Others | None = None,
        progress: Progress | None = None,
        begins: Sequence[int] = (),
    ) -> None:
        self.sources = sources
        self._readers = readers
        self._summary = summary
        self._others = others or Alone()
        self._progress = progress
        # how far each file has come, by the instants in it: one that is not begun yet is left alone until then
        self._marks = [*begins] or [-1] * len(sources)
        self._taken = [0] * len(sources)  # chunks of each
        self._open = [True] * len(sources)
        self._read = [0] * len(sources)  # bytes
        self._waiting: list[Event] = []
        self._sorted = 0  # how many of these are in order
        self._window = WINDOW_MS if any(reader.timed for reader in readers) else UNTIMED_MS

    def batches(self) -> Iterator[list[Event]]:
        """In order of arrival, from one to the next too. A round is parsed before the one before it is decided, so that
        the processes need not wait for each other in each."""
        ahead = self._begin()
        while ahead is not None:
            following = self._begin()
            if ready := self._finish(ahead):
                yield ready
            ahead = following

    def _begin(self) -> _Round | None:
        """Read a chunk for each process, and parse our own. None where all files are at their end."""
        made = _Round([], [], [])
        while len(made.files) < self._others.parts and any(self._open):
            file = min(
                [file for file, is_open in enumerate(self._open) if is_open],
                key=lambda file: (self._marks[file], self._taken[file], file),
            )
            chunk = next(self.sources[file].chunks, None)
            if chunk is None:
                self._open[file] = False
                made.ended.append(file)
                continue
            self._taken[file] += 1
            self._read[file] = chunk.read
            self._summary.lines += chunk.lines
            if len(made.files) == self._others.part:
                events, made.latest = self._parsed(file, chunk)
                shares = self._others.split(events)
                self._others.send(made.latest, shares)
                made.own = shares[self._others.part]
            made.files.append(file)
        if self._progress is not None:
            self._progress(sum(self._read), self._summary.lines)
        return made if made.files or made.ended else None

    def _parsed(self, file: int, chunk: Chunk) -> tuple[list[Event], int]:
        summary, name = self._summary, self.sources[file].name

        def unread(number: int, why: str, line: bytes) -> None:
            summary.unreadable[why] = summary.unreadable.get(why, 0) + 1
            if len(summary.samples) < SAMPLES:
                shown = in_a_line(line[:SHOWN].decode("utf-8", "backslashreplace"))
                summary.samples.append((name, number, why, shown))

        events = self._readers[file].read(chunk.data.split(b"\n"), file, chunk.first, unread)
        summary.understood += len(events)
        latest = nlargest(UNSURE, [at + took for at, _, _, took, *_ in events])
        return events, latest[-1] if latest else -1

    def _finish(self, made: _Round) -> list[Event]:
        """Those of a round that can be decided now."""
        for part, file in enumerate(made.files):
            ours = part == self._others.part
            latest, events = (made.latest, made.own) if ours else self._others.receive(part)
            self._wait(events, self._marks[file] - self._window)
            self._marks[file] = max(self._marks[file], latest)
        for file in made.ended:
            self._marks[file] = _OVER
        return self._ready(min(self._marks) - self._window)

    def _wait(self, events: list[Event], earliest: int) -> None:
        """What came before that may be decided already, and is taken to have come then. It is over when it was."""
        if earliest > 0 and events and min(events)[0] < earliest:
            self._summary.late += sum([event[0] < earliest for event in events])
            events = [_from(earliest, event) if event[0] < earliest else event for event in events]
        self._waiting += events

    def _ready(self, until: int) -> list[Event]:
        waiting = self._waiting
        if len(waiting) < 2 * self._sorted and until < _OVER // 2:
            return []  # to sort them anew each time would cost more than all else
        waiting.sort()
        ready = bisect_left(waiting, (until,))
        self._waiting = waiting[ready:]
        self._sorted = len(self._waiting)
        return waiting[:ready]


def _from(earliest: int, event: Event) -> Event:
    at, file, line, took, *rest = event
    return (earliest, file, line, max(0, at + took - earliest), *rest)
