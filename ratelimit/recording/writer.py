"""What writes the lines: a thread, so that no request waits for a disk. What it can't write is counted, told once."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from weakref import WeakSet, ref

from ratelimit.ground.loops import in_children
from ratelimit.log import lines as log
from ratelimit.recording.file import LogFile
from ratelimit.recording.line import LONGEST, Recorded, line_of, lost

EVERY = 0.25  # seconds between two writes
MOST = 50_000  # requests that wait to be written; 10 MB or so
AT_ONCE = 2_000  # lines of a write: half a megabyte, and no more than 10 ms of the interpreter at a time
PATIENCE = 2.0  # seconds that the end of an app waits for the disk, at most

_all: WeakSet[Writer] = WeakSet()


class Writer:
    """`put` may be called anywhere, also by the garbage collector in the middle of anything: it takes no lock."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._waiting: deque[Recorded] = deque()
        self._thread: threading.Thread | None = None
        self._clear()
        self.lost = 0  # requests that are not in the file, since the process began
        self._told = 0  # of these, in the file
        self._failed = False
        _all.add(self)

    def _clear(self) -> None:
        self._lock = threading.Lock()  # of the file
        self._starting = threading.Lock()  # apart from it: a disk may hang
        self._ended = threading.Event()
        self._thread = None

    def begin(self) -> None:
        """There will be something to put."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._ended = threading.Event()
                    of = ref(self)
                    self._thread = threading.Thread(
                        target=_write, args=(of, self._ended), name="ratelimit record", daemon=True
                    )
                    self._thread.start()

    def put(self, request: Recorded) -> None:
        if len(self._waiting) >= MOST:
            self.lost += 1
        else:
            self._waiting.append(request)

    def write(self) -> None:
        """All that waits, and how many are missing. Never raises for the file's sake."""
        writes = True
        while writes and (self._waiting or self.lost > self._told):
            with self._lock:
                writes = self._write_some()

    def _write_some(self) -> bool:
        made = [line_of(self._waiting.popleft()) for _ in range(min(len(self._waiting), AT_ONCE))]
        lines = [line for line in made if len(line) <= LONGEST]
        self.lost += len(made) - len(lines)
        missing = self.lost - self._told
        try:
            self._file.append(b"".join([lost(missing), *lines] if missing else lines))
        except OSError as error:
            self.lost += min(self._file.missing, len(lines))
            self._told += missing if self._file.missing <= len(lines) else 0
            if not self._failed:
                self._failed = True
                log.not_recorded(self._file.path, error)
            return False
        self._told += missing
        if self._failed:
            self._failed = False
            log.recorded_again(self._file.path, missing)
        return True

    def close(self) -> None:
        """Write what waits. A disk that hangs is waited for no longer than PATIENCE."""
        with self._starting:
            thread, self._thread = self._thread, None
        self._ended.set()
        if thread is not None:
            thread.join(PATIENCE)
            if thread.is_alive():
                return
        self.write()
        with self._lock:
            self._file.close()

    def after_fork(self) -> None:
        """In the child: the thread is the parent's, and so is what waits."""
        self._waiting.clear()
        self.lost = self._told = 0
        self._file.close()
        self._clear()


def _write(of: ref[Writer], ended: threading.Event) -> None:
    """While there is one to write for."""
    while True:
        last = ended.wait(EVERY)
        writer = of()
        if writer is None:
            return
        writer.write()
        if last:
            return
        del writer


@atexit.register
def _end() -> None:
    for writer in list(_all):
        writer.close()


def _forked() -> None:
    for writer in list(_all):
        writer.after_fork()


in_children(_forked)
