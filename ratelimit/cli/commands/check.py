"""`ratelimit check`: what is wrong with a policy file, what is odd in it, and what of an app it limits; and `ratelimit
schema`, by which an editor tells a part of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import typer

from ratelimit.checks.values import EXEMPT
from ratelimit.cli.input.apps import AppOption, app_of
from ratelimit.cli.input.policies import STDIN, USUAL, FileArgument, bytes_of, called
from ratelimit.cli.output.console import say, show_table
from ratelimit.cli.output.exits import FINDINGS, FINE
from ratelimit.cli.output.formats import Format, FormatOption, annotate, emit_json
from ratelimit.endpoints.listing import RouteLimits
from ratelimit.explanation.words import amount, mode
from ratelimit.ground.times import instant
from ratelimit.model import Limit
from ratelimit.review.findings import Finding
from ratelimit.review.policy import Review

EXAMPLES = """
  ratelimit check
  ratelimit check ratelimit.toml --app main:app
  ratelimit check ratelimit.toml --strict --format github
  ratelimit check - < ratelimit.toml
"""
SCHEMA_EXAMPLES = """
  ratelimit schema > ratelimit.schema.json
"""
STYLES = {"error": "bold red", "warning": "yellow"}


def schema() -> None:
    """Print the JSON Schema of a policy file, for editors that complete and check TOML.

    An editor that knows TOML (Taplo, Even Better TOML) looks for it where the first line of the file says:
    #:schema ./ratelimit.schema.json
    """
    from ratelimit.config import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


class Found(NamedTuple):
    """A finding, and the file that it is in, or the app."""

    of: str
    finding: Finding


def check(
    file: FileArgument = USUAL,
    app: AppOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="What is only odd ends in exit 1 too.")] = False,
    format: FormatOption = Format.TEXT,  # noqa: A002
) -> None:
    """Tell every mistake in a policy file, and what is legal but can hardly be meant.

    With --app also what it comes to for each route: the operation and what tells it, and the limits of each tier. A
    route that nothing limits, or whose operation is only guessed, is told. The app is imported, and not started.

    Exit 1 is a mistake; what is odd is 0, with --strict 1.
    """
    from ratelimit.review.policy import review

    data, now = bytes_of(file), int(time.time() * 1000)
    reviewed = review(data, file, now)
    routes: Sequence[RouteLimits] = ()
    found = [Found(called(file), one) for one in reviewed.findings]
    if app is not None and reviewed.policy is not None:
        reviewed, routes, found = _with_app(data, file, now, app)
    _SHOWN[format](called(file), app, reviewed, routes, found)
    wrong = any(one.finding.severity == "error" for one in found)
    raise typer.Exit(FINDINGS if wrong or (strict and found) else FINE)


def _with_app(data: bytes, file: str, now: int, named: str) -> tuple[Review, Sequence[RouteLimits], list[Found]]:
    from ratelimit.review.app import review_app
    from ratelimit.review.limiters import limiters_of
    from ratelimit.review.policy import review

    app = app_of(named)
    limiters = limiters_of(app)
    identifies = any(limiter.identifies for limiter in limiters) if limiters else None
    reviewed = review(data, file, now, identifies=identifies)
    assert reviewed.policy is not None and reviewed.valid is not None  # noqa: S101, PT018 - it was there before
    routes, of_app = review_app(app, reviewed.policy, reviewed.valid, reviewed.lines)
    found = [Found(called(file), one) for one in reviewed.findings]
    return reviewed, routes, found + [Found(called(file) if one.line else named, one) for one in of_app]


def _in_text(
    file: str, app: str | None, reviewed: Review, routes: Sequence[RouteLimits], found: Sequence[Found]
) -> None:
    for of, one in found:
        where = f"{of}:{one.line}" if one.line else of
        say(f"{where}: {one.severity}: {one} [{one.code}]", STYLES[one.severity])
    if routes:
        _show_routes(routes)
    errors = sum(one.finding.severity == "error" for one in found)
    counted = [_number(errors, "mistake"), _number(len(found) - errors, "warning")]
    said = ", ".join(one for one in counted if one) or "nothing is wrong, and nothing is odd"
    if app is not None:
        said += (
            f"; {_number(len(routes), 'route') or 'no route'} of {app}"
            if reviewed.policy
            else f"; {app} was not looked at"
        )
    say(f"{file}: {said}.", "bold red" if errors else "bold yellow" if found else "bold green")


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}" if count else ""


def _show_routes(routes: Sequence[RouteLimits]) -> None:
    rows = [(*_called(row), f"{row.operation or EXEMPT}{' x units' if row.units else ''}", row.why) for row in routes]
    show_table(("method", "route", "operation", "by"), rows)
    say("")
    show_table(("operation", "tier", "limit", "max"), _by_operation(routes, int(time.time() * 1000)))
    say("")


def _called(row: RouteLimits) -> tuple[str, str]:
    methods = (
        "WEBSOCKET"
        if row.websocket
        else ",".join(m for m in row.methods or ("*",) if m != "HEAD" or row.methods == ("HEAD",))
    )
    return methods, f"{row.host or ''}{row.path}"


def _by_operation(routes: Sequence[RouteLimits], now: int) -> Iterator[tuple[str, str, str, str]]:
    """Once for all operations that are limited alike; a route that declares limits of its own stands by itself."""
    charged = [(row.operation, row) for row in routes if row.operation is not None]
    usual: dict[str, tuple[object, ...]] = {}
    for operation, row in charged:
        usual[operation] = min(usual.get(operation, _all(row)), _all(row), key=len)
    alike: dict[object, tuple[RouteLimits, list[str]]] = {}
    for operation, row in sorted(charged, key=lambda one: usual[one[0]] != _all(one[1])):
        name = operation if usual[operation] == _all(row) else " ".join(_called(row))
        names = alike.setdefault(_all(row), (row, []))[1]
        names += [name] if name not in names else []
    for row, names in alike.values():
        name = ", ".join(names)
        for tier, limits in row.limits.items():
            for limit in limits or (None,):
                yield (name, tier, *((limit.name, _max(limit, now)) if limit else ("none", "")))
                name = tier = ""


def _max(limit: Limit, now: int) -> str:
    """`100/minute`, `100/minute, in shadow until 2027-01-01T00:00:00Z`"""
    told = mode(limit, now)
    return amount(limit) if told == "enforced" else f"{amount(limit)}, {told}"


def _all(row: RouteLimits) -> tuple[object, ...]:
    """Its limits, to be told apart by."""
    return tuple((tier, id(limit)) for tier, limits in row.limits.items() for limit in limits)


def _in_json(
    file: str, app: str | None, reviewed: Review, routes: Sequence[RouteLimits], found: Sequence[Found]
) -> None:
    payload = {
        "file": file,
        "app": app,
        "findings": [{"of": of, **one.as_data()} for of, one in found],
        "routes": [_as_data(row) for row in routes],
    }
    emit_json("check", payload)


def _as_data(row: RouteLimits) -> Mapping[str, Any]:
    return {
        "path": row.path,
        "methods": row.methods,
        "host": row.host,
        "websocket": row.websocket,
        "operation": row.operation,
        "why": row.why,
        "units": row.units,
        "limits": {tier: [_limit_as_data(limit) for limit in limits] for tier, limits in row.limits.items()},
    }


def _limit_as_data(limit: Limit) -> Mapping[str, Any]:
    cost = limit.cost if isinstance(limit.cost, int) else dict(limit.cost)
    said = {"name": limit.name, "amount": amount(limit), "per": limit.per, "cost": cost}
    return {**said, "mode": limit.mode, "from": instant(limit.enforce_from_ms) if limit.enforce_from_ms else None}


def _in_github(
    file: str, app: str | None, reviewed: Review, routes: Sequence[RouteLimits], found: Sequence[Found]
) -> None:
    for of, one in found:
        annotate(one.severity, f"{one} [{one.code}]", file=of if of == file != called(STDIN) else None, line=one.line)


_SHOWN = {Format.TEXT: _in_text, Format.JSON: _in_json, Format.GITHUB: _in_github}
