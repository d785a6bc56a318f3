"""In which line of a file each key is: tomllib does not tell.

The text is one that tomllib has taken, so this reads no more of TOML than it takes to know where keys and items begin.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping

Path = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BETWEEN = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|' + r"'''.*?'''(?:'{0,2})|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'", re.DOTALL
)
_OTHER = re.compile(r"[^,\]}#\n]+")  # numbers, dates, true and false


def lines_of(text: str) -> Mapping[Path, int]:
    """The line, from 1, of each path of a text in TOML: of a table where it is first written, of an item its own."""
    return _Reader(text).read()


def line_of(path: Path, lines: Mapping[Path, int]) -> int | None:
    """Of the path, or of the nearest above it that is written; None of the whole file."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *[match.end() for match in re.finditer("\n", text)]]
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}  # of tables in an array that is written with [[ ]]

    def read(self) -> dict[Path, int]:
        base: Path = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                base = self._header()
            else:
                self._pair(base)
            self._skip(_SPACE)
        return self._lines

    def _header(self) -> Path:
        of_an_array = self._text.startswith("[[", self._at)
        line = self._line()
        self._at += 1 + of_an_array
        *above, last = self._key()
        self._at += 1 + of_an_array
        path: Path = ()
        for step in above:
            path = self._inside((*path, step), line)
        path = (*path, last)
        if of_an_array:
            self._found(path, line)
            self._counts[path] = self._counts.get(path, 0) + 1
        return self._inside(path, line)

    def _inside(self, path: Path, line: int) -> Path:
        """The table at a path; of an array of tables the one that was begun last."""
        self._found(path, line)
        if path in self._counts:
            path = (*path, self._counts[path] - 1)
            self._found(path, line)
        return path

    def _pair(self, base: Path) -> None:
        line = self._line()
        for step in self._key():
            base = (*base, step)
            self._found(base, line)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(base)

    def _key(self) -> list[str]:
        """Up to what follows it: `=`, or `]`."""
        steps = []
        while True:
            self._skip(_BLANK)
            bare = self._take(_BARE)
            steps.append(bare or tomllib.loads(f"key = {self._take(_STRING)}")["key"])
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return steps
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first == "[":
            self._items(path)
        elif first == "{":
            self._table(path)
        elif not self._take(_STRING):
            self._skip(_OTHER)

    def _items(self, path: Path) -> None:
        self._at += 1
        number = 0
        while not self._ends("]"):
            item = (*path, number)
            self._found(item, self._line())
            self._value(item)
            number += 1

    def _table(self, path: Path) -> None:
        self._at += 1
        while not self._ends("}"):
            self._pair(path)

    def _ends(self, bracket: str) -> bool:
        """Whether a list or an inline table ends here; a comma is stepped over, and so is that end."""
        self._skip(_BETWEEN)
        ended = self._text[self._at] == bracket
        self._at += ended
        return ended

    def _found(self, path: Path, line: int) -> None:
        self._lines.setdefault(path, line)

    def _line(self) -> int:
        return bisect_right(self._starts, self._at)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]
