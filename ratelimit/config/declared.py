"""A limit that is declared in code, by the grammar and the checks of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ratelimit.config.build import limit_of
from ratelimit.config.checks.whole import check
from ratelimit.config.grammar.messages import PolicyError, Problem
from ratelimit.config.grammar.valid import read_valid
from ratelimit.ground.words import shown
from ratelimit.model import ANONYMOUS, Limit

_ABOVE = 4  # steps of the path of a limit in a file: tiers, the tier, limits, its number


def declared_limit(table: Mapping[str, Any]) -> Limit:
    """The limit of a table as it would stand in a tier. PolicyError with all that is wrong, in the words of a file."""
    file = {"tiers": {ANONYMOUS: {"limits": [dict(table)]}}}
    valid, problems = read_valid(file)
    assert valid is not None  # noqa: S101 - but for the limit, there is nothing that could be wrong
    wrong = [problem for problem in [*problems, *check(valid)] if not problem.odd]
    if wrong:
        called = f"limit {shown(table.get('name'))}"
        raise PolicyError(f"{called}: {Problem(problem.path[_ABOVE:], problem.message)}" for problem in wrong)
    return limit_of(valid.file.tiers[ANONYMOUS].limits[0])
