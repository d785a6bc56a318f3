"""How much of each limit a caller has used, as bars that fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ratelimit.explanation.caller import Caller
from ratelimit.explanation.limits import Explained
from ratelimit.explanation.verdict import Usage, Verdict
from ratelimit.explanation.words import amount
from ratelimit.ground.printable import printable
from ratelimit.ground.times import instant, span
from ratelimit.ground.words import listed
from ratelimit.model import Concurrency
from ratelimit.policy.keys import caller as called_by

BAR = 20  # characters
NEAR, NEARER = 0.8, 0.95  # shares of a max that are told apart by their colour


def frame(
    caller: Caller, limits: Sequence[Explained], verdict: Verdict, out: Console, gone: str | None = None
) -> Group:
    """What is seen of a caller. `gone` says why that is not of now."""
    head = f"{called_by(caller.identity)}, tier {caller.tier}, at {instant(verdict.now_ms)}"
    lines: list[Any] = [Text(printable(head), "bold"), Text(), _table(verdict.usage, out)]
    if missing := dict.fromkeys(kind for one in limits for kind in one.without):
        said = f"Counted without {listed(missing)}, which is not said of this caller."
        lines += [Text(), Text(printable(said), "dim")]
    if gone:
        lines += [Text(), Text(printable(gone), "red")]
    return Group(*lines)


def _table(usage: Sequence[Usage], out: Console) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for name in ("limit", "allows"):
        made.add_column(name, overflow="fold")
    made.add_column("used", no_wrap=True)  # the others make room: a `min_width` would have the table cut at its end
    for name in ("", "left"):
        made.add_column(name, overflow="fold", justify="right")
    made.add_column("whole in", no_wrap=True, justify="right")
    for one in usage:
        limit = one.charge.limit
        name = printable(f"{limit.name}{' (in shadow)' if one.shadow else ''}")
        whole = "" if isinstance(limit.kind, Concurrency) or not one.used else span(one.reset_after_ms)
        made.add_row(
            Text(name), amount(limit, one.max), bar(one.used, one.max, out), str(one.used), str(one.left), whole
        )
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
