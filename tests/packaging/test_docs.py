"""What the documents name is there: tests that a promise is kept by, files, and headings that are linked to."""

from __future__ import annotations

import re

import pytest

from tests.packaging import ROOT

DOCUMENTS = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
PATHS = re.compile(r"(?<![\w/.])(?:tests|docs|examples|benchmarks|ratelimit|stores|config)/[\w./-]*\w")
LINKS = re.compile(r"\]\(([^)\s]+)\)")


def missing(text: str, folder: str = "") -> list[str]:
    """What a document of that folder names or links to, and is not there."""
    paths = [
        path for path in PATHS.findall(text) if not ((ROOT / path).exists() or (ROOT / "ratelimit" / path).exists())
    ]
    links = [link for link in LINKS.findall(text) if "://" not in link and not _leads(link, text, folder)]
    return sorted({*paths, *links})


def _leads(link: str, text: str, folder: str) -> bool:
    file, _, heading = link.partition("#")
    path = ROOT / folder / file if file else None
    if path and not path.exists():
        return False
    return not heading or heading in _headings(path.read_text("utf-8") if path else text)


def _headings(text: str) -> set[str]:
    """As GitHub links to them."""
    lines = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_named_is_there(name: str) -> None:
    """Each path and each link."""
    assert missing((ROOT / name).read_text("utf-8"), name.rpartition("/")[0]) == []


def test_every_promise_names_its_tests() -> None:
    """A row each, and in it what fails without it."""
    text = (ROOT / "docs" / "promises.md").read_text("utf-8")
    rows = text[text.index("| promise |") :].partition("\n\n")[0].splitlines()[2:]
    assert len(rows) > 40
    assert [row for row in rows if not re.search(r"`tests/[\w/.]+`.* \|$", row)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`tests/packaging/test_docs.py`, tests/packaging", []),
        ("`tests/stores/test_group.py`", ["tests/stores/test_group.py"]),
        ("`stores/group.py` and `stores/redis.py`", ["stores/group.py"]),
        ("# One `two`-three\n[x](#one-two-three) [y](#four)", ["#four"]),
        ("[x](README.md#the-store) [y](READ.md) [z](README.md#a-store)", ["READ.md", "README.md#a-store"]),
    ],
)
def test_what_is_not_there_is_found(text: str, expected: list[str]) -> None:
    """A file that moved, and a heading that was renamed."""
    assert missing(text) == expected
