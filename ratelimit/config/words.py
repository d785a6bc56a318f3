"""The words of messages: values as the file has them, and what its author may have meant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, time
from difflib import get_close_matches
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
    return "a list" if isinstance(value, list) else str(value)


def listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.7) -> str:
    """`; did you mean "minute"?`, or nothing where no known word is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f'; did you mean "{near[0]}"?' if near else ""


def one_of(word: str, known: Iterable[str]) -> str:
    """`; did you mean "minute"?`, or all the known words where none is near."""
    names = sorted(known)
    return did_you_mean(word, names) or (f"; write one of {listed(names)}" if names else "")
