"""A simulation: the files, the policies, who watches. `simulate` is the way in; one process or several do it."""

from __future__ import annotations

import gc
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from ratelimit.config.grammar.messages import PolicyError
from ratelimit.config.load import examine
from ratelimit.ground.printable import printable
from ratelimit.model import Decision
from ratelimit.policy import Policy
from ratelimit.simulate.deciding.callers import Identities
from ratelimit.simulate.deciding.calls import Operations
from ratelimit.simulate.deciding.replay import MOST_CALLERS, Replay
from ratelimit.simulate.events import Caller, Event, Observer, PairObserver, Replayed, Summary
from ratelimit.simulate.logs.formats import Format, Reader
from ratelimit.simulate.logs.guess import reader_of
from ratelimit.simulate.logs.own import Mapped
from ratelimit.simulate.logs.sources import STDIN, STDIN_NAME, Source
from ratelimit.simulate.reading import Others, Progress, Reading
from ratelimit.simulate.verdicts import Verdicts
from ratelimit.stores.replay import Row

HEARD = 20  # lines of the limiter's log that are kept

Saw = Callable[[Event, Caller, Row, Decision | None], None]


@dataclass(frozen=True, slots=True)
class PolicyText:
    """A policy as its file has it: what is made of it can't be handed to another process."""

    text: str
    called: str  # in messages

    def policy(self) -> Policy:
        """PolicyError with everything that is wrong. What is only odd is for `ratelimit check` to tell."""
        examined = examine(self.text, self.called)
        if examined.policy is None:
            raise PolicyError(f"{self.called}: {problem}" for problem in examined.problems if not problem.odd)
        return examined.policy


@dataclass(frozen=True, slots=True)
class Task:
    """All of what is to be simulated; it can be pickled. `other` is a policy to compare with. `observer_of` makes an
    observer for each policy, `pair_of` the one of both."""

    policy: PolicyText
    files: tuple[str, ...]
    formats: tuple[Format, ...]  # of the files
    guessed: bool = False  # those
    begins: tuple[int, ...] = ()  # when each of the files begins, ms, where that is known
    sizes: tuple[int | None, ...] = ()  # of the files, in bytes: what comes to them meanwhile is not read
    mapped: Mapped = field(default_factory=Mapped)
    zone: str = "UTC"  # of times without an offset
    app: Callable[[], object] | None = None  # gives the app whose routes count
    most_callers: int = MOST_CALLERS
    verdicts: str | None = None  # a path
    observer_of: Callable[[Policy], Observer] | None = None
    other: PolicyText | None = None
    pair_of: Callable[[Policy, Policy], PairObserver] | None = None


def zone_of(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


class Share:
    """What one process does of a task: all of it, or the callers of its part. `sources` are the files where they are
    open already, as what came from standard input can't be read again."""

    def __init__(
        self,
        task: Task,
        progress: Progress | None = None,
        sources: Sequence[Source] | None = None,
    ) -> None:
        self._task = task
        self.others: Others | None = None
        self._progress = progress
        self._sources = sources
        self.policies = [one.policy() for one in (task.policy, task.other) if one is not None]
        app = None if task.app is None else task.app()
        self._operations = [Operations(policy, app) for policy in self.policies]
        self._identities = [Identities(policy, task.mapped) for policy in self.policies]
        self._observers = [task.observer_of(policy) for policy in self.policies] if task.observer_of else []
        self._pair = task.pair_of(*self.policies) if task.pair_of and task.other else None

    def run(self) -> Replayed:
        """LogError for what can't be read or written any more."""
        task, began = self._task, time.perf_counter()
        names = [STDIN_NAME if file == STDIN else file for file in task.files]
        summary = Summary(files=names, formats=[one.name for one in task.formats], guessed=task.guessed)
        with ExitStack() as opened, heard() as told, without_pauses():
            verdicts = self._verdicts(opened, names)
            replays = self._replays(verdicts)
            readers = [reader_of(one, task.mapped, zone_of(task.zone)) for one in task.formats]
            reading = self._reading(opened, readers, summary)
            for events in reading.batches():
                summary.first_ms = events[0][0] if summary.first_ms is None else summary.first_ms
                summary.last_ms = events[-1][0]
                self._decide(replays, events)
            if verdicts is not None:
                verdicts.close()
            results = [one.result() for one in self._observers]
            pairs = [] if self._pair is None else [self._pair.result()]
        summary.cut = [source.name for source in reading.sources if source.cut]
        first = replays[0]
        summary.requests, summary.denied, summary.exempt = first.requests, first.denied, first.exempt
        summary.callers, summary.beyond = len(first.callers), first.beyond
        facts = sum([reader.facts for reader in readers], Counter[str]())
        summary.facts = {**self._operations[0].facts(), **self._identities[0].facts(), **facts}
        summary.timed = any(reader.timed for reader in readers)
        summary.told = [*told]
        summary.seconds = time.perf_counter() - began
        return Replayed(summary, [results], pairs)

    def _verdicts(self, opened: ExitStack, names: Sequence[str]) -> Verdicts | None:
        if self._task.verdicts is None:
            return None
        verdicts = Verdicts(self._task.verdicts, names, of_a_part=self.others is not None)
        opened.callback(verdicts.drop)
        return verdicts

    def _replays(self, verdicts: Verdicts | None) -> list[Replay]:
        made = []
        for number, policy in enumerate(self.policies):
            watching = [self._observers[number].saw] if self._observers else []
            exempt = None
            if verdicts is not None and number == 0:
                watching.append(verdicts.saw)
                exempt = verdicts.exempt
            parts = (policy, self._identities[number], self._operations[number])
            made.append(Replay(*parts, _each(watching), exempt, self._task.most_callers))
        return made

    def _reading(self, opened: ExitStack, readers: Sequence[Reader], summary: Summary) -> Reading:
        task = self._task
        sizes = task.sizes or (None,) * len(task.files)
        sources = self._sources or [Source(file, size) for file, size in zip(task.files, sizes, strict=True)]
        for source in sources:
            opened.callback(source.close)
        return Reading(sources, readers, summary, self.others, self._progress, task.begins)

    def _decide(self, replays: Sequence[Replay], events: Sequence[Event]) -> None:
        if len(replays) == 1:
            step = replays[0].step
            for event in events:
                step(event)
            return
        one, two = replays
        for event in events:
            denied, other_denied = one.step(event), two.step(event)
            if self._pair is not None and denied is not None and other_denied is not None:
                self._pair.saw(event, one.caller, denied, two.caller, other_denied)


def _each(watching: Sequence[Saw]) -> Saw:
    """One that calls them all."""
    if len(watching) == 1:
        return watching[0]

    def saw(event: Event, caller: Caller, row: Row, decision: Decision | None) -> None:
        for one in watching:
            one(event, caller, row, decision)

    return saw


class _Heard(logging.Handler):
    """What the limiter would have logged, each line once."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.lines) < HEARD:
            self.lines[printable(record.getMessage())] = None


@contextmanager
def heard() -> Iterator[Iterable[str]]:
    """Hear what the limiter logs meanwhile, in the place of who else would."""
    logger, handler = logging.getLogger("ratelimit"), _Heard()
    before, propagated = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [handler], False
    try:
        yield handler.lines
    finally:
        logger.handlers, logger.propagate = before, propagated


@contextmanager
def without_pauses() -> Iterator[None]:
    """Without the garbage collector: nothing here is in circles, and it would look at every caller again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
