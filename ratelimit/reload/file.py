"""What is seen of a policy file from outside, and what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, cast

from ratelimit.policy import Policy

if TYPE_CHECKING:
    from ratelimit.config.apart import Reader as Apart

SETTLES = 2.0  # seconds after which it is read once more: the clock of a file system may stand for so long
LARGE = 200_000  # bytes: 1,500 API keys, a tenth of a second
LARGEST = 2**26  # bytes: 300,000 API keys

_BOM = b"\xef\xbb\xbf"


class Seen(NamedTuple):
    """Of the file that a path leads to, through links: another one, or another content, differs in one of these."""

    device: int
    inode: int
    size: int
    mtime_ns: int


def look(path: str) -> Seen | None:
    """None where there is nothing to be read. Opened and not only asked for: NFS answers a stat from what it remembers
    for up to a minute, and asks its server for who opens a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return _seen(descriptor)
    finally:
        os.close(descriptor)


def read(path: str) -> tuple[bytes, Seen | None]:
    """What is in it, and of which file that is, as of when it was read. OSError as of `open`."""
    with open(path, "rb") as file:  # noqa: PTH123 - what was opened is what is looked at
        raw = file.read(LARGEST + 1)
        return raw, _seen(file.fileno())


def digest_of(raw: bytes) -> str:
    """The name of a content: what `sha256sum` prints, but for the mark that some editors begin a file with."""
    return sha256(raw.removeprefix(_BOM)).hexdigest()


class Looks:
    """At one file, some time after each other. `clock` is in seconds."""

    def __init__(
        self,
        path: str,
        look: Callable[[str], Seen | None] = look,
        read: Callable[[str], tuple[bytes, Seen | None]] = read,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._path = path
        self._look = look
        self._read = read
        self._clock = clock
        self._before: Seen | None = None  # at the last look
        self._done: Seen | None = None  # what was read
        self._again_at = 0.0
        self.gone = False
        self.grows = False  # a large file has been seen to be edited, and does not stand still yet

    def again(self) -> None:
        """Read it once more."""
        self._done = None

    def next(self) -> bytes | None:
        """What is in it, if that may be something new: two looks agree, for at the first it may be half written, and
        what was read is what was looked at."""
        seen, now = self._look(self._path), self._clock()
        agree, self._before = seen == self._before, seen
        known = self._done is None or seen is None or seen == self._done
        self.grows = not (agree or known) and cast("Seen", seen).size >= LARGE
        if seen is None:
            self.gone = True
            return None
        if not agree or (seen == self._done and now < self._again_at):
            return None
        try:
            raw, self._before = self._read(self._path)
        except OSError:  # it went meanwhile
            return None
        if self._before != seen:
            return None
        first, self._done, self.gone = seen != self._done, seen, False
        self._again_at = now + SETTLES if first else float("inf")
        return raw


class Reader:
    """Of one file. What is large is read by a process of its own, which is begun when it is seen to be edited."""

    def __init__(self) -> None:
        self._apart: Apart | None = None

    def begin(self) -> None:
        from ratelimit.config.apart import Reader as Apart  # pydantic, which who has a file has imported

        self._apart = self._apart or Apart()

    def policy_in(self, raw: bytes, path: str) -> Policy:
        from ratelimit.config.load import policy_of

        if len(raw) > LARGEST:
            raise ValueError(f"{path}: is larger than {LARGEST >> 20} MiB")
        if len(raw) < LARGE:
            return policy_of(raw, path)
        self.begin()
        return cast("Apart", self._apart).policy_of(raw, path)

    def end(self) -> None:
        apart, self._apart = self._apart, None
        if apart is not None:
            apart.close()


def _seen(descriptor: int) -> Seen | None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        return None
    return Seen(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
