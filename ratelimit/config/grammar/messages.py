"""What is wrong with a policy file, in words: where it is, what is wrong, what is allowed.

pydantic's own errors come in as dicts with a `type`; none of its texts goes out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from ratelimit.checks.values import BUILT_IN, EXEMPT, of_pattern
from ratelimit.config.grammar.launches import CohortTable, LaunchTable
from ratelimit.config.grammar.settings import STYLES, TABLES, WebSocketTable
from ratelimit.config.grammar.tables import KeyTable, LimitTable, OverrideTable, PolicyFile, TierTable, WaitTable
from ratelimit.config.grammar.values import SHA256, Table
from ratelimit.ground.printable import printable
from ratelimit.ground.words import did_you_mean, listed, not_known, one_of, shown, too_large, too_small

Path = tuple[str | int, ...]

SECRET = {"sha256", "api_key", "url"}  # values that could be an API key or hold a password, if only by mistake

_BARE = re.compile(r"[A-Za-z0-9_-]+")  # a TOML key that needs no quotes
_LONG = 32  # a key that can't be and is longer could be an API key in the wrong place: only its beginning is shown
_LONG_IN_KEYS = 8  # likewise where API keys are the subject

_OPERATIONS = (EXEMPT, *BUILT_IN)

_QUOTES = str.maketrans("'", '"')  # pydantic writes values as Python does
_INSTANT = "a date-time with an offset, such as 2026-12-31T00:00:00Z"
_TYPES = {
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list in [ ]",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "datetime_type": _INSTANT,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, or if it is only odd, what is there that can hardly be meant: that is no error, it is logged. Then
    `odd` is a word for it, such as "rule-never-matches"; of an error it is empty."""

    path: Path = field(repr=False)  # may have an API key in it, that stands in the wrong place
    message: str
    odd: str = ""

    def __str__(self) -> str:
        # it goes to a terminal and to the log
        return printable(f"{place(self.path)}: {self.message}" if self.path else self.message)


class PolicyError(ValueError):
    """A policy file that can't be used. `problems` has one text for each, with the file and the path of the key."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


def place(path: Path) -> str:
    """`tiers.basic.limits[0].rate`, keys quoted as in TOML where they need it."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _BARE.fullmatch(step) else shown(step))
    return text


def problem(path: Path, error: Mapping[str, Any]) -> Problem:
    """One of pydantic's errors, at its path in the file."""
    if error["type"] == "extra_forbidden":
        return Problem(_cut(path), f"is not known{_hint(str(path[-1]), error['input'], _table(error['loc'][:-1]))}")
    return Problem(_cut(path) if error["loc"][-1:] == ("[key]",) else path, _message(path, error))


def _cut(path: Path) -> Path:
    key = str(path[-1])
    longest = _LONG_IN_KEYS if path[0] == "keys" else _LONG
    return path if len(key) <= longest else (*path[:-1], key[:8] + "…")


def _message(path: Path, error: Mapping[str, Any]) -> str:
    kind = error["type"]
    secret = path[:1] == ("keys",) or not SECRET.isdisjoint(path)
    value = "what is here" if secret else shown(error["input"])
    if kind == "list_type" and path in (("keys",), ("overrides",)):
        return f"is a list of tables; write [[{path[0]}]] above each"
    if kind in _TYPES:
        return f"{value} is not {_TYPES[kind]}{_misplaced(path)}"
    return _WORDS[kind](value, error.get("ctx", {}))


def _misplaced(path: Path) -> str:
    """Of a key that was written among names of one's own, where any is taken for an operation or a tier."""
    among_names = len(path) == 2 and path[0] in ("operations", "tiers")
    found = _places(str(path[1])) if among_names else ""
    return f"; {path[1]} belongs {found}" if found else ""


def _of_pattern(value: str, pattern: str) -> str:
    if pattern == SHA256:
        return "is not a SHA-256, 64 hexadecimal digits; never write an API key itself in a file"
    return of_pattern(value, pattern)


# By pydantic's type of error: from the value as it is shown, and pydantic's context.
_WORDS: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "missing": lambda _, __: "is missing",
    "value_error": lambda _, context: str(context["error"]),
    "union_tag_not_found": lambda _, __: f"has no name; write one of {listed(STYLES)}",
    "union_tag_invalid": lambda _, context: f"{shown(context['tag'])} is not a style{one_of(context['tag'], STYLES)}",
    "timezone_aware": lambda value, _: f"{value} has no offset; write {_INSTANT}",
    "literal_error": lambda value, context: not_known(value, context["expected"].translate(_QUOTES)),
    "string_too_short": lambda _, __: "is empty",
    "too_short": lambda _, __: "is empty",
    "greater_than_equal": lambda value, context: too_small(value, context["ge"]),
    "less_than_equal": lambda value, context: too_large(value, context["le"]),
    "string_pattern_mismatch": lambda value, context: _of_pattern(value, context["pattern"]),
}


# Where each table stands in a file, for a key that was written into another.
_PLACES: tuple[tuple[str, type[Table]], ...] = (
    ("at the top, above every [table]", PolicyFile),
    *((f'in [style] with name = "{name}"', style) for name, style in STYLES.items()),
    *((f"in [{name}]", table) for name, table in TABLES.items()),
    ("in [[keys]]", KeyTable),
    ("in [tiers.NAME]", TierTable),
    ('in a limit of a tier: limits = [{ name = "requests", … }]', LimitTable),
    ("in launch = { … } of a limit", LaunchTable),
    ("in wait = { … } of a tier", WaitTable),
    ("in [[overrides]]", OverrideTable),
)


def _hint(key: str, value: Any, table: type[Table]) -> str:
    """What may have been meant, else where the key belongs, else what is known."""
    known = sorted(_known_keys(table))
    near = did_you_mean(key, known)
    # [tier.basic]: what is called tier elsewhere is a text; a message elsewhere is one of a style
    if near and (isinstance(value, dict | list) or table is WebSocketTable):
        return near
    if key in _OPERATIONS:
        return " here; it belongs in [operations]"
    elsewhere = {other for _, place in _PLACES for other in _known_keys(place)}
    if key in elsewhere:
        return f" here; it belongs {_places(key)}"
    if near:
        return near
    if isinstance(value, dict) and "limits" in value:
        return " here; a tier is written as [tiers.NAME]"
    if far := get_close_matches(key.lower(), sorted(elsewhere), n=1, cutoff=0.85):
        return f'; did you mean "{far[0]}", which belongs {_places(far[0])}?'
    return f"; known here: {listed(known)}"


def _places(key: str) -> str:
    """Where a key belongs. What every style has is no matter of its name."""
    found = [place for place, table in _PLACES if key in _known_keys(table)]
    styles = [place for place in found if place.startswith("in [style]")]
    if len(styles) == len(STYLES):
        found = ["in [style]", *(place for place in found if place not in styles)]
    return " or ".join(found)


def _known_keys(table: type[Table]) -> set[str]:
    """The keys that a table may have."""
    return {field.alias or name for name, field in table.model_fields.items()}


def _table(loc: Path) -> type[Table]:
    """The table at pydantic's location."""
    match loc:
        case ("style", name):
            return next(table for known, table in STYLES.items() if known == name)
        case (str(name),) if name in TABLES:
            return TABLES[name]
        case ("keys", _):
            return KeyTable
        case ("tiers", _):
            return TierTable
        case ("tiers", _, "wait"):
            return WaitTable
        case ("tiers", _, "limits", _, *within):
            return CohortTable if "cohorts" in within else LaunchTable if within else LimitTable
        case ("overrides", _):
            return OverrideTable
    return PolicyFile
