"""What is said of a log on the command line: which parts of a line say who is calling, `--map organization=$.org
tier=gold`, and formats of one's own, an expression with named groups or a line as nginx's `log_format` has it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ratelimit.ground.words import shown
from ratelimit.simulate.logs.formats import PER_MS, Format
from ratelimit.simulate.logs.json_lines import steps_of

ROLES = frozenset({"time", "call", "method", "path", "status", *PER_MS})  # of the request itself
_NAME = re.compile(r"[A-Za-z_][\w-]{0,63}").fullmatch


class MapError(ValueError):
    """A mapping that can't be read: a sentence."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """`fields` are those of the caller, by where they are; `roles` those of the request; `constants` what all have."""

    fields: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)


def mapping_of(texts: Iterable[str]) -> Mapped:
    """Of `organization=$.org`, `user=$remote_user`, `tier=gold`, `duration_ms=$.latency`."""
    fields: dict[str, str] = {}
    roles: dict[str, str] = {}
    constants: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not value or not _NAME(name):
            raise MapError(f"--map {shown(text)}: write field=$.path, field=$group or field=text")
        if name in {*fields, *roles, *constants}:
            raise MapError(f"--map names {shown(name)} twice")
        if not value.startswith("$"):
            if name in ROLES:
                raise MapError(f"--map {shown(text)}: {name} is another one in each line; write {name}=$.path")
            constants[name] = value
            continue
        if value.startswith(("$.", "$[")) and steps_of(value) is None:
            raise MapError(f'--map {shown(text)}: that is no path; write $.a.b, $.a[0] or $.a["b-c"]')
        (roles if name in ROLES else fields)[name] = value
    return Mapped(fields, roles, constants)


_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# What variables of nginx stand for; of others the name is the group's.
_GROUPS = {
    "remote_addr": "ip",
    "remote_user": "user",
    "time_local": "time",
    "time_iso8601": "time",
    "msec": "time",
    "request": "call",
    "request_method": "method",
    "request_uri": "path",
    "uri": "path",
    "status": "status",
    "request_time": "duration_s",
}
_CALL = r'(?P<call>[A-Za-z]+ [^ ?"]+)[^"]*'


class PatternError(ValueError):
    """A pattern that can't be read: a sentence."""


def pattern(text: str) -> Format:
    """Its format. PatternError says what is wrong with it."""
    expression = text if "(?P<" in text else _of_variables(text)
    try:
        groups = set(re.compile(expression.encode()).groupindex)
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternError(f"--pattern is no regular expression: {error}") from None
    if "request" in groups:
        raise PatternError("--pattern: the request is the group call, as GET /path, or the groups method and path")
    missing = [what for what in ("time",) if what not in groups]
    if "call" not in groups and not {"method", "path"} <= groups:
        missing.append("call (GET /path), or method and path")
    if missing:
        raise PatternError(f"--pattern {shown(text)} has no {' and no '.join(missing)}")
    return Format("pattern", expression.encode(), ends="ended" not in groups)


def _of_variables(text: str) -> str:
    """Each variable takes what is before the next character of the pattern."""
    made, at, seen = "", 0, set()
    for found in _VARIABLE.finditer(text):
        made += re.escape(text[at : found.start()])
        at = found.end()
        name = found[1] or found[2]
        group = _GROUPS.get(name, name)
        after = text[at : at + 1]
        if group in seen:
            made += _until(after)
        elif group == "call":
            made += _CALL
        elif group == "path":
            made += rf"(?P<path>[^?{re.escape(after)}]+){_until(after)}" if after else r"(?P<path>[^ ?]+)"
        else:
            made += f"(?P<{group}>{_until(after)})"
        seen.add(group)
    return made + re.escape(text[at:])


def _until(after: str) -> str:
    if not after:
        return r"[^\r]*"
    return r'(?:[^"\\]|\\.)*' if after == '"' else rf"[^{re.escape(after)}]*"
