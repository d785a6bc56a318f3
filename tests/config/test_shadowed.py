"""Rules that are covered by one above them: exactly those, by trying every path there is, and without comparing all."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.config.checks import shadowed
from ratelimit.config.checks.shadowed import OTHER, Earlier, _covers
from ratelimit.operations import Rule
from ratelimit.routes.paths import Segment, Wild
from ratelimit.routes.table import Table

PATTERNS = st.lists(st.sampled_from(["a", "b", Wild.ONE, Wild.REST]), max_size=4)
PATHS = [list(path) for length in range(8) for path in itertools.product(("a", OTHER), repeat=length)]
PATHS += [list(path) for length in range(6) for path in itertools.product(("a", "b", OTHER), repeat=length)]


def takes(pattern: list[Segment]) -> Any:
    table = Table([(pattern, True)])
    return lambda path: table.find(path) is True


@settings(deadline=None)
@given(PATTERNS, PATTERNS)
def test_covers_is_exact(pattern: list[Segment], other: list[Segment]) -> None:
    """A pattern covers another if and only if it takes every path that the other takes."""
    takes_it, takes_other = takes(pattern), takes(other)
    assert _covers(pattern, other) == all(takes_it(path) for path in PATHS if takes_other(path))


@pytest.mark.parametrize(
    ("above", "rule", "covered"),
    [
        (("* /v2/**", "search"), ("GET /v2/x", "write"), True),
        (("* /v2/**", "search"), ("GET /v2", "write"), True),
        (("* /v2/**", "search"), ("* /**", "write"), False),
        (("GET /v2/**", "search"), ("HEAD /v2/x", "write"), True),
        (("HEAD /v2/**", "search"), ("GET /v2/x", "write"), False),
        (("GET /v2/**", "search"), ("POST /v2/x", "write"), False),
        (("GET /v2/**", "search"), ("* /v2/x", "write"), False),
        (("* /v2/**", "search"), ("OPTIONS /v2/x", "write"), False),  # which takes preflights too
        (("OPTIONS /v2/**", "search"), ("OPTIONS /v2/x", "write"), True),
        (("GET /{any}/x", "search"), ("GET /*/x", "write"), True),
        (("GET /*/x", "search"), ("GET /**/x", "write"), False),
        (("GET /*/**", "search"), ("GET /**/x", "write"), True),
        (("GET /**/*", "search"), ("GET /*/**", "write"), True),
        # what charges takes a path whatever its case, what exempts only as it is written
        (("GET /Docs/**", "search"), ("GET /docs/x", "exempt"), True),
        (("GET /Docs/**", "search"), ("GET /docs/x", "write"), True),
        (("GET /docs/**", "exempt"), ("GET /docs/x", "write"), True),
        (("GET /Docs/**", "exempt"), ("GET /docs/x", "write"), False),
        (("GET /Docs/**", "exempt"), ("GET /docs/x", "exempt"), False),
        (("GET /{any}/x", "exempt"), ("GET /Docs/x", "write"), True),
    ],
)
def test_one_rule_and_another(above: tuple[str, str], rule: tuple[str, str], covered: bool) -> None:
    """By method, by pattern and by case."""
    earlier = Earlier()
    earlier.add(Rule.parse(*above), ("operations", above[1], 0))
    assert (earlier.covering(Rule.parse(*rule)) is not None) is covered


def test_the_first_is_named() -> None:
    """Of several that cover it the first is told, and one that takes only some of it is none."""
    earlier = Earlier()
    for number, text in enumerate(("GET /v2/x/**", "GET /*/y/**", "GET /v2/**", "* /**")):
        earlier.add(Rule.parse(text, "search"), ("operations", "search", number))
    assert earlier.covering(Rule.parse("GET /v2/*/x", "write")) == ("operations", "search", 2)
    assert earlier.covering(Rule.parse("GET /v1", "write")) == ("operations", "search", 3)


@pytest.mark.parametrize(
    "rule",
    [
        "GET /v/{{id}}/a{n}/**",
        "GET /**/a{n}/**",
        "GET /v/*/**/a{n}",
        "POST /a{n}",
        "* /{{id}}/{{other}}/a{n}",
    ],
)
def test_thousands_are_not_compared_with_each_other(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule is compared with the few that take an example of its paths."""
    compared = 0

    def counting(pattern: list[Segment], other: list[Segment]) -> bool:
        nonlocal compared
        compared += 1
        return _covers(pattern, other)

    monkeypatch.setattr(shadowed, "_covers", counting)
    earlier = Earlier()
    for number in range(1_000):
        parsed = Rule.parse(rule.format(n=number), "search")
        assert earlier.covering(parsed) is None
        earlier.add(parsed, ("operations", "search", number))
    assert compared <= 1_000


def test_a_comparison_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two patterns can be followed in too many ways nothing is said of them."""
    many: list[Segment] = [segment for _ in range(9) for segment in (Wild.REST, "a")]
    assert _covers(many, many)
    monkeypatch.setattr(shadowed, "STEPS", 9)
    assert not _covers(many, many)
