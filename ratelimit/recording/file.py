"""A file that lines are appended to, by any number of processes, and that is bounded.

Each write is of whole lines, to the end of the file as it is then (O_APPEND), under a lock on the file itself: what
another process could write half of, on a disk that is full, ends there. Who finds it full moves it to `.1`, that to
`.2` and so on, under the same; the others find that the name is another file's, and open that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

try:
    import fcntl
except ImportError:  # Windows: there one process writes a file
    fcntl = None  # type: ignore[assignment]

# Not O_NONBLOCK's to wait: of a pipe that nobody reads it is an error instead of a halt.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


class LogFile:
    """Not for several threads at a time. Every method but `close` raises OSError. `missing` are the lines of the last
    `append` that are not there, or not whole."""

    def __init__(self, path: str, max_bytes: int, keep: int) -> None:
        self.path = path
        self._named = Path(path)
        self._max_bytes = max_bytes
        self._keep = keep
        self._file: int | None = None
        self._torn = False  # the last write ended within a line
        self.missing = 0

    def append(self, lines: bytes) -> None:
        """`lines` end with a newline. Where it raises, a part of them may be there."""
        self.missing = lines.count(b"\n")
        file = self._opened()
        with _locked(file):
            self._write(file, b"\n" + lines if self._ends_within_a_line(file) else lines)
        self._torn, self.missing = False, 0

    def _write(self, file: int, lines: bytes) -> None:
        left = memoryview(lines)
        while left:
            try:
                written = os.write(file, left)
            except OSError:
                if len(left) < len(lines):
                    self._torn = lines[-len(left) - 1 : -len(left)] != b"\n"
                    self.missing = min(bytes(left).count(b"\n"), self.missing)
                raise
            left = left[written:]

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.close(file)

    def _ends_within_a_line(self, file: int) -> bool:
        """Also that of another process, which found the disk full or was killed."""
        found = os.fstat(file)
        if S_ISREG(found.st_mode) and found.st_size:
            with suppress(OSError), self._named.open("rb") as there:
                there.seek(-1, os.SEEK_END)
                return there.read(1) != b"\n"
        return self._torn

    def _opened(self) -> int:
        file = self._current()
        if os.fstat(file).st_size >= self._max_bytes:
            self._rotate(file)
            file = self._current()
        return file

    def _current(self) -> int:
        if self._file is None or not self._is_named(self._file):
            self.close()
            self._file = os.open(self.path, _FLAGS, 0o600)
        return self._file

    def _is_named(self, file: int) -> bool:
        """Whether the name is still this file's: nobody has moved or removed it."""
        try:
            return os.path.samestat(self._named.stat(), os.fstat(file))
        except FileNotFoundError:
            return False

    def _rotate(self, file: int) -> None:
        with _locked(file):
            if self._is_named(file):
                path = os.path.realpath(self.path)  # a link stays what it is, and what it links to is moved
                for number in range(self._keep - 1, 0, -1):
                    with suppress(FileNotFoundError):
                        Path(f"{path}.{number}").replace(f"{path}.{number + 1}")
                with suppress(FileNotFoundError):  # of /dev/stdout
                    Path(path).replace(f"{path}.1")


@contextmanager
def _locked(file: int) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    with suppress(OSError):  # of a file system that has no locks
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
