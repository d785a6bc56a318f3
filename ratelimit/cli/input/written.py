"""Files that a command is to write, beside those that it reads."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from ratelimit.cli.output.exits import Stopped


def check_apart(read: Iterable[str], logs: Iterable[str], written: Mapping[str, str | None]) -> None:
    """Now, and not when all is done: Stopped where what an option names can't be written, or would be written over a
    file that is read or that another option names; and where a log is named twice, as each line would count twice."""
    known = {_which(name): name for name in read}
    seen: set[object] = set()
    for name in logs:
        which = _which(name)
        if which in seen:
            raise Stopped(f"{name} is named twice, and each line of it would count twice; name it once")
        known[which] = name
        seen.add(which)
        seen.discard(None)
    known.pop(None, None)
    for option, path in written.items():
        if path is None:
            continue
        which = _which(path, new=True)
        if which in known:
            raise Stopped(f"{option} {path}: would be written over {known[which]}; name another file")
        if which is not None:
            known[which] = path
            _check_writable(path)


def _which(path: str, *, new: bool = False) -> object:
    """The same for all names of one file; None where it is none: a pipe, a device, and unless it is `new`, nothing."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return Path(path).absolute() if new else None
    return None if stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode) else (found.st_dev, found.st_ino)


def _check_writable(path: str) -> None:
    """What is there is not changed, and nothing new stays there."""
    file = Path(path)
    try:
        new = not file.exists()
        file.open("ab").close()
        if new:
            file.unlink()
    except (OSError, ValueError) as error:
        raise Stopped(f"{path}: can't be written: {getattr(error, 'strerror', None) or error}") from None
