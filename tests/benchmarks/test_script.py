"""What decisions are measured over: each case has the limits that its name says, and a counter for each."""

from __future__ import annotations

import pytest

from benchmarks import charges, script
from benchmarks.script import CASES, GOAL, GOAL_OF_TEN, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}, {case.max}")
def test_limits(case: Case) -> None:
    """As many as are named; nine rates and a quota are ten, over windows of different lengths."""
    (first, *_) = case.charges()
    assert len(first) == (10 if case is GOAL_OF_TEN else len(case.limits.split(", ")))
    assert len({charge.key for charge in first}) == len(first)


def test_names() -> None:
    """The first of a kind has the kind's name, which is in its key; the next ones are numbered."""
    made = charges.policy('rate = "1/minute"', 'quota = "1/month"', 'rate = "2/hour"')
    (first,) = charges.charges_of(made, 1)
    assert [charge.limit.name for charge in first] == ["rate", "quota", "rate 2"]


def test_goals() -> None:
    """Each server has one for a rate and a quota; ten limits have one for both."""
    assert GOAL in CASES
    assert max(script.GOALS.values()) < script.OF_TEN
