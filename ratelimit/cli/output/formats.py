"""What a command prints besides text: JSON for programs, and annotations of GitHub Actions."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

import typer

from ratelimit.ground.printable import printable

VERSION = 1  # of the JSON: a field that goes or means something else raises it, one that is added does not

Level = Literal["error", "warning", "notice"]


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


FormatOption = Annotated[
    Format,
    typer.Option("--format", help="text for people, json for programs, github for annotations in GitHub Actions."),
]


def emit_json(command: str, payload: Mapping[str, Any]) -> None:
    """One object on standard output, with `version` and `command` first. ASCII, so that every pipe takes it."""
    sys.stdout.write(json.dumps({"version": VERSION, "command": command, **payload}, indent=2) + "\n")


def annotate(level: Level, sentence: str, *, file: str | None = None, line: int | None = None) -> None:
    """A workflow command of GitHub Actions: `::error file=ratelimit.toml,line=3::tiers.basic: is empty`."""
    where = {"file": file, "line": line}
    said = ",".join(f"{name}={_property(str(value))}" for name, value in where.items() if value is not None)
    sys.stdout.write(f"::{level}{' ' if said else ''}{said}::{_data(sentence)}\n")


def _data(text: str) -> str:
    """As the toolkit of GitHub's own actions escapes it; what else is not printable, for whoever reads the log."""
    return "%0A".join(printable(line).replace("%", "%25") for line in text.split("\n"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
