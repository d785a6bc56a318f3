"""`--verdicts FILE`: a line of JSON for each request, in order of arrival.

    {"file": "access.log", "line": 17, "caller": "organization=acme", "operation": "search", "allowed": false,
     "limit": "requests", "retry_after_ms": 4180}

`limit` and `retry_after_ms` are there of a denial; a wait of null never ends. Of what is exempt the operation is null.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from ratelimit.model import Decision
from ratelimit.simulate.events import Caller, Event
from ratelimit.simulate.logs.sources import LogError
from ratelimit.stores.replay import Row

_BUFFER = 1 << 20
_PREFIX = len(f"{0:016d} {0:06d} {0:012d} ")


class Verdicts:
    """Writes them. `of_a_part`: with what they are in order by, for `joined`."""

    def __init__(self, path: str, files: Sequence[str], *, of_a_part: bool = False) -> None:
        self.path = path
        self._names = [json.dumps(name) for name in files]
        self._of_a_part = of_a_part
        self._callers: dict[str, str] = {}
        self._operations: dict[str, str] = {}
        try:
            self._file: IO[str] = Path(path).open("w", buffering=_BUFFER, encoding="ascii")  # noqa: SIM115
        except OSError as error:
            raise _failed(path, error) from None

    def saw(self, event: Event, caller: Caller, row: Row, decision: Decision | None) -> None:
        operation = row.plan.operation
        said = self._operations.get(operation) or self._operations.setdefault(operation, json.dumps(operation))
        why = ""
        denying = None if decision is None else decision.denying
        if denying is not None:
            why = f', "limit": {json.dumps(denying.limit.name)}, "retry_after_ms": {json.dumps(denying.retry_after_ms)}'
        allowed = "true" if denying is None else "false"
        self._write(event, f'"caller": {json.dumps(caller.name)}, "operation": {said}, "allowed": {allowed}{why}')

    def exempt(self, event: Event) -> None:
        self._write(event, '"caller": null, "operation": null, "allowed": true')

    def drop(self) -> None:
        """Close it where nobody is to know any more whether that goes well."""
        with suppress(OSError):
            self._file.close()

    def close(self) -> None:
        """LogError where not all of it could be written."""
        try:
            self._file.close()
        except OSError as error:
            raise _failed(self.path, error) from None

    def _write(self, event: Event, said: str) -> None:
        at, file, line, *_ = event
        order = f"{at:016d} {file:06d} {line:012d} " if self._of_a_part else ""
        try:
            self._file.write(f'{order}{{"file": {self._names[file]}, "line": {line}, {said}}}\n')
        except OSError as error:
            raise _failed(self.path, error) from None


def joined(path: str, parts: Sequence[str]) -> None:
    """Those of several processes in one file, in order; theirs are removed."""
    try:
        with ExitStack() as opened:
            files = [opened.enter_context(Path(part).open("rb")) for part in parts]
            with Path(path).open("wb") as made:
                made.writelines(line[_PREFIX:] for line in heapq.merge(*files))
    except OSError as error:
        raise _failed(path, error) from None
    finally:
        for part in parts:
            Path(part).unlink(missing_ok=True)


def _failed(path: str, error: OSError) -> LogError:
    return LogError(f"the verdicts can't be written to {path}: {error.strerror or error}")
