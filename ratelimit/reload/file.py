"""What is seen of a policy file from outside, and what is in it."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from typing import NamedTuple

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


def _seen(descriptor: int) -> Seen | None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        return None
    return Seen(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
