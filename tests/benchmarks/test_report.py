"""The report is made of results.json alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.section import to_json
from tests.benchmarks import sample


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / report.RESULTS).write_text(to_json(sample.sections()))
    return tmp_path


def test_goals_come_first(folder: Path) -> None:
    """Each figure is a row with its goal, what was measured, and whether that is enough."""
    report.render(folder)
    goals = (folder / report.REPORT).read_text().partition("## Throughput")[0]
    assert "| kept | >= 0.92 | 0.93 | yes |  |" in goals
    assert "| calls | <= 1/16 | 1/8 | **no** | too many |" in goals


def test_sections_follow(folder: Path) -> None:
    """Text, pictures, tables and notes, in the order of the results; a | in a name does not end its cell."""
    report.render(folder)
    text = (folder / report.REPORT).read_text()
    parts = [
        "What was done.",
        "![Throughput <kept>](plots/kept.svg)",
        "Of a plot.",
        "### FastAPI",
        "A note.",
        "## Latency",
    ]
    assert sorted(parts, key=text.index) == parts
    assert "| ratelimit \\| ours | 0.93 | 5,200 |" in text
    assert "| --- | ---: | ---: |" in text


def test_pictures_of_another_run_go(folder: Path) -> None:
    """plots/ has the pictures of these results, and no other."""
    (folder / report.PLOTS).mkdir()
    (folder / report.PLOTS / "old.svg").touch()
    report.render(folder)
    assert {path.name for path in (folder / report.PLOTS).iterdir()} == {"kept.svg", "latency.svg"}


def test_a_run_says_where_it_was(tmp_path: Path) -> None:
    """What is written holds the machine, the versions and the command, and the report can be made of it again."""
    report.write(sample.sections(), command="python -m benchmarks --short", folder=tmp_path)
    first = (tmp_path / report.REPORT).read_text()
    for part in (
        "`python -m benchmarks --short`",
        "| cores |",
        "| python |",
        "| redis-py |",
        "| slowapi |",
        "| commit |",
    ):
        assert part in first
    report.render(tmp_path)
    assert (tmp_path / report.REPORT).read_text() == first
