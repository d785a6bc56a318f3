"""The report: RESULTS.md and the pictures in plots/, made of results.json and nothing else.

`python -m benchmarks.report` makes them again from the results that are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.plots import svg
from benchmarks.section import Cell, Figure, Plot, Section, from_json, to_json

FOLDER = Path(__file__).parent
RESULTS = "results.json"
REPORT = "RESULTS.md"
PLOTS = "plots"


def write(sections: Sequence[Section], *, command: str, folder: Path = FOLDER) -> None:
    """Keep what was measured here and now by `command`, and report on it."""
    measured = [section for section in sections if section.name != machine.NAME]
    (folder / RESULTS).write_text(to_json([*measured, machine.section(command)]) + "\n")
    render(folder)


def render(folder: Path = FOLDER) -> None:
    """The report on the results that are in a folder. Pictures that are no longer in it are removed."""
    sections = from_json((folder / RESULTS).read_text())
    (folder / REPORT).write_text(report(sections))
    pictures = {f"{plot.name}.svg": svg(plot) for section in sections for plot in section.plots}
    plots = folder / PLOTS
    plots.mkdir(exist_ok=True)
    for old in plots.glob("*.svg"):
        if old.name not in pictures:
            old.unlink()
    for name, picture in pictures.items():
        (plots / name).write_text(picture)


def report(sections: Sequence[Section]) -> str:
    """In Markdown: the goals, then section by section what was measured."""
    figures = [figure for section in sections for figure in section.figures]
    blocks = [
        "# Results",
        "Written by `python -m benchmarks` from [results.json](results.json); nothing here is typed by hand.",
        "## Goals",
        markdown(("what", "goal", "measured", "reached", ""), [_goal(figure) for figure in figures]),
    ]
    for section in sections:
        blocks += [f"## {section.title}", section.text, *_parts(section)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table; columns of numbers are set to the right."""
    numeric = [bool(rows) and all(isinstance(row[c], int | float) for row in rows) for c in range(len(columns))]
    ruler = [" ---: |" if right else " --- |" for right in numeric]
    lines = [[*map(cell, columns)], *([*map(cell, row)] for row in rows)]
    head, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|" + "".join(ruler), *body])


def cell(value: Cell | None) -> str:
    """A number with commas between its thousands; a text without what would end the cell."""
    if isinstance(value, str) or value is None:
        return (value or "").replace("|", "\\|").replace("\n", " ")
    return f"{value:,}"


def _parts(section: Section) -> Iterator[str]:
    for plot in section.plots:
        yield from (_picture(plot), plot.note)
    for table in section.tables:
        yield from (f"### {table.title}", markdown(table.columns, table.rows), table.note)


def _goal(figure: Figure) -> Sequence[Cell]:
    return (figure.what, figure.goal, figure.value, "yes" if figure.reached else "**no**", figure.note)


def _picture(plot: Plot) -> str:
    return f"![{plot.title}]({PLOTS}/{plot.name}.svg)"


if __name__ == "__main__":
    render()
