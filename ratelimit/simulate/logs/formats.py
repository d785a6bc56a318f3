"""How the lines of a format are read: by one expression with named groups, or as JSON (json_lines.py).

The groups: `time`; `ip` and `user`; `call`, as `GET /v2/x`, or `method` and `path`; `status`; how long it took as
`duration_s`, `duration_ms`, `duration_us` or `duration_ns`, or the instant at which it `ended`. Any other can be mapped
to a field of the caller.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Protocol

from ratelimit.simulate.events import Event
from ratelimit.simulate.logs.instants import Durations, Instants
from ratelimit.simulate.logs.sources import LONGEST

PER_MS = {"duration_s": 0.001, "duration_ms": 1.0, "duration_us": 1_000.0, "duration_ns": 1_000_000.0}
OWN = frozenset({"time", "ended", "ip", "user", "call", "method", "path", "status", *PER_MS})

NOT_OF_FORMAT, NO_REQUEST, NO_TIME = "not of this format", "no request in it", "no time in it"
TOO_LONG, NOT_JSON = "above 64 kB", "no object of JSON"

# Told of each line that can't be read: its number, the reason, and the line.
Unread = Callable[[int, str, bytes], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One way of writing a log. `expression` is of one line; of JSON there is none, and `roles` say which fields of the
    objects stand for the groups. `ends`: the time is that of the end of a request."""

    name: str
    expression: bytes = b""
    roles: tuple[tuple[str, str], ...] = ()  # ("time", "$.ts")
    ends: bool = True

    @property
    def groups(self) -> frozenset[str]:
        return frozenset(re.compile(self.expression).groupindex)


class Reader(Protocol):
    """Reads lines of one format."""

    timed: bool  # it has durations
    facts: Counter[str]  # what else there is to know, by name

    def read(self, lines: Sequence[bytes], file: int, number: int, unread: Unread) -> list[Event]:
        """The requests of lines of which `number` is that of the first."""


class ByExpression:
    """`mapped` are the groups of the fields of `who`, in their order."""

    def __init__(self, of: Format, mapped: tuple[str, ...] = (), zone: tzinfo = UTC) -> None:
        expression = re.compile(of.expression + b"()")  # what a format does not have is the empty group at the end
        groups, nothing = expression.groupindex, expression.groups
        unit = next((name for name in PER_MS if name in groups), "duration_s")
        asked = ("time", "ip", "user", "call", "status", unit, "method", "path", "ended", *mapped)
        self._match = expression.match
        self._numbers = [groups.get(name, nothing) for name in asked]
        self._whole = "call" in groups
        self._ended = "ended" in groups
        self._ends = of.ends
        self._mapped = bool(mapped)
        self.facts: Counter[str] = Counter()
        self._instants = Instants(zone, self.facts)
        self._durations = Durations(PER_MS[unit])
        self._statuses: dict[bytes, int] = {b"%03d" % status: status for status in range(1_000)}
        self.timed = unit in groups or self._ended

    def read(self, lines: Sequence[bytes], file: int, number: int, unread: Unread) -> list[Event]:
        events: list[Event] = []
        match, numbers, instants, durations = self._match, self._numbers, self._instants, self._durations
        whole, mapped, ended_too, ends, status_of = self._whole, self._mapped, self._ended, self._ends, self._statuses
        add, number = events.append, number - 1
        for line in lines:
            number += 1
            found = match(line) if len(line) <= LONGEST else None
            if found is None:
                if line and not line.startswith(b"#"):
                    unread(number, _why(line), line)
                continue
            time, ip, user, call, status, took, method, path, ended, *rest = found.group(*numbers)
            logged = instants[time]
            if logged is None:
                unread(number, NO_TIME, line)
                continue
            took_ms = durations[took] if took else 0
            if ended_too:
                took_ms = max(0, (instants[ended] or logged) - logged)
            if not whole:
                call = method + b" " + path if method and path else None
            if not call:
                unread(number, NO_REQUEST, line)
                continue
            if b"\\" in call:
                call = _unescaped(call)
            at = logged - took_ms if ends else logged
            who = (ip, user, *rest) if mapped else ip or b"" if user == b"-" or not user else (ip, user)
            add((at, file, number, took_ms, call, status_of.get(status, 0), who, None))
        return events


def _why(line: bytes) -> str:
    if len(line) > LONGEST:
        return TOO_LONG
    return NO_REQUEST if _QUOTED(line) and not _REQUEST(line) else NOT_OF_FORMAT


_QUOTED = re.compile(rb'[^"]*\] "').match
_REQUEST = re.compile(rb'[^"]*"[A-Za-z]+ \S').match
_ESCAPED = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)


def _unescaped(call: bytes) -> bytes:
    r"""Nginx writes `\x22` for a quote, others `\"`."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]) if found[1] else found[2], call)
