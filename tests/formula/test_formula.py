"""The arithmetic of a max: what it computes, what it refuses, and that it never fails on what a caller brings."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.formula import MAX_DEPTH, MAX_LENGTH, OutOfRangeError, parse_formula
from ratelimit.model import FOREVER

NAMES = {"registers": 3, "seats": 7, "_a1": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100", 100),
        ("0", 0),
        ("1_000", 1000),
        ("007", 7),
        (" 100 ", 100),
        ("300 * registers + 50", 950),
        ("300*registers+50", 950),
        ("(300 * registers + 50)", 950),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("20 - 5 - 3", 12),
        ("20 - (5 - 3)", 18),
        ("-5 + 8", 3),
        ("--5", 5),
        ("2 * -3 + 10", 4),
        ("-(registers - seats)", 4),
        ("_a1 * _a1", 4),
        ("registers - seats", 0),
        ("5 - seats", 0),
        (str(FOREVER), FOREVER),
        (f"registers * {FOREVER}", FOREVER),
        ("0 * registers", 0),
        ("5 * 0 - 0", 0),
    ],
)
def test_value(text: str, expected: int) -> None:
    """A formula is arithmetic as everybody knows it, never below 0 nor above the largest max."""
    assert parse_formula(text)(NAMES) == expected


ALLOWED = "; a formula is made of whole numbers, names of attributes, + - * and parentheses"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it ends too early, at character 1" + ALLOWED),
        ("   ", "it ends too early, at character 1" + ALLOWED),
        ("300 *", "it ends too early, at character 6" + ALLOWED),
        ("300 * * 2", '"*" at character 7 is not expected' + ALLOWED),
        ("1.5", '"." at character 2 is not expected' + ALLOWED),
        ("10 / 2", '"/" at character 4 is not expected' + ALLOWED),
        ("2 ** 3", '"*" at character 4 is not expected' + ALLOWED),
        ("100x", '"x" at character 4 is not expected' + ALLOWED),
        ("1__0", '"__0" at character 2 is not expected' + ALLOWED),
        ("a b", '"b" at character 3 is not expected' + ALLOWED),
        ("+5", '"+" at character 1 is not expected' + ALLOWED),
        ("5)", '")" at character 2 is not expected' + ALLOWED),
        ("()", '")" at character 2 is not expected' + ALLOWED),
        ("(5 6)", '"6" at character 4 is not expected' + ALLOWED),
        ("2 * (5 + 6", "the parenthesis at character 5 is never closed"),
        ("\u0661\u0662", '"\u0661" at character 1 is not expected' + ALLOWED),
        ("größe", '"ö" at character 3 is not expected' + ALLOWED),
        ("1 +\t2", '"\t" at character 4 is not expected' + ALLOWED),
        ("__import__('os')", '"\'" at character 12 is not expected' + ALLOWED),
        ("os.system", '"." at character 3 is not expected' + ALLOWED),
        ("a" * 1001, "a formula has at most 1000 characters, this one has 1001"),
        ("-" * 51 + "1", "more than 50 parentheses or minus signs within each other, at character 52"),
        ("(" * 51 + "1" + ")" * 51, "more than 50 parentheses or minus signs within each other, at character 52"),
    ],
)
def test_refused(text: str, message: str) -> None:
    """What is no formula is refused with the place and with what is allowed."""
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 the whole message is compared below
        parse_formula(text)
    assert str(refusal.value) == message


def test_the_longest_and_the_deepest() -> None:
    """At both bounds a formula still works, and a long chain needs no recursion."""
    assert parse_formula("a" * MAX_LENGTH)({}) == 0
    assert parse_formula("-" * MAX_DEPTH + "7")({}) == 7
    assert parse_formula("(" * MAX_DEPTH + "7" + ")" * MAX_DEPTH)({}) == 7
    assert parse_formula("+".join(["1"] * 500))({}) == 500
    assert parse_formula("*".join(["a"] * 500))({"a": FOREVER}) == FOREVER


def test_names_and_text() -> None:
    """A formula knows what it reads, and two of the same text are equal."""
    formula = parse_formula(" 300 * registers + seats - registers ")
    assert formula.names == {"registers", "seats"}
    assert formula.text == "300 * registers + seats - registers"
    assert formula == parse_formula(formula.text)
    assert formula != parse_formula("300")
    assert hash(formula) == hash(parse_formula(formula.text))
    assert repr(parse_formula("5")) == "Formula(text='5', names=frozenset())"


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({}, "is missing"),
        ({"registers": "3"}, "is of type str, not a whole number,"),
        ({"registers": True}, "is of type bool, not a whole number,"),
        ({"registers": 3.0}, "is of type float, not a whole number,"),
    ],
)
def test_no_number(attributes: dict[str, str | int], said: str, caplog: pytest.LogCaptureFixture) -> None:
    """An attribute that is missing or no whole number counts as 0, and is logged once for each formula and name."""
    formula = parse_formula("300 * registers + 50")
    with caplog.at_level(logging.WARNING, logger="ratelimit"):
        assert [formula(attributes), formula(attributes)] == [50, 50]
    assert [record.getMessage() for record in caplog.records] == [
        f'the attribute "registers" {said} and counts as 0 in the limit "300 * registers + 50"'
    ]
    with caplog.at_level(logging.WARNING, logger="ratelimit"):
        parse_formula("registers")(attributes)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-5", "it comes to -5; the least is 0, which closes the limit"),
        ("10 - 20", "it comes to -10; the least is 0, which closes the limit"),
        ("2 * (3 - 5)", "it comes to -4; the least is 0"),
        ("registers * (5 - 10)", "with attributes of 0 or more it is at most 0; the least is 0"),
        ("-registers", "with attributes of 0 or more it is at most 0; the least is 0"),
        ("5 - 10 - registers * seats", "with attributes of 0 or more it is at most -5; the least is 0"),
        (str(FOREVER + 1), f"{FOREVER + 1} at character 1 is too large; the most is {FOREVER}"),
        ("registers * " + "9" * 900, "99999999999999999999… at character 13 is too large"),
        (f"registers * ({FOREVER} + 1)", f"{FOREVER + 1} at character 31 is too large"),
        (f"registers - {FOREVER} * 2", f"{2 * FOREVER} at character 30 is too large"),
        (f"0 - {FOREVER} - 1 + registers", f"{-FOREVER - 1} at character 22 is too large"),
        (
            f"registers + {FOREVER} + 1",
            f"with attributes of 0 or more it is at least {FOREVER + 1}; the most is {FOREVER}",
        ),
    ],
)
def test_what_no_limit_can_have(text: str, message: str) -> None:
    """A number beyond 2**53, and a max that is below 0 or beyond 2**53 whatever its attributes are, is refused."""
    with pytest.raises(OutOfRangeError) as error:
        parse_formula(text)
    assert str(error.value).startswith(message)


@given(
    st.recursive(
        st.integers(0, 10**6).map(str) | st.sampled_from([*NAMES, str(FOREVER), "0", "1"]),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from([" + ", "-", " * "]), inner).map("".join),
            inner.map("({})".format),
            inner.map("-{}".format),
        ),
        max_leaves=20,
    )
)
def test_agrees_with_python(text: str) -> None:
    """Every formula has the value that Python gives to the same text, or is refused, and then it never has a value
    above 0 that a limit can have, or a number in it is too large."""
    values = [
        eval(text, {"__builtins__": {}}, names)  # noqa: S307 made above from numbers, names and + - *
        for names in (dict(NAMES), dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 1), dict.fromkeys(NAMES, 10**9))
    ]
    try:
        formula = parse_formula(text)
    except OutOfRangeError as error:
        if "at character" not in str(error):
            assert all(value <= 0 for value in values) or all(value > FOREVER for value in values)
        return
    assert formula(NAMES) == min(max(values[0], 0), FOREVER)
    assert all(value <= formula.most for value in values)


@given(st.text(max_size=30) | st.text("0123456789ab_+-*() ", max_size=30))
def test_any_text(text: str) -> None:
    """Whatever the text is, it is a formula or a ValueError."""
    try:
        formula = parse_formula(text)
    except ValueError:
        return
    assert 0 <= formula({"a": 5, "b": -5}) <= FOREVER
