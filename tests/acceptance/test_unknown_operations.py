"""An operation that the policy does not know is told once, where a limit lists operations: it may be a slip."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ratelimit import Identity, Policy, RateLimitMiddleware
from ratelimit.operations import ClassifyByRules, Rule
from tests.acceptance import ask, plain, policy, run

LISTING = '{ name = "all", rate = "9/minute" }, { name = "s", rate = "9/minute", operations = ["search"] }'
TABLE = '{ name = "all", rate = "9/minute", cost = { export = 5 } }'
EXPORT = "[operations]\nexport = []\n"
DECLARED = "[operations]\nbatch = []\nexempt = []\n"
BUILT_IN = "connect, create, detail_read, heavy_write, search, write"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "ratelimit")
    return caplog


def said(lines: pytest.LogCaptureFixture) -> list[str]:
    texts = [record.getMessage() for record in lines.records]
    return [text for text in texts if text.startswith("classify")]


def told(name: str, known: str, hint: str = ".") -> str:
    return (
        f'classify gave the operation "{name}", which the policy does not know{hint} The limits that list their'
        f" operations do not count it. If that is meant, declare it: {name} = [] in [operations]. Known: {known}."
        " This is logged once."
    )


@pytest.mark.parametrize(
    ("limits", "more", "operation", "expected"),
    [
        (LISTING, "", "serach", [told("serach", BUILT_IN, '; did you mean "search"?')]),
        (LISTING, "", "Search", [told("Search", BUILT_IN, '; did you mean "search"?')]),
        (LISTING, "", "", [told("", BUILT_IN)]),
        (LISTING, "", "exempt", [told("exempt", BUILT_IN, "; did you mean None, which is exempt?")]),
        (
            TABLE,
            EXPORT,
            "reindex",
            [told("reindex", "connect, create, detail_read, export, heavy_write, search, write")],
        ),
        (TABLE, EXPORT, "export", []),
        (LISTING, DECLARED, "batch", []),
        (LISTING, "", "write", []),
        (LISTING, "", "search", []),
        ('{ name = "all", rate = "9/minute" }', "", "serach", []),
    ],
)
def test_what_is_told(
    lines: pytest.LogCaptureFixture, limits: str, more: str, operation: str, expected: list[str]
) -> None:
    """Not the built-in ones, nor those that are declared or that a limit names, nor where no limit names any."""
    for attributes in ({}, {"seats": 3}):
        lines.clear()
        limiter = RateLimitMiddleware(
            plain,
            policy(limits, more),
            store="memory://",
            identify=lambda _, attributes=attributes: Identity(user="ana", tier="basic", attributes=attributes),
            classify=lambda _: operation,
        )

        async def test(limiter: RateLimitMiddleware = limiter) -> None:
            for _ in range(3):
                await ask(limiter)

        run(test())
        assert said(lines) == expected


def test_each_is_told_though_others_came_before(lines: pytest.LogCaptureFixture) -> None:
    """A caller who is remembered with one operation comes with the next; of so many it is said, and no more."""
    names = iter(f"operation {number}" for number in range(300))
    limiter = RateLimitMiddleware(plain, policy(LISTING), store="memory://", classify=lambda _: next(names))

    async def test() -> None:
        for _ in range(300):
            await ask(limiter)

    run(test())
    assert len(set(said(lines))) == len(said(lines)) == 100


def test_a_name_that_somebody_made_up(lines: pytest.LogCaptureFixture) -> None:
    """It stays in its line, whatever is in it."""
    made: Any = policy(LISTING)
    made.charges(Identity(user="ana", tier="basic"), "a\nb" + "x" * 10_000)
    (line,) = said(lines)
    assert "\n" not in line
    assert len(line) < 2_000


def test_a_policy_by_hand(lines: pytest.LogCaptureFixture) -> None:
    """It says by `operations` which names its classify may give."""
    made = policy(LISTING)
    own = Policy(made.tiers, made.identify, made.classify, made.style, made.address, operations=frozenset({"batch"}))
    own.charges(Identity(user="ana", tier="basic"), "batch")
    assert said(lines) == []
    own.charges(Identity(user="ana", tier="basic"), "bath")
    assert len(said(lines)) == 1


def test_the_rules_of_a_policy_by_hand(lines: pytest.LogCaptureFixture) -> None:
    """What its own rules give is known."""
    made = policy(LISTING)
    rules = ClassifyByRules([Rule("GET", "/export", "export"), Rule("GET", "/health", None)])
    own = Policy(made.tiers, made.identify, rules, made.style, made.address)
    for operation in ("export", "exprot"):
        own.charges(Identity(user="ana", tier="basic"), operation)
    assert len(said(lines)) == 1
