"""What was found, as data: for a terminal, for programs, for annotations of a pull request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from ratelimit.config.grammar.messages import Path, Problem, place
from ratelimit.ground.printable import printable
from ratelimit.review.lines import line_of

Severity = Literal["error", "warning"]

MISTAKE = "mistake"  # the code of every error of a policy file

_LINE = re.compile(r"line (\d+)\b")  # of what the parser says, which knows no paths


class Odd(NamedTuple):
    """What is legal and can hardly be meant, before its line is known."""

    path: Path
    code: str
    sentence: str
    hint: str


@dataclass(frozen=True, slots=True)
class Finding:
    """An error makes a policy or an app useless; a warning is legal, and can hardly be meant.

    `code` is a word that stays the same: `rule-never-matches`. `where` is the path of a key in the file,
    `tiers.basic.limits[0]`, or a route, `GET /invoices/{id}`; empty for all of it. `line` is that of the key, from 1.
    """

    severity: Severity
    code: str
    where: str = field(repr=False)  # may have an API key in it, that stands in the wrong place
    sentence: str
    hint: str = ""
    line: int | None = None

    def __str__(self) -> str:
        said = f"{self.where}: {self.sentence}" if self.where else self.sentence
        return printable(f"{said}; {self.hint}" if self.hint else said)

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def of_problem(problem: Problem, lines: Mapping[Path, int]) -> Finding:
    """A problem of a policy file, where the file could be read as far as that; else it says its line itself."""
    told = None if problem.path else _LINE.match(problem.message)
    line = int(told[1]) if told else line_of(problem.path, lines)
    severity: Severity = "warning" if problem.odd else "error"
    return Finding(severity, problem.odd or MISTAKE, place(problem.path), problem.message, line=line)


def of_odd(odd: Odd, lines: Mapping[Path, int]) -> Finding:
    return Finding("warning", odd.code, place(odd.path), odd.sentence, odd.hint, line_of(odd.path, lines))
