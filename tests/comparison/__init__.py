"""Two policies, compared."""

from __future__ import annotations

from ratelimit import Policy, parse_policy
from ratelimit.comparison.changes import Change
from ratelimit.comparison.whole import Comparison, compare
from tests.explanation import NOW, TEXT


def changed(*edits: tuple[str, str], text: str = TEXT) -> Comparison:
    """The policy of a text, and of the same with edits: each of a part that is there."""
    return compare(parse_policy(text, "old"), edited(*edits, text=text), NOW)


def edited(*edits: tuple[str, str], text: str = TEXT) -> Policy:
    for before, after in edits:
        assert before in text, before
        text = text.replace(before, after)
    return parse_policy(text, "new")


def sentences(comparison: Comparison) -> list[str]:
    return [change.sentence for change in comparison.changes]


def only(comparison: Comparison) -> Change:
    [change] = comparison.changes
    return change
