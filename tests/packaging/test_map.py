"""The map of the house in CONTRIBUTING.md is of this house."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.packaging import ROOT


def rooms(text: str) -> Iterator[str]:
    """The files and folders of the map, by path in ratelimit/; the first of a row says the folder of the others."""
    for row in re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE):
        first, *others = re.findall("`(.+?)`", row)
        folder = first.rpartition("/")[0] if not first.endswith("/") else ""
        yield first
        yield from (f"{folder}/{other}" if folder else other for other in others)


def test_every_file_is_on_the_map() -> None:
    """Each file of ratelimit/ is named there once, by itself or with its folder, and what is named is there."""
    named = list(rooms((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    house = ROOT / "ratelimit"
    files = [path.relative_to(house).as_posix() for path in house.rglob("*") if path.suffix in {".py", ".lua"}]
    for file in files:
        times = sum(file.startswith(room) if room.endswith("/") else file == room for room in named)
        assert times == (not file.endswith("__init__.py") or file.startswith(("config/", "styles/"))), file
    assert [room for room in named if not (house / room).exists()] == []
    assert len(named) == len(set(named)) > 50
