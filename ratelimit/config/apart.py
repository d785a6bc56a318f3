"""A large policy file is read by a process of its own. To check 10,000 API keys makes so many objects that Python's
garbage collector looks at all that the app has, and nothing else runs meanwhile.

What comes back is what was found, in pieces, and between them whoever wants to run does.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from ratelimit.config.build import build, identity_of
from ratelimit.config.grammar.messages import Problem
from ratelimit.config.grammar.tables import PolicyFile
from ratelimit.config.load import decoded, examine, named, policy_of, usable
from ratelimit.ground.tracebacks import without_locals
from ratelimit.model import Identity
from ratelimit.policy import Policy

PIECE = 200  # keys, or overrides: a third of a millisecond
PATIENCE = 60.0  # seconds
PAUSE = 0.0005  # seconds after each: with 0 others are only asked, and this goes on

# It does nothing else, and what it makes goes with it.
_READ = "import gc; gc.disable(); from ratelimit.config.apart import main; main()"
_NO_ATTRIBUTES = Identity().attributes


class _Found(NamedTuple):
    """Of a text. `file` is without its keys and overrides, which come after it; None where something is wrong."""

    problems: list[Problem]
    file: PolicyFile | None


class Reader:
    """Such a process. It begins at once, and then waits for what it is to read."""

    def __init__(self, python: str = sys.executable) -> None:
        self._process = _begun(python) if "python" in Path(python).name.lower() else None  # not a server with it inside

    @without_locals
    def policy_of(self, data: bytes, path: str | os.PathLike[str]) -> Policy:
        """As load.policy_of, which does it where no process can be had, or it has ended in the middle of it."""
        called = os.fspath(path)
        found = self._found(data, named(os.path.realpath(path), decoded(data, called)))
        return policy_of(data, path) if found is None else usable(found[1], found[0], called)

    def _found(self, data: bytes, origin: str) -> tuple[list[Problem], Policy | None] | None:
        if self._process is None:
            return None
        late = threading.Timer(PATIENCE, self._process.kill)
        late.start()
        try:
            with cast("IO[bytes]", self._process.stdin) as its_input:
                its_input.write(data)
            return _received(cast("IO[bytes]", self._process.stdout), origin)
        except Exception:  # noqa: BLE001 - whatever it was, the file is read here: what is wrong with that is told
            return None
        finally:
            late.cancel()

    def close(self) -> None:
        """It is not needed any more. Twice is as good as once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what it was still to be given
                    cast("IO[bytes]", pipe).close()
            process.wait()


def _begun(python: str) -> subprocess.Popen[bytes] | None:
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = (python, "-P", "-c", _READ)  # -P: from nowhere else than this one has it
    try:
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, env=environment)  # noqa: S603
    except OSError:
        return None


def _received(pipe: IO[bytes], origin: str) -> tuple[list[Problem], Policy | None]:
    found: _Found = pickle.load(pipe)  # noqa: S301 - of our own process
    if found.file is None:
        return found.problems, None
    keys = {key: Identity.of_checked((*names, attributes or _NO_ATTRIBUTES)) for key, *names, attributes in _all(pipe)}
    file = found.file.model_copy(update={"overrides": list(_all(pipe))})
    return found.problems, build(file, origin, keys)


def _all(pipe: IO[bytes]) -> Iterator[Any]:
    while piece := pickle.load(pipe):  # noqa: S301
        yield from piece
        time.sleep(PAUSE)


def main() -> None:
    """Of the process."""
    answer(sys.stdin.buffer.read(), sys.stdout.buffer)


def answer(data: bytes, pipe: IO[bytes]) -> None:
    """What is found in a text, which is UTF-8."""
    valid, policy, problems = examine(decoded(data, ""), "")
    if valid is None or policy is None:
        pickle.dump(_Found(problems, None), pipe)
        return
    file = valid.file
    pickle.dump(_Found(problems, file.model_copy(update={"keys": [], "overrides": []})), pipe)
    _write(pipe, [(key.sha256, *_plain(identity_of(key))) for key in file.keys])
    _write(pipe, file.overrides)


def _plain(identity: Identity) -> tuple[Any, ...]:
    return (*identity[:-1], dict(identity.attributes))


def _write(pipe: IO[bytes], every: Sequence[object]) -> None:
    for first in range(0, len(every), PIECE):
        pickle.dump(every[first : first + PIECE], pipe)
    pickle.dump([], pipe)
