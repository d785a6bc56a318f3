"""Which format a log is of, by its first lines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Any, NamedTuple

from ratelimit.ground.printable import in_a_line
from ratelimit.ground.words import listed, shown
from ratelimit.simulate.logs.formats import OWN, PER_MS, ByExpression, Format, Reader
from ratelimit.simulate.logs.json_lines import ByFields, guessed_roles, object_of, steps_of
from ratelimit.simulate.logs.own import MapError, Mapped
from ratelimit.simulate.logs.presets import PRESETS, UNTIMED
from ratelimit.simulate.logs.recorded import Recorded
from ratelimit.simulate.logs.sources import Chunk, LogError, Source

LOOKED_AT = 200  # lines,
LONGEST = 16_384  # bytes of each
KEPT_OPEN = 64  # files, so that they are the same when they are read: a log may be moved meanwhile


def format_of(called: str, lines: Sequence[bytes], mapped: Mapped, among: str | None = None) -> Format | None:
    """That of which the most of these lines are; of several, the first. `among` is the name of a preset. None where
    there are no lines, LogError where none of them is of any."""
    lines = [line for line in lines if line.strip() and not line.startswith(b"#") and len(line) <= LONGEST][:LOOKED_AT]
    if not lines:
        return None
    objects = [found for line in lines if (found := object_of(line, 0, _unread)) is not None]
    names = [among] if among else [*PRESETS]
    variants = [_with_roles(one, objects, mapped) for name in names for one in PRESETS[name]]
    counted = [len(_plain(one).read(lines, 0, 1, _unread)) for one in variants]
    if not any(counted):
        raise LogError(_nothing(called, lines, objects, among))
    return variants[counted.index(max(counted))]


class Looked(NamedTuple):
    """What the first lines of some files tell: the format of each, and the instant at which it begins, in ms; -1: that
    is not known."""

    formats: tuple[Format, ...]
    begins: tuple[int, ...]


def looked_at(
    sources: Sequence[Source], mapped: Mapped, among: str | Format | None = None, zone: tzinfo = UTC
) -> Looked:
    """`among` is the name of a preset, or the format of all. Of very many files none is kept open."""
    keep = len(sources) <= KEPT_OPEN
    heads = [_lines(source.head(keep=keep)) for source in sources]
    formats = [among] * len(sources) if isinstance(among, Format) else _formats(sources, heads, mapped, among)
    begins = []
    for of, lines in zip(formats, heads, strict=True):
        events = reader_of(of, mapped, zone).read(lines, 0, 1, _unread)
        begins.append(min([at + took for at, _, _, took, *_ in events], default=-1))
    return Looked(tuple(formats), tuple(begins))


def _lines(chunk: Chunk | None) -> list[bytes]:
    return [] if chunk is None else chunk.data.split(b"\n", LOOKED_AT)[:LOOKED_AT]


def _formats(
    sources: Sequence[Source], heads: Sequence[Sequence[bytes]], mapped: Mapped, among: str | None
) -> list[Format]:
    """Of each file. One that is empty is of that of another."""
    formats = [format_of(source.name, lines, mapped, among) for source, lines in zip(sources, heads, strict=True)]
    known = next((one for one in formats if one is not None), None)
    if known is None:
        raise LogError(f"{listed(source.name for source in sources)}: there is no line of a request")
    return [one or known for one in formats]


def reader_of(of: Format, mapped: Mapped, zone: tzinfo = UTC) -> Reader:
    """MapError where a field is mapped to what the format does not have."""
    if of.name == "ratelimit":
        if mapped.fields or mapped.roles:
            raise MapError("--map: a log of the limiter itself says who was calling; leave it out")
        return Recorded()
    if of.roles:
        return ByFields(of, tuple([steps_of(path) or (path[1:],) for path in mapped.fields.values()]), zone)
    if mapped.roles:
        raise MapError(f"--map {next(iter(mapped.roles))}: {of.name} is no JSON; write a --pattern that has this group")
    groups = of.groups
    for path in mapped.fields.values():
        if path[1:] not in groups:
            known = listed(sorted(groups - OWN | groups & {"ip", "user"}))
            raise MapError(f"--map {shown(path)}: {of.name} has no such group, only {known}; write a --pattern")
    return ByExpression(of, tuple([path[1:] for path in mapped.fields.values()]), zone)


def _with_roles(of: Format, objects: Sequence[Mapping[str, Any]], mapped: Mapped) -> Format:
    """Of JSON: what is mapped comes first, and of no known server what the names of the fields say."""
    if not of.roles or of.name == "ratelimit":
        return of
    roles = guessed_roles(objects) if of.name == "json" else of.roles
    own = tuple(mapped.roles.items())
    if any(role in PER_MS for role, _ in own):
        roles = tuple([(role, path) for role, path in roles if role not in PER_MS])
    return replace(of, roles=own + roles)


def _plain(of: Format) -> Reader:
    return Recorded() if of.name == "ratelimit" else ByFields(of) if of.roles or not of.expression else ByExpression(of)


def _unread(number: int, why: str, line: bytes) -> None:
    """Of the first lines it is only asked which format takes the most."""


def _nothing(called: str, lines: Sequence[bytes], objects: Sequence[Any], among: str | None) -> str:
    how = "say which it is with --log-format, or how its lines are written with --pattern"
    if any(b"\0" in line for line in lines):
        return f"{called} is binary, no log of requests"
    if among in (None, "uvicorn") and any(re.match(UNTIMED, line) for line in lines):
        return f"{called} has no times, as uvicorn writes it: give its log a format with %(asctime)s, and simulate that"
    if objects and among in (None, "json"):
        has = {role for role, _ in guessed_roles(objects)}
        missing = [role for role in ("time", "method", "path") if role not in has and "call" not in has]
        fields = in_a_line(listed(sorted({str(name) for one in objects[:20] for name in one})[:20]))
        return (
            f"{called} is JSON without a known field for {' and '.join(missing or ['time'])}; say it as in --map"
            f" {(missing or ['time'])[0]}=$.field; it has {fields}"
        )
    if among:
        return f"none of the first {len(lines)} lines of {called} is of the format {among}"
    return f"none of the first {len(lines)} lines of {called} is of a format that is known; {how}"
