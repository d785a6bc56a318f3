"""Mutants of Lua, by its words: comparisons, arithmetic, numbers, conditions turned round, statements dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.mutants import Mutant, numbered, replaced

WORD = re.compile(
    r"""(?P<comment>--(?:\[\[.*?\]\]|[^\n]*))
      | (?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
      | (?P<number>\b\d+(?:\.\d+)?\b)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<symbol>==|~=|<=|>=|\.\.\.?|[-+*/%^<>=\#(){}\[\],;:.])""",
    re.DOTALL | re.VERBOSE,
)
SYMBOLS = {
    "<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"), "==": ("~=",), "~=": ("==",),
    "+": ("-",), "-": ("+",), "*": ("+",), "/": ("*",), "%": ("+",),
}  # fmt: skip
NAMES = {
    "and": "or", "or": "and", "not": "", "true": "false", "false": "true", "min": "max", "max": "min",
    "min_of": "max_of", "max_of": "min_of", "floor": "ceil", "ceil": "floor",
}  # fmt: skip
CONDITION = re.compile(r"^\s*(?:if|elseif|while) (.+?) (?:then|do)\s*(?:--.*)?$")
STATEMENT = re.compile(r"^\s*(?:(?:redis\.)?p?call\(.*\)|[\w.\[\]+ ,]+ = .*|[a-z_]\w*\(.*\)|return .+)$")


def mutants_of(file: str, source: str) -> list[Mutant]:
    made = []
    for start, end, by in sorted(_edits(source)):
        text, was, becomes = replaced(source, start, end, by)
        before = re.findall(r"^(?:local )?function (\w+)", source[:start], re.MULTILINE)
        where = before[-1] if before and _inside(source, start) else ""
        made.append(Mutant(file, source.count("\n", 0, start) + 1, where, was, becomes, text))
    return numbered(made)


def _inside(source: str, at: int) -> bool:
    """Whether it is in a function: what stands outside of all of them is not indented, or in a loop of its own."""
    opened = [match.start() for match in re.finditer(r"^(?:local )?function", source[:at], re.MULTILINE)]
    return bool(opened) and not re.search(r"^end", source[opened[-1] : at], re.MULTILINE)


def _edits(source: str) -> Iterator[tuple[int, int, str]]:
    yield from _words(source)
    at = 0
    for line in source.splitlines(keepends=True):
        text = line.rstrip("\n")
        bare = text.partition(" --")[0].rstrip()
        if (condition := CONDITION.match(text)) and not text.lstrip().startswith("--"):
            yield at + condition.start(1), at + condition.end(1), f"not ({condition[1]})"
        if STATEMENT.match(bare) and _whole(bare) and not bare.lstrip().startswith(("local ", "--", "return")):
            yield at + len(bare) - len(bare.lstrip()), at + len(bare), ""
        at += len(line)


def _words(source: str) -> Iterator[tuple[int, int, str]]:
    before = ""
    for word in WORD.finditer(source):
        kind, text = word.lastgroup, word[0]
        if kind == "number":
            yield word.start(), word.end(), f"({text} + 1)"
        elif kind == "name" and text in NAMES:
            yield word.start(), word.end(), NAMES[text]
        elif kind == "symbol":
            sign = text == "-" and (not before or before in "(,={[" or before in ("return", "and", "or", "then"))
            for by in ("",) if sign else SYMBOLS.get(text, ()):
                yield word.start(), word.end(), by
        if kind != "comment":
            before = text


def _whole(line: str) -> bool:
    """A statement that ends in its line."""
    plain = re.sub(r"'[^']*'", "''", line)
    balanced = all(plain.count(one) == plain.count(other) for one, other in ("()", "{}", "[]"))
    return balanced and not plain.rstrip().endswith((",", "=", "or", "and", "(", "{")) and " function" not in plain
