"""In which line of a file each key is."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.review.lines import line_of, lines_of

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("examples/*/ratelimit.toml"), *ROOT.glob("tests/config/*/*.toml")])

TEXT = '''\
style = "ietf"   # 1
"a.b".'c d'."\\u00e9" = 1

[tiers.anonymous]   # [not.a.table]
limits = [  # 5
  { name = "ip", rate = "60/minute" }, # ]


  { name = "x", rate = """
10/minute""", operations = ["]", '[', ] },
]
[[keys]]   # 12
sha256 = \'\'\'x\'\'\'
from = 2026-05-19T00:00:00Z
[[keys]]
sha256 = 'y'
[keys.attributes] # 17
registers=3
[[keys.more]]
a = {}
[[keys.more]]
b.c = {d = [[1, 2], [{e = 0x1F}]], f = """"quoted"""""}
'''


def paths(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    for step, item in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from paths(item, (*path, step))


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_every_kind_of_key(ends: str) -> None:
    """Dotted, quoted and bare keys, lists over lines, tables in arrays and within each other: each has its line."""
    lines = lines_of(TEXT.replace("\n", ends))
    assert set(lines) == set(paths(tomllib.loads(TEXT)))
    assert {path: lines[path] for path in [("style",), ("a.b",), ("a.b", "c d", "é")]} == {
        ("style",): 1,
        ("a.b",): 2,
        ("a.b", "c d", "é"): 2,
    }
    limits = ("tiers", "anonymous", "limits")
    assert [lines[limits[:n]] for n in (1, 2, 3)] == [4, 4, 5]
    assert [lines[(*limits, 0, "rate")], lines[(*limits, 1)], lines[(*limits, 1, "rate")]] == [6, 9, 9]
    assert lines[(*limits, 1, "operations", 1)] == 10
    assert [lines["keys", 0], lines["keys", 0, "from"], lines["keys", 1], lines["keys", 1, "sha256"]] == [
        12,
        14,
        15,
        16,
    ]
    assert [lines["keys", 1, "attributes"], lines["keys", 1, "attributes", "registers"]] == [17, 18]
    assert [lines["keys", 1, "more", 0, "a"], lines["keys", 1, "more", 1], lines["keys", 1, "more", 1, "b"]] == [
        20,
        21,
        22,
    ]
    assert lines["keys", 1, "more", 1, "b", "c", "d", 1, 0, "e"] == 22


@pytest.mark.parametrize("text", ["", "# nothing", "\n\n", "a = 1", "\ufeff"[1:] + "[a]"])
def test_little(text: str) -> None:
    """Of an empty file there is nothing to tell, and the last line needs no end."""
    assert set(lines_of(text)) == set(paths(tomllib.loads(text)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_files(file: Path) -> None:
    """Each key of each policy that there is here is found, and no other."""
    try:
        text = file.read_text("utf-8")
        written = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    assert set(lines_of(text)) == set(paths(written))


KEYS = st.one_of(st.from_regex(r"\A[A-Za-z0-9_-]{1,5}\Z"), st.text(st.sampled_from("ab .\"'\\]=#é\n"), max_size=4))
VALUES: Any = st.recursive(
    st.one_of(st.integers(-5, 5), st.booleans(), st.text(st.sampled_from("ab]}#,\"'\\\n="), max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def written(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(key)} = {written(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[ # ]\n" + "".join(f"{written(item)}, # , ]\n" for item in value) + "]"
    return quoted(value) if isinstance(value, str) else str(value).lower()


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.lists(st.dictionaries(KEYS, VALUES, max_size=2), max_size=3))
def test_whatever_is_written(table: dict[str, Any], array: list[dict[str, Any]]) -> None:
    """Each path that tomllib finds has a line, in which its key stands."""
    text = "".join(f"{quoted(key)} = {written(value)}\n" for key, value in table.items() if key != "x")
    for one in array:
        text += "[[x]]\n" + "".join(f"{quoted(key)} = {written(value)}\n" for key, value in one.items())
    lines = lines_of(text)
    assert set(lines) == set(paths(tomllib.loads(text)))
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert (quoted(path[-1]) if path != ("x",) else "[[x]]") in text.splitlines()[line - 1]


def test_the_nearest() -> None:
    """What is missing is told where it should be; of the whole file there is no line."""
    lines = lines_of("\n[tiers]\n[tiers.a]\nlimits = []")
    assert line_of(("tiers", "a", "limits", 0, "name"), lines) == 4
    assert line_of(("tiers", "anonymous"), lines) == 2
    assert line_of(("keys", 0), lines) is None
    assert line_of((), lines) is None
