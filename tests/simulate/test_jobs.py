"""Several processes say together what one says alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from benchmarks.access_logs import lines
from ratelimit.model import Decision
from ratelimit.policy import Policy
from ratelimit.simulate import jobs
from ratelimit.simulate.deciding.callers import Identities
from ratelimit.simulate.events import Caller, Event, Replayed, Summary
from ratelimit.simulate.jobs import Peers, agreed, in_parallel
from ratelimit.simulate.logs.guess import format_of
from ratelimit.simulate.logs.own import Mapped
from ratelimit.simulate.logs.sources import LogError
from ratelimit.simulate.run import PolicyText, Share, Task
from ratelimit.stores.replay import Row
from tests.simulate.test_equals_the_middleware import RATES, SLOTS, STATUSES

NGINX = next(lines(1, 1)).encode()


class Counted:
    """An observer, which a process makes for itself."""

    def __init__(self, policy: Policy) -> None:
        self.seen: dict[str, list[int]] = {}

    def saw(self, event: Event, caller: Caller, row: Row, decision: Decision | None) -> None:
        counted = self.seen.setdefault(caller.name, [0, 0])
        counted[0] += 1
        counted[1] += decision is not None and not decision.allowed

    def result(self) -> dict[str, list[int]]:
        return self.seen


class Both:
    """An observer of two policies."""

    def __init__(self, policy: Policy, other: Policy) -> None:
        self.seen = [0, 0, 0]

    def saw(self, event: Event, caller: Caller, denied: bool, other: Caller, other_denied: bool) -> None:
        assert caller.name == other.name
        self.seen[0] += 1
        self.seen[1] += denied and not other_denied
        self.seen[2] += other_denied and not denied

    def result(self) -> list[int]:
        return self.seen


class Ending(Counted):
    """Its process is killed in the middle of its work, as by a system without memory."""

    def saw(self, event: Event, caller: Caller, row: Row, decision: Decision | None) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def task(files: Sequence[Path], policy: str = RATES, **options: Any) -> Task:
    of = format_of("log", [NGINX], Mapped())
    assert of is not None
    formats = (of,) * len(files)
    return Task(PolicyText(policy, "policy"), tuple(map(str, files)), formats, **{"observer_of": Counted, **options})


def logs(folder: Path, count: int = 3_000) -> list[Path]:
    """Two, of the same hours."""
    made = []
    for seed in (1, 2):
        path = folder / f"{seed}.log"
        path.write_text("".join(f"{line}\n" for line in lines(count, 80, seed=seed, per_second=20.0)) + "noise\n")
        made.append(path)
    return made


def together(replayed: Replayed) -> tuple[Any, ...]:
    """What does not depend on how many have done it."""
    callers = {name: seen for results in replayed.results for name, seen in results[0].items()}
    assert len(callers) == sum(len(results[0]) for results in replayed.results)
    pairs = [sum(numbers) for numbers in zip(*replayed.pairs, strict=True)]
    summary = replayed.summary
    summary.seconds = 0.0
    return callers, pairs, summary


def test_as_one_alone(tmp_path: Path) -> None:
    """Two processes come to the same verdicts, in the same order, the same callers and the same summary."""
    files = logs(tmp_path)
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    options: dict[str, Any] = {"other": PolicyText(STATUSES, "other"), "pair_of": Both}
    alone = together(Share(task(files, verdicts=str(one), **options)).run())
    told: list[tuple[int, int]] = []
    work = task(files, verdicts=str(two), **options)
    assert together(in_parallel(work, 2, lambda read, done: told.append((read, done)))) == alone
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.log", "2.log", "one.jsonl", "two.jsonl"]
    assert told
    callers, pairs, summary = alone
    assert len(callers) == summary.callers > 50
    assert min(pairs) > 100
    assert summary.unreadable == {"not of this format": 2}


def test_a_process_that_is_killed(tmp_path: Path) -> None:
    """It is a sentence, the others end, and nothing of theirs stays."""
    with pytest.raises(LogError, match="a process of the simulation has ended before its work was done"):
        in_parallel(task(logs(tmp_path, 300), observer_of=Ending, verdicts=str(tmp_path / "v")), 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.log", "2.log"]


class Asked(Counted):
    """What a Ctrl-C in its process would do."""

    def result(self) -> Any:
        return {signal.SIGINT} <= signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_interrupted(tmp_path: Path) -> None:
    """A Ctrl-C, which a terminal sends to all, is for who started them, from their first instruction on: none of them
    fills the terminal with a traceback. Who started them has it as before."""
    replayed = in_parallel(task(logs(tmp_path, 300), observer_of=Asked), 2)
    assert replayed.results == [[True], [True]]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_file_that_vanishes(tmp_path: Path) -> None:
    """What one of them can't read is told in a sentence, and ends it."""
    told, tell = get_context("spawn").Pipe(duplex=False)
    assert worked(task([tmp_path / "gone.log"]), [None], told, tell).endswith(
        "gone.log can't be read: No such file or directory"
    )


