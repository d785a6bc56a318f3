"""One file for each thing that is legal and can hardly be meant. The lines with `#!` are what the log says of it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ratelimit.config import PolicyError, load_policy, parse_policy
from ratelimit.config.checks.methods import KNOWN, USUAL, meant, one_edit
from ratelimit.config.load import WARNED

ODD = sorted((Path(__file__).parent / "odd").glob("*.toml"))
GOOD = sorted((Path(__file__).parent / "good").glob("*.toml"))


@pytest.mark.parametrize("path", ODD, ids=lambda path: path.stem)
def test_is_loaded_and_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is odd is a line of the log each, a warning with its place, once a load; the policy is as it is written."""
    with caplog.at_level(logging.WARNING, "ratelimit"):
        load_policy(path)
    said = [record.getMessage() for record in caplog.records]
    lines = [line.removeprefix("#! ") for line in path.read_text().splitlines() if line.startswith("#! ")]
    assert said == [f"{path}: {line}" for line in lines]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_what_is_good_is_not_odd(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a file that can be meant nothing is logged."""
    load_policy(path)
    assert not caplog.records


def test_an_error_comes_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A file with a mistake is not read on: what is odd in it is said when the mistake is mended."""
    text = "[tiers.Basic]\nlimits = []\n[tiers.basic]\nlimits = []\n{}"
    with pytest.raises(PolicyError) as error:
        parse_policy(text.format(""))
    assert len(error.value.problems) == 1
    assert not caplog.records
    parse_policy(text.format("[tiers.anonymous]\nlimits = []"))
    assert len(caplog.records) == 1


def test_thousands_are_cut_short(caplog: pytest.LogCaptureFixture) -> None:
    """Of thousands of odd rules the first are named and the rest are counted."""
    rules = ", ".join(f'"GET /a/{number}"' for number in range(1_000))
    parse_policy(f'tiers.anonymous.limits = []\n[operations]\nall = ["* /a/**"]\nsearch = [{rules}]', "x")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == WARNED + 1
    assert said[-1] == f"x: and {1_000 - WARNED} more that are odd"


@pytest.mark.parametrize(
    ("word", "other", "near"),
    [
        *(
            ("GETT", "GET", True),
            ("GT", "GET", True),
            ("GTE", "GET", True),
            ("GOT", "GET", True),
            ("AGET", "GET", True),
        ),
        *(("EGT", "GET", True), ("G", "GET", False), ("GET", "GET", False), ("TEG", "GET", False), ("", "G", True)),
        *(("PSOTX", "POST", False), ("AB", "BA", True), ("AAB", "AB", True), ("GETGET", "GET", False)),
    ],
)
def test_one_edit(word: str, other: str, near: bool) -> None:
    """One letter more, less or another, or two neighbours the other way round, and no more than that."""
    assert one_edit(word, other) is near
    assert one_edit(other, word) is near


def test_methods() -> None:
    """No method that is known is taken for a slip, and every usual one is known."""
    assert KNOWN.issuperset(USUAL)
    assert [meant(word) for word in ("OPTION", "WEBSOKET", "PATHC", "FETCH", "BREW")] == [
        "OPTIONS",
        "WEBSOCKET",
        "PATCH",
        None,
        None,
    ]
