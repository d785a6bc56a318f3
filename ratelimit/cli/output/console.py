"""A console for texts that others have made up: nothing in them is markup, or a sequence that a terminal obeys."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ratelimit.ground.printable import printable

WIDTH = 80  # of what goes into a pipe or a file; COLUMNS says otherwise


def console(*, stderr: bool = False) -> Console:
    """As wide as the terminal, else 80 columns; without colours where NO_COLOR says so, or there is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, TextIOWrapper):  # ours are UTF-8; a terminal may be of the last century
        stream.reconfigure(errors="backslashreplace")
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal and not os.environ.get("COLUMNS", "").isdecimal():
        made.width = WIDTH
    return made


def say(text: object, style: str = "", *, stderr: bool = False) -> None:
    """A line; what is not printable is escaped. On a terminal it is wrapped, in a pipe it stays whole, for grep."""
    out = console(stderr=stderr)
    out.print(Text(printable(text), style), soft_wrap=not out.is_terminal)


@contextmanager
def unlogged() -> Iterator[None]:
    """What a middleware would log of an app or a caller is no part of an answer that says it, or is of one call."""
    log = logging.getLogger("ratelimit")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """In 80 columns, or those of the terminal: what is longer goes on in the next line of its cell."""
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*[Text(printable(cell)) for cell in row])
    out = console()
    if out.is_terminal:
        out.print(shown)
        return
    with out.capture() as captured:  # the spaces at the ends of lines are for a terminal's sake
        out.print(shown)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
