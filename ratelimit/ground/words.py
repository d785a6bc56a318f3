"""The words of messages: values as a file or a program has them, and what their author may have meant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, time
from typing import Any


def shown(value: Any) -> str:
    """A value as the file has it, cut where it is long. What a table, a list or a URL holds is not shown."""
    if isinstance(value, str):
        scheme, separator, _ = value.partition("://")  # behind it there may be a password
        value = f"{scheme}://…" if separator else value
        return json.dumps(value if len(value) <= 60 else value[:59] + "…", ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return str(value) if isinstance(value, int | float) else f"a value of type {type(value).__name__}"


def kind_of(given: Any) -> str:
    """What a program gave where something else was needed: `redis.client.Redis`, of a class `the class app.Store`."""
    kind, what = (given, "the class ") if isinstance(given, type) else (type(given), "")
    return "None" if given is None else f"{what}{kind.__module__}.{kind.__qualname__}"


def listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.7) -> str:
    """`; did you mean "minute"?`, or nothing where no known word is near."""
    from difflib import get_close_matches  # some milliseconds of imports for who makes a mistake

    near = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f'; did you mean "{near[0]}"?' if near else ""


def one_of(word: str, known: Iterable[str]) -> str:
    """`; did you mean "minute"?`, or all the known words where none is near."""
    names = sorted(known)
    return did_you_mean(word, names) or (f"; write one of {listed(names)}" if names else "")


def too_small(value: str, least: object) -> str:
    return f"{value} is too small; the least is {least}"


def too_large(value: str, most: object) -> str:
    return f"{value} is too large; the most is {most}"


def not_known(value: str, allowed: str) -> str:
    return f"{value} is not known; write {allowed}"


def fields(event: str, **values: object) -> dict[str, object]:
    """What a line of the log says in words once more, for who reads it by program: its `extra=`. No attribute of a
    LogRecord begins so: `ratelimit_event`, `ratelimit_limit`."""
    return {"ratelimit_event": event} | {f"ratelimit_{name}": value for name, value in values.items()}
