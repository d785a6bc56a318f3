"""How much of each limit is used, as bars that fit 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ratelimit.ground.printable import printable

BAR = 20  # characters
NEAR, NEARER = 0.8, 0.95  # shares of a max that are told apart by their colour


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A column that begins with > is of numbers. A cell that is a Text is taken as it is."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name in columns:
        right = name.startswith(">")
        made.add_column(name.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*[cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row])
    return made


def bar(used: int, most: int, out: Console) -> Text:
    """How much of a max is used: full only where all of it is, empty only where nothing is."""
    share = min(1.0, used / most) if most else 1.0
    filled = round(share * BAR)
    if 0 < used < most:
        filled = min(max(filled, 1), BAR - 1)
    full, empty = "█░" if out.encoding.lower().startswith("utf") else "#."
    colour = "red" if share >= NEARER else "yellow" if share >= NEAR else "green"
    return Text(full * filled, colour) + Text(empty * (BAR - filled), "dim")
