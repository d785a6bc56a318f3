"""What a measure hands to the report: tables, plots, and figures against their goals; as JSON too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Cell = str | int | float
Point = tuple[float | str, float]  # x: a number, or the name of a bar; y


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]  # one cell a column
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture. `name` is that of its file, without a suffix; series are lists of points by their names."""

    name: str
    title: str
    x_label: str
    y_label: str
    kind: Literal["bars", "lines", "points"]
    series: dict[str, list[Point]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table of goals."""

    what: str
    goal: str  # as people write it: ">= 0.92"
    value: float | str
    reached: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """What one measure found. `name` is that of its module; `text` says in plain words what was done."""

    name: str
    title: str
    text: str
    tables: Sequence[Table] = field(default_factory=list)
    plots: Sequence[Plot] = field(default_factory=list)
    figures: Sequence[Figure] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)  # every single run, for who wants to see what a median hides


def to_json(sections: Sequence[Section]) -> str:
    return json.dumps([asdict(section) for section in sections], indent=1)


def from_json(text: str) -> list[Section]:
    """The sections that `to_json` wrote, equal to what they were if they were made of lists."""
    return [_section(fields) for fields in json.loads(text)]


def _section(fields: dict[str, Any]) -> Section:
    return Section(
        fields["name"],
        fields["title"],
        fields["text"],
        [Table(**table) for table in fields["tables"]],
        [_plot(plot) for plot in fields["plots"]],
        [Figure(**figure) for figure in fields["figures"]],
        fields["raw"],
    )


def _plot(fields: dict[str, Any]) -> Plot:
    series = {name: [(x, y) for x, y in points] for name, points in fields["series"].items()}
    return Plot(**{**fields, "series": series})
