"""A simulation by several processes, each with the callers of its own: exact, as all limits of a caller are of one.

Whose a caller is goes by a hash of its name, so that all agree on it. What one has parsed for another takes a pipe
between the two, written by a thread: none waits for another that waits for it.
"""

from __future__ import annotations

import marshal
import signal
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic
from typing import Any
from zlib import crc32

from ratelimit.policy import Policy
from ratelimit.simulate.deciding.callers import Identities, called
from ratelimit.simulate.events import WHO, Event, Replayed
from ratelimit.simulate.logs.sources import STDIN, LogError
from ratelimit.simulate.reading import Progress
from ratelimit.simulate.run import Share, Task
from ratelimit.simulate.verdicts import joined

TOLD_EVERY = 0.1  # seconds between two words of progress
REMEMBERED = 250_000  # callers, of whom it is known which part they are of
_block: Any = getattr(signal, "pthread_sigmask", lambda *_: ())  # which Windows does not have
_ENDED = "a process of the simulation has ended before its work was done; it may have had too little memory"


class Peers:
    """The other processes, as one of them sees them. `pipes` are to and from each, None at the place of itself."""

    def __init__(self, part: int, pipes: Sequence[Connection | None], identities: Identities) -> None:
        self.part = part
        self.parts = len(pipes)
        self._pipes = pipes
        self._identities = identities
        self._of: dict[Any, int] = {}
        self._sending: SimpleQueue[tuple[Connection, bytes] | None] = SimpleQueue()
        self._sender = Thread(target=self._send, daemon=True)
        self._sender.start()

    def split(self, events: Sequence[Event]) -> list[list[Event]]:
        shares: list[list[Event]] = [[] for _ in range(self.parts)]
        known = self._of
        for event in events:
            part = known.get(event[WHO])
            if part is None:
                part = self._part(event[WHO])
            shares[part].append(event)
        return shares

    def send(self, latest: int, shares: Sequence[list[Event]]) -> None:
        for pipe, share in zip(self._pipes, shares, strict=True):
            if pipe is not None:
                self._sending.put((pipe, marshal.dumps((latest, share))))

    def receive(self, part: int) -> tuple[int, list[Event]]:
        pipe = self._pipes[part]
        assert pipe is not None  # noqa: S101 - nothing is received from oneself
        received: tuple[int, list[Event]] = marshal.loads(pipe.recv_bytes())  # noqa: S302 - from a process of ours
        return received

    def close(self) -> None:
        """When all that was sent has been taken."""
        self._sending.put(None)
        self._sender.join()

    def _part(self, who: Any) -> int:
        if len(self._of) >= REMEMBERED:
            self._of.clear()
        part = crc32(called(self._identities(who)).encode()) % self.parts
        self._of[who] = part
        return part

    def _send(self) -> None:
        while (item := self._sending.get()) is not None:
            pipe, data = item
            try:
                pipe.send_bytes(data)
            except OSError:  # it has ended, and is missed by who started it
                return


def agreed(policy: Policy, other: Policy | None = None) -> bool:
    """Whether two policies have the same callers: only then both can be simulated by several processes."""
    return other is None or (policy.identify == other.identify and policy.address == other.address)


def in_parallel(task: Task, jobs: int, progress: Progress | None = None) -> Replayed:
    """By so many processes, above 1. LogError as of one process."""
    if STDIN in task.files:
        raise LogError("standard input can be read by one process only: leave --jobs out, or give a file")
    with (
        TemporaryDirectory(prefix=".verdicts-", dir=_folder(task.verdicts))
        if task.verdicts
        else nullcontext() as folder
    ):
        parts = [str(Path(folder) / str(part)) if folder else None for part in range(jobs)]
        shares = [replace(task, verdicts=part, most_callers=-(-task.most_callers // jobs)) for part in parts]
        done = _all(shares, progress)
        if task.verdicts:
            joined(task.verdicts, [part for part in parts if part])
    whole = done[0]
    for other in done[1:]:
        whole.summary.add(other.summary)
        whole.results += other.results
        whole.pairs += other.pairs
    return whole


def _folder(verdicts: str) -> Path | None:
    """On the disk where they will be, if they are a file."""
    path = Path(verdicts)
    return path.parent if path.is_file() or (path.parent.is_dir() and not path.exists()) else None


def _all(shares: Sequence[Task], progress: Progress | None) -> list[Replayed]:
    spawn = get_context("spawn")  # a fork would have the locks of the threads that draw the progress
    jobs = len(shares)
    pipes: list[list[Connection | None]] = [[None] * jobs for _ in range(jobs)]
    for one in range(jobs):
        for other in range(one):
            pipes[one][other], pipes[other][one] = spawn.Pipe()
    telling = [spawn.Pipe(duplex=False) for _ in range(jobs)]
    processes: list[SpawnProcess] = []
    try:
        for part, share in enumerate(shares):
            arguments = share, part, pipes[part], telling[part][1], progress is not None and part == 0
            process = spawn.Process(target=_work, args=arguments, daemon=True)
            before = _block(signal.SIG_BLOCK, {signal.SIGINT})  # what starts now has no Ctrl-C: it is ended from here
            try:
                process.start()
                processes.append(process)
            finally:
                _block(signal.SIG_SETMASK, before)
        for theirs in [*[pipe for of in pipes for pipe in of if pipe is not None], *[tell for _, tell in telling]]:
            theirs.close()  # so that who waits for one that has ended is told
        done = _results([heard for heard, _ in telling], progress)
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.join()
    return done


def _results(telling: Sequence[Connection], progress: Progress | None) -> list[Replayed]:
    done: dict[
        Any, Replayed | None
    ] = {}  # None: it has ended without a word, perhaps as another one did, which said why
    while len(done) < len(telling):
        ready: list[Any] = wait([one for one in telling if one not in done])
        for one in ready:
            try:
                said = one.recv()
            except EOFError:
                said = done[one] = None
            if isinstance(said, Replayed):
                done[one] = said
            elif isinstance(said, str):
                raise LogError(said)
            elif said is not None and progress is not None:
                progress(*said)
    results = [replayed for one in telling if (replayed := done[one]) is not None]
    if len(results) < len(telling):
        raise LogError(_ENDED)
    return results


def _work(task: Task, part: int, pipes: Sequence[Connection | None], tell: Connection, progress: bool) -> None:
    """What one of the processes does. It tells what came of it, or a sentence on what is wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it will end it
    told_at = 0.0

    def tell_progress(read: int, lines: int) -> None:
        nonlocal told_at
        if (now := monotonic()) - told_at > TOLD_EVERY:
            told_at = now
            tell.send((read, lines))

    try:
        share = Share(task, progress=tell_progress if progress else None)
        share.others = peers = Peers(part, pipes, Identities(share.policies[0], task.mapped))
        replayed = share.run()
        peers.close()
        tell.send(replayed)
    except LogError as error:
        tell.send(str(error))
    except (EOFError, ConnectionError):
        """Another has ended, and says why."""
