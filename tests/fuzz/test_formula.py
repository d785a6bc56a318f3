"""The arithmetic of a max: what Python makes of the same text, or a refusal where Python's text is more than that."""

from __future__ import annotations

import ast
import keyword
import re
from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ratelimit.formula import MAX_DEPTH, MAX_LENGTH, OutOfRangeError, parse_formula
from ratelimit.model import FOREVER
from tests.fuzz import edited, fuzzed, grows_linearly

pytestmark = pytest.mark.repeated

NAMES = {"registers": 3, "seats": -7, "_a1": 2**60, "x": 0}
OPERATORS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
}
FORMULAS = st.recursive(
    st.one_of(st.integers(0, 2**55).map(str), st.sampled_from([*NAMES, "1_000", "007", "0"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" + ", "-", " * ", "*", " - "]), inner).map("".join),
        inner.map("({})".format),
        inner.map("-{}".format),
        inner.map(" {} ".format),
    ),
    max_leaves=12,
)
PIECES = [
    "(",
    ")",
    "+",
    "-",
    "*",
    "**",
    "/",
    "//",
    "_",
    " ",
    "\t",
    "\n",
    "1",
    "0",
    "9" * 50,
    "x",
    "x.y",
    ",",
    "é",
    "\u0661",
    "\0",
    "1e9",
]


class NoArithmeticError(Exception):
    """It is more than numbers, names, + - * and parentheses."""


def reference(text: str) -> int:
    """What Python makes of it. Raises NoArithmeticError or SyntaxError."""
    if not text.isascii() or re.search(r"[^ 0-9A-Za-z_+*()-]", text):
        raise NoArithmeticError
    text = re.sub(r"(?<![0-9A-Za-z_])0+(?=[0-9])", "", text.strip())  # "007", which Python refuses
    return _value(ast.parse(text, mode="eval").body)


def _value(node: ast.expr) -> int:
    match node:
        case ast.Constant(value) if type(value) is int:
            return value
        case ast.Name(name):
            return max(-FOREVER, min(NAMES.get(name, 0), FOREVER))
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand)
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
            return OPERATORS[type(operator)](_value(left), _value(right))
    raise NoArithmeticError


@fuzzed
@given(edited(FORMULAS, PIECES))
@example("1" + "0" * 900)
@example("_a1*" * 200 + "1")
@example("0_0")
def test_any_text(text: str) -> None:
    """Every text has Python's value, or is refused: too long, too deep, no arithmetic, or out of range."""
    assume(not any(keyword.iskeyword(word) for word in re.findall(r"\w+", text)))
    assume(not re.search(r"\b0[0-9]*_|\b0[xXoObB]|[0-9][eEjJ]", text))  # numbers that are others to Python
    try:
        formula = parse_formula(text)
    except OutOfRangeError:
        reference(text)
        return
    except ValueError:
        if len(text) <= MAX_LENGTH and text.count("(") + text.count("-") <= MAX_DEPTH:
            with pytest.raises((NoArithmeticError, SyntaxError)):
                reference(text)
        return
    assert formula(NAMES) == min(max(reference(text), 0), FOREVER)
    assert parse_formula(formula.text)(NAMES) == formula(NAMES)


@pytest.mark.parametrize("unit", ["1+", "x*", "-", "(", "9", "x", " ", "1*-", "(1)+", "_", "\t", ")("])
def test_time(unit: str) -> None:
    """Four times the text takes no more than linear work, up to the longest that is read at all."""

    def read(text: str) -> None:
        with suppress(ValueError):
            parse_formula(text)(NAMES)

    assert grows_linearly(read, lambda n: unit * (n // len(unit)) + "1", MAX_LENGTH // 4 - 1)
    assert grows_linearly(read, lambda n: unit * (n // len(unit)) + "1", 100_000)


def test_an_attribute_without_end() -> None:
    """A number of 10,000 digits counts as the largest there is: 500 of them are multiplied in no time."""
    assert parse_formula("*".join(["x"] * 500))({"x": 10**10_000}) == FOREVER
    assert parse_formula("x + 1")({"x": -(10**10_000)}) == 0
    assert parse_formula("x - 1")({"x": 10**10_000}) == FOREVER - 1
