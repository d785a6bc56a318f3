"""How far something is that takes its time, on a terminal: what was read, how fast, and how long it still takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ratelimit.cli.output.console import console

Tell = Callable[[int, int], None]  # bytes that were read, and lines


@contextmanager
def progress(size: int | None) -> Iterator[Tell | None]:
    """Of so many bytes, None where nobody knows; None where standard error is no terminal."""
    err = console(stderr=True)
    if not err.is_terminal:
        yield None
        return
    columns = TextColumn("{task.fields[lines]}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=size, lines="", rate="")

        def tell(read: int, lines: int) -> None:
            took = bar.tasks[0].elapsed
            rate = f"{lines / took:,.0f}/s" if took else ""
            bar.update(task, completed=read, lines=f"{lines:,} lines", rate=rate)

        yield tell
