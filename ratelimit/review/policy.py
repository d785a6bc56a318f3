"""Everything that there is to say of a policy file: mistakes first, then what is only odd."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from ratelimit.config.grammar.messages import Path, PolicyError, Problem
from ratelimit.config.grammar.valid import Valid
from ratelimit.config.load import decoded, examine
from ratelimit.policy import Policy
from ratelimit.review.bounds import pointless
from ratelimit.review.callers import ending, shared, typed, unlike
from ratelimit.review.findings import Finding, Odd, of_odd, of_problem
from ratelimit.review.lines import lines_of
from ratelimit.review.tiers import anonymous_wider, unused


class Review(NamedTuple):
    """Of a file. `policy` is None where there are mistakes, `valid` and `lines` say where in the file something is."""

    policy: Policy | None
    findings: tuple[Finding, ...]
    valid: Valid | None
    lines: Mapping[Path, int]


def review(data: str | bytes, called: str, now_ms: int, *, identifies: bool | None = None) -> Review:
    """What is wrong with a policy file, or odd in it, by its text or its bytes. `identifies`: whether the app that it
    is for says itself who calls; None where that is not known. In the order of the file, what is wrong before all."""
    try:
        text = data if isinstance(data, str) else decoded(data, called)
    except PolicyError as error:
        wrong = [Problem((), said.removeprefix(f"{called}: ")) for said in error.problems]
        return Review(None, tuple(of_problem(one, {}) for one in wrong), None, {})
    valid, policy, problems = examine(text, called)
    read = valid is not None or any(problem.path for problem in problems)
    lines = lines_of(text) if read else {}
    found = [of_problem(problem, lines) for problem in problems]
    if valid is not None and policy is not None:
        found += [of_odd(odd, lines) for odd in _odd(valid, policy, now_ms, identifies)]
    return Review(policy, in_order(found), valid, lines)


def _odd(valid: Valid, policy: Policy, now_ms: int, identifies: bool | None) -> Iterator[Odd]:
    return chain(
        pointless(valid, now_ms),
        unused(valid, identifies=identifies),
        anonymous_wider(valid),
        shared(valid, policy),
        unlike(valid, policy),
        typed(valid),
        ending(valid, now_ms),
    )


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda one: (one.severity != "error", one.line or 0)))
