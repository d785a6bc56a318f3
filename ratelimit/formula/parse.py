"""The arithmetic of a max: `300 * registers + 50`, computed from the attributes of the caller.

    sum     = product (("+" | "-") product)*
    product = factor ("*" factor)*
    factor  = number | attribute | "-" factor | "(" sum ")"

Numbers are whole, with underscores between digits if that reads better (`1_000`). Attributes are ASCII identifiers.
The text is parsed into a short program for a stack; nothing of it is ever evaluated as code. While it is parsed, the
range of each part is kept, for attributes from 0 on: what no attribute could bring into 0..2**53 is refused.
"""

from __future__ import annotations

import logging
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from ratelimit.formula.ranges import End, Range, difference, product, total
from ratelimit.model import FOREVER

MAX_LENGTH = 1000  # characters; the page of a real policy has formulas of 20
MAX_DEPTH = 50  # of parentheses and minus signs within each other; far below Python's own limit of 1000

_ALLOWED = "whole numbers, names of attributes, + - * and parentheses"
_TOKEN = re.compile(r" *(?:([0-9]+(?:_[0-9]+)*)|([A-Za-z_][A-Za-z0-9_]*)|([-+*()]))", re.ASCII)

_Combine = Callable[[int, int], int]
_Step = int | str | _Combine  # push a number, push an attribute, combine the upper two

_log = logging.getLogger("ratelimit")


class OutOfRangeError(ValueError):
    """A formula that can be read, with a value that no limit can have."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A max as a function of attributes: `parse_formula("300 * registers + 50")({"registers": 3})` is 950.

    Below 0 counts as 0, and above FOREVER as FOREVER. An attribute that is missing or no whole number counts as 0, and
    is logged once for each formula and name. `names` are the attributes that it reads, `most` is the largest value that
    it can have, infinite where there is no end to it.
    """

    text: str
    names: frozenset[str] = field(compare=False)
    most: End = field(compare=False, repr=False)
    _program: tuple[_Step, ...] = field(compare=False, repr=False)
    _constant: int | None = field(compare=False, repr=False)
    _missed: set[str] = field(compare=False, repr=False, default_factory=set)

    def __call__(self, attributes: Mapping[str, str | int]) -> int:
        if self._constant is not None:
            return self._constant
        return _within_bounds(_run(self._program, lambda name: self._value(attributes, name)))

    def _value(self, attributes: Mapping[str, str | int], name: str) -> int:
        value = attributes.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return max(-FOREVER, min(value, FOREVER))  # 500 factors of thousands of digits would take seconds
        if name not in self._missed:
            self._missed.add(name)
            what = "is missing" if value is None else f"is of type {type(value).__name__}, not a whole number,"
            _log.warning('the attribute "%s" %s and counts as 0 in the limit "%s"', name, what, self.text)
        return 0


def parse_formula(text: str) -> Formula:
    """Read a formula. ValueError says at which character, counted from 1, it can't be read, and what is allowed;
    OutOfRangeError, that a number in it or all of it is beyond 2**53, or never above 0 and not 0 itself."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a formula has at most {MAX_LENGTH} characters, this one has {len(text)}")
    parser = _Parser(_tokens(text))
    least, most = parser.sum(depth=0)
    parser.expect_end()
    constant = int(least) if least == most else None
    if most < 0 or least < 0 == most:
        raise OutOfRangeError(f"{_comes_to(constant, 'at most', most)}; the least is 0, which closes the limit")
    if least > FOREVER:
        raise OutOfRangeError(f"{_comes_to(constant, 'at least', least)}; the most is {FOREVER}")
    program = tuple(parser.program)
    names = frozenset(step for step in program if isinstance(step, str))
    return Formula(text.strip(), names, most, program, constant)


def _within_bounds(value: int) -> int:
    return min(max(value, 0), FOREVER)


def _run(program: tuple[_Step, ...], value_of: Callable[[str], int]) -> int:
    """Run a program. Python's integers have no upper end, so nothing overflows on the way."""
    stack: list[int] = []
    for step in program:
        if isinstance(step, int):
            stack.append(step)
        elif isinstance(step, str):
            stack.append(value_of(step))
        else:
            right = stack.pop()
            stack[-1] = step(stack[-1], right)
    return stack[0]