def test_standard_input() -> None:
    """It can't be read twice."""
    with pytest.raises(LogError, match="standard input can be read by one process only: leave --jobs out"):
        in_parallel(task([Path("-")]), 2)


def test_where_the_parts_of_verdicts_are(tmp_path: Path) -> None:
    """Beside the file, where there is room for them; of what is no file elsewhere."""
    assert jobs._folder(str(tmp_path / "new")) == tmp_path
    (tmp_path / "there").touch()
    assert jobs._folder(str(tmp_path / "there")) == tmp_path
    assert jobs._folder("/dev/null") is None
    assert jobs._folder(str(tmp_path / "no" / "folder")) is None


def test_callers_are_told_apart_in_one_way() -> None:
    """Of two policies whose callers are others, the limits of one might be of two processes."""
    rates, slots = PolicyText(RATES, "a").policy(), PolicyText(SLOTS, "b").policy()
    assert agreed(rates)
    assert agreed(rates, PolicyText(RATES, "c").policy())
    assert not agreed(rates, slots)


def test_who_has_a_caller_is_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is computed anew where it was forgotten, and the same."""
    monkeypatch.setattr(jobs, "REMEMBERED", 3)
    peers = Peers(0, [None, None], Identities(PolicyText(RATES, "a").policy()))
    events: list[Event] = [(0, 0, 1, 0, b"GET /", 200, b"10.0.0.%d" % number, None) for number in range(9)]
    assert peers.split(events) == peers.split(events)
    peers.send(7, [[], []])
    peers.close()


class Closed:
    """A pipe to who has ended."""

    def send_bytes(self, data: bytes) -> None:
        raise BrokenPipeError


def test_who_has_ended_is_sent_nothing_more() -> None:
    """Who started it misses it; here nothing is raised where nobody would hear it."""
    closed: Any = Closed()
    peers = Peers(0, [None, closed], Identities(PolicyText(RATES, "a").policy()))
    peers.send(7, [[], []])
    peers.close()


def test_what_each_tells() -> None:
    """Who ends without a word did so as another one has ended; what that one said is told, whoever is heard first."""
    spawn = get_context("spawn")
    pipes = [spawn.Pipe(duplex=False) for _ in range(3)]
    silent, failed, done = [theirs for _, theirs in pipes]
    silent.close()
    done.send((7, 1))
    done.send(Replayed(Summary()))
    told: list[tuple[int, int]] = []
    with pytest.raises(LogError, match="has ended before its work was done"):
        jobs._results([pipes[0][0], pipes[2][0]], lambda *said: told.append(said))
    assert told == [(7, 1)]
    failed.send("its disk is gone")
    with pytest.raises(LogError, match="its disk is gone"):
        jobs._results([pipes[0][0], pipes[1][0]], None)
    done.send((7, 1))
    done.send(Replayed(Summary()))
    assert jobs._results([pipes[2][0]], None) == [Replayed(Summary())]
    for pipe in pipes:
        for end in pipe:
            end.close()


def test_another_that_has_ended(tmp_path: Path) -> None:
    """Who waits for it ends too, and leaves it to the other to say why."""
    ours, theirs = get_context("spawn").Pipe()
    told, tell = get_context("spawn").Pipe(duplex=False)
    theirs.close()
    assert worked(task(logs(tmp_path, 300)), [None, ours], told, tell) is None
    ours.close()


class Reset:
    """A pipe from who was killed while it wrote."""

    def recv_bytes(self) -> bytes:
        raise ConnectionResetError

    def send_bytes(self, data: bytes) -> None:
        """Nobody takes it."""


def test_another_that_was_killed(tmp_path: Path) -> None:
    """Neither is there a traceback where what it was sending is cut off."""
    told, tell = get_context("spawn").Pipe(duplex=False)
    assert worked(task(logs(tmp_path, 300)), [None, Reset()], told, tell) is None


def worked(work: Task, pipes: Sequence[Any], told: Any, tell: Any) -> Any:
    """What a process would tell, done in this one."""
    before = signal.getsignal(signal.SIGINT)
    try:
        jobs._work(work, 0, pipes, tell, False)
    finally:
        signal.signal(signal.SIGINT, before)
    said = told.recv() if told.poll() else None
    told.close()
    tell.close()
    return said


def test_summaries_add_up() -> None:
    """Numbers are summed, instants are the first and the last, and samples are those of the first lines."""
    one, other = Summary(first_ms=5, last_ms=9, seconds=2.0, denied=1), Summary(seconds=1.0, denied=2, told=["x"])
    other.samples = [("a", number, "why", "x") for number in range(9)]
    one.add(other)
    assert (one.first_ms, one.last_ms, one.seconds, one.denied, one.told) == (5, 9, 2.0, 3, ["x"])
    assert [sample[1] for sample in one.samples] == [0, 1, 2, 3, 4]
