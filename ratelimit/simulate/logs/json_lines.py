"""Logs with an object of JSON a line, and which of its fields stand for what."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any
from urllib.parse import quote

from ratelimit.simulate.events import Event
from ratelimit.simulate.logs.formats import NO_REQUEST, NO_TIME, NOT_JSON, PER_MS, TOO_LONG, Format, Unread
from ratelimit.simulate.logs.instants import Durations, Instants
from ratelimit.simulate.logs.sources import LONGEST

Steps = tuple[str | int, ...]
_STEP = re.compile(r'\.([^.\[\]]+)|\[(\d{1,6})\]|\["([^"]+)"\]')

# How fields are called in logs that are of no known server, the likeliest first.
GUESSED: Mapping[str, tuple[str, ...]] = {
    "time": (
        *("time", "timestamp", "@timestamp", "ts", "time_iso8601", "msec", "time_local", "datetime", "asctime"),
        "date",
    ),
    "ip": (*("client_ip", "remote_addr", "remote_ip", "ip", "clientip", "client", "host", "ClientHost"), "peer"),
    "user": ("remote_user", "user_id"),
    "method": ("method", "request_method", "http_method", "verb"),
    "path": ("path", "request_uri", "uri", "url", "request_path", "http_path"),
    "call": ("request",),
    "status": ("status", "status_code", "response_code", "code"),
    "duration_s": ("request_time", "duration_s", "elapsed_s", "time_taken"),
    "duration_ms": ("duration_ms", "latency_ms", "response_time_ms", "elapsed_ms", "took"),
    "duration_us": ("duration_us", "latency_us"),
    "duration_ns": ("duration_ns", "latency_ns", "Duration"),
}


def steps_of(path: str) -> Steps | None:
    """`$.request.headers["X-Org"][0]`; None for what is no path."""
    if not path.startswith("$"):
        return None
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            return None
        steps.append(int(found[2]) if found[2] else found[1] or found[3])
        at = found.end()
    return tuple(steps) or None


class ByFields:
    """`roles` are the groups of formats.py with the path of a field, several of one in the order in which they are
    asked; `mapped` are the paths of the fields of `who`."""

    def __init__(self, of: Format, mapped: tuple[Steps, ...] = (), zone: tzinfo = UTC) -> None:
        roles: dict[str, list[Steps]] = {}
        for role, path in of.roles:
            roles.setdefault(role, []).append(steps_of(path) or (path,))
        unit = next((name for name in PER_MS if name in roles), "duration_s")
        asked = ("time", "ip", "user", "method", "path", "call", "status", unit)
        self._roles = [tuple(roles.get(role, ())) for role in asked]
        self._mapped = mapped
        self._ends = of.ends
        self.facts: Counter[str] = Counter()
        self._instants = Instants(zone, self.facts)
        self._durations = Durations(PER_MS[unit])
        self.timed = unit in roles

    def read(self, lines: Sequence[bytes], file: int, number: int, unread: Unread) -> list[Event]:
        events: list[Event] = []
        time_in, ip_in, user_in, method_in, path_in, call_in, status_in, took_in = self._roles
        instants, durations, mapped = self._instants, self._durations, self._mapped
        for number, line in enumerate(lines, number):  # noqa: B020 - it goes on from there
            found = object_of(line, number, unread)
            if found is None:
                continue
            time = _first(found, time_in)
            logged = instants[time] if type(time) in TIMES else None
            if logged is None:
                unread(number, NO_TIME, line)
                continue
            call = _call(_first(found, call_in)) or joined(_first(found, method_in), _first(found, path_in))
            if call is None:
                unread(number, NO_REQUEST, line)
                continue
            took = _first(found, took_in)
            took_ms = durations[took] if type(took) in TIMES else 0
            ip, user = _text(_first(found, ip_in)), _text(_first(found, user_in))
            who: Any = ip
            if mapped:
                who = (ip, user, *[_value(_first(found, (steps,))) for steps in mapped])
            elif user and user != b"-":
                who = (ip, user)
            at = logged - took_ms if self._ends else logged
            events.append((at, file, number, took_ms, call, status_of(_first(found, status_in)), who, None))
        return events


TIMES = frozenset({str, int, float})
NAMES = frozenset({str, int, bool})


def object_of(line: bytes, number: int, unread: Unread) -> dict[str, Any] | None:
    """The object of a line; told where there is none."""
    if not line or line.isspace():
        return None
    if len(line) > LONGEST:
        unread(number, TOO_LONG, line)
        return None
    try:
        found = json.loads(str(line, "utf-8"))
    except (ValueError, RecursionError):
        found = None
    if type(found) is dict:
        return found
    unread(number, NOT_JSON, line)
    return None


def guessed_roles(objects: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Which of their fields stand for what, by their names; each role that one of the objects has."""
    there = {name for one in objects for name in one}
    return tuple([(role, name) for role, names in GUESSED.items() for name in names if name in there])


def _first(found: Any, ways: Sequence[Steps]) -> Any:
    """What is at the first of some places where there is something."""
    for steps in ways:
        value = found
        try:
            for step in steps:
                value = value[step]
        except (KeyError, IndexError, TypeError):
            continue
        if value is not None and value != "":
            return value
    return None


def _text(value: Any) -> bytes:
    if type(value) is str:
        return value.encode("utf-8", "surrogatepass")
    return str(value).encode() if type(value) is int else b""


def _value(value: Any) -> Any:
    """One that can be a name or an attribute."""
    return value if type(value) in NAMES else str(value) if type(value) is float else None


def status_of(value: Any) -> int:
    if type(value) is str and value.isdecimal() and len(value) < 5:
        value = int(value)
    return value if type(value) is int and 0 <= value < 1_000 else 0


def _call(request: Any) -> bytes | None:
    """Of `GET /v2/x HTTP/1.1`."""
    if type(request) is not str:
        return None
    words = request.split(" ")
    return joined(words[0], words[1]) if len(words) > 1 else None


def joined(method: Any, path: Any) -> bytes | None:
    if type(method) is not str or type(path) is not str or not method.isalpha() or not path:
        return None
    path = path.partition("?")[0]
    if not path.isascii():
        path = quote(path, safe="/:@!$&'()*+,;=~%-._", errors="surrogatepass")
    return f"{method} {path}".encode()