def _tokens(text: str) -> list[tuple[str, int]]:
    """Every token with its position from 1, and an empty one at the end."""
    tokens = []
    position = 0
    end = len(text.rstrip(" "))
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:].lstrip(" ")
            raise _unexpected(rest[0], len(text) - len(rest) + 1)
        tokens.append((match[match.lastindex or 0], match.start(match.lastindex or 0) + 1))
        position = match.end()
    return [*tokens, ("", end + 1)]


def _unexpected(token: str, position: int) -> ValueError:
    what = (
        f'"{token}" at character {position} is not expected' if token else f"it ends too early, at character {position}"
    )
    return ValueError(f"{what}; a formula is made of {_ALLOWED}")


def _sound(value: Range, position: int) -> Range:
    """OutOfRangeError where a part comes to one number that nothing can hold, whatever stands beside it."""
    least, most = value
    if least == most and abs(most) > FOREVER:
        raise OutOfRangeError(f"{_short(most)} at character {position} is too large; the most is {FOREVER}")
    return value


def _comes_to(constant: int | None, word: str, end: End) -> str:
    if constant is not None:
        return f"it comes to {_short(constant)}"
    return f"with attributes of 0 or more it is {word} {_short(end)}"


def _short(number: End) -> str:
    """A number of hundreds of digits would be all that one reads."""
    text = str(number)
    return text if len(text) <= 40 else f"{text[:20]}…"


@dataclass(slots=True)
class _Parser:
    """Recursive descent. Writes the program in postfix order, so that running it needs no recursion."""

    tokens: list[tuple[str, int]]
    at: int = 0
    program: list[_Step] = field(default_factory=list)

    def sum(self, depth: int) -> Range:
        value = self.product(depth)
        while (sign := self.tokens[self.at][0]) in ("+", "-"):
            position = self.tokens[self.at][1]
            self.at += 1
            other = self.product(depth)
            self.program.append(operator.add if sign == "+" else operator.sub)
            value = _sound(total(value, other) if sign == "+" else difference(value, other), position)
        return value

    def product(self, depth: int) -> Range:
        value = self.factor(depth)
        while self.tokens[self.at][0] == "*":
            position = self.tokens[self.at][1]
            self.at += 1
            value = _sound(product(value, self.factor(depth)), position)
            self.program.append(operator.mul)
        return value

    def factor(self, depth: int) -> Range:
        symbol, position = self.tokens[self.at]
        self.at += 1
        if depth > MAX_DEPTH:
            raise ValueError(
                f"more than {MAX_DEPTH} parentheses or minus signs within each other, at character {position}"
            )
        if symbol == "-":
            self.program.append(0)
            value = difference((0, 0), self.factor(depth + 1))
            self.program.append(operator.sub)
            return value
        if symbol == "(":
            value = self.sum(depth + 1)
            self.expect_closed(position)
            return value
        if symbol[:1].isdigit():
            number = int(symbol)
            self.program.append(number)
            return _sound((number, number), position)
        if symbol.isidentifier():
            self.program.append(symbol)
            return (0, inf)
        raise _unexpected(symbol, position)

    def expect_closed(self, opened: int) -> None:
        symbol, position = self.tokens[self.at]
        if symbol == "":
            raise ValueError(f"the parenthesis at character {opened} is never closed")
        if symbol != ")":
            raise _unexpected(symbol, position)
        self.at += 1

    def expect_end(self) -> None:
        symbol, position = self.tokens[self.at]
        if symbol:
            raise _unexpected(symbol, position)
