"""The map of the house in CONTRIBUTING.md is of this house, and its typical changes name files that are there."""

from __future__ import annotations

import re

import pytest

from tests.packaging import ROOT
from tests.packaging.test_layers import FILES, HEIGHT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HOUSE = ROOT / "ratelimit"


def table(head: str) -> list[list[str]]:
    """The rows of the table that begins so, by cell."""
    lines = TEXT[TEXT.index(head) :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def named(cell: str) -> list[str]:
    """The files and folders of a cell."""
    return [name for name in re.findall("`([^`]+)`", cell) if re.fullmatch(r"[\w/]+(\.py|\.lua|/)", name)]


ROOMS = {named(room)[0].rstrip("/"): (what, files) for room, what, files in table("| room | ")}
CHANGES = {change: named(files) for change, files in table("| change | ")}


def test_every_room_is_on_the_map() -> None:
    """Each folder and each file beside them has a row, and a row is of one that is there."""
    rooms = {path.rpartition("/")[0] or path for path in FILES} - {"__init__.py"}
    assert set(ROOMS) == rooms


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_of_a_room_is_named(room: str) -> None:
    """Each once, the one to read first before the others; and it is said what the room knows."""
    what, files = ROOMS[room]
    first, _, others = files.partition("; ")
    listed = named(files)
    there = [path.rpartition("/")[2] for path in FILES if path.rpartition("/")[0] == room]
    assert sorted(listed) == sorted(name for name in there if name != "__init__.py")
    assert len(named(first)) == (len(listed) > 0)
    assert named(others) == listed[1:]
    assert len(what) > 20


def test_rows_are_in_the_direction_of_imports() -> None:
    """No room is above one that it may be imported by."""
    heights = [HEIGHT[room.removesuffix(".py")] for room in ROOMS if room != "stores/lua/lib"]  # no Python there
    assert heights == sorted(heights, reverse=True)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_names_files_that_are_there(change: str) -> None:
    """And few of them."""
    files = CHANGES[change]
    assert 1 <= len(files) <= 11
    assert [name for name in files if not ((HOUSE / name).exists() or (ROOT / name).exists())] == []


def test_ten_changes_and_more() -> None:
    """Each for something else."""
    assert len(CHANGES) >= 10
    assert len({tuple(files) for files in CHANGES.values()}) == len(CHANGES)
