"""`--map organization=$.org tier=gold`: which parts of a line say who is calling, or what a format does not say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ratelimit.ground.words import shown
from ratelimit.simulate.logs.formats import PER_MS
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
