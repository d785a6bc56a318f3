"""Files that can't be read, and that nothing in a file can make the reading of it fail in another way."""

from __future__ import annotations

import copy
import pickle
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ratelimit.config import PolicyError, load_policy, parse_policy
from ratelimit.config.build import build
from ratelimit.config.checks.whole import check
from ratelimit.config.grammar.messages import Problem, place
from ratelimit.config.grammar.valid import read_valid

GOOD = Path(__file__).parent / "good"


def refusal(path: Path) -> str:
    with pytest.raises(PolicyError) as error:
        load_policy(path)
    return str(error.value)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there, or is a folder, is told with its path."""
    path = tmp_path / "ratelimit.toml"
    assert refusal(path) == f"{path}: can't be read: No such file or directory"
    assert refusal(tmp_path) == f"{tmp_path}: can't be read: Is a directory"


def test_not_utf8(tmp_path: Path) -> None:
    """A file in another encoding is told with the line."""
    path = tmp_path / "ratelimit.toml"
    path.write_bytes(b"# one\n# M\xfcller\n")
    assert refusal(path) == f"{path}: line 2: is not UTF-8, which TOML is always written in"


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 100_000])
def test_absurd(text: str) -> None:
    """Also what the parser of TOML itself does not expect is a PolicyError."""
    with pytest.raises(PolicyError, match=r"^x: "):
        parse_policy(text, "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{'a.' * 50_000}a = 1", "p: has too many lists or tables within each other"),
        (f"[{'x . ' * 100_000}x]", "p: has too many lists or tables within each other"),
        (f"a = {'9' * 5000}", "p: has a number of thousands of digits; a whole number of TOML has 64 bits"),
    ],
)
def test_what_the_parser_is_not_asked(text: str, said: str) -> None:
    """Keys of thousands of steps would take it a minute and gigabytes; of a number it says how to set Python up."""
    with pytest.raises(PolicyError) as error:
        parse_policy(text, "p")
    assert str(error.value) == said


def test_is_a_value_error() -> None:
    """Who knows nothing of this library can catch it, and it survives a process pool."""
    error = PolicyError(["one", "two"])
    assert isinstance(error, ValueError)
    assert str(error) == "one\ntwo"
    assert pickle.loads(pickle.dumps(error)).problems == ("one", "two")  # noqa: S301 made above


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("tiers", "basic", "limits", 0, "rate"), "tiers.basic.limits[0].rate"),
        (("operations", "nightly jobs", 2), 'operations."nightly jobs"[2]'),
        (("überall",), '"überall"'),
    ],
)
def test_place(path: tuple[str | int, ...], text: str) -> None:
    """A place is written as TOML writes it."""
    assert place(path) == text


def test_a_problem_is_one_printable_line() -> None:
    """It goes to a terminal and to the log: what stands in a file ends no line of them, and rings no bell."""
    assert str(Problem(("tiers", "a"), "is no Maß")) == "tiers.a: is no Maß"
    assert str(Problem((), "has\n\x07é\u2028")) == "has\\n\\x07é\\u2028"


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths(item, (*path, key))


def kind(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """What is alike for every tier, operation and item of a list."""
    named = len(path) == 2 and path[0] in ("tiers", "operations")
    return path[0], len(path), None if named or isinstance(path[-1], int) else path[-1]


ODD = [5, -1, 2**60, 1.5, float("inf"), True, "", "x", "é\n", "5/day", [], ["x"], [[]], [{}], {}, {"x": {}}, {"é": 1}]
ODD += [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1), date(2026, 1, 1), None]
FILES = sorted(GOOD.glob("*.toml"))
SEEN: set[tuple[Any, ...]] = set()  # kinds of places, each tried in the first file that has it


def places(file: Path) -> list[tuple[Any, ...]]:
    found = {kind(path): path for path in paths(tomllib.loads(file.read_text()))}
    new = [path for what, path in found.items() if what not in SEEN]
    SEEN.update(found)
    return new


PLACES = {file: places(file) for file in FILES}


@pytest.mark.repeated
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.proof)], ids=["some values", "all values"])
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_any_value_anywhere(file: Path, every: int) -> None:
    """Whatever stands in any place of a file, and whatever is left out, it is a policy or a list of problems."""
    tables = tomllib.loads(file.read_text())
    for number, path in enumerate(PLACES[file]):
        for odd in ODD[number % every :: every]:
            changed = copy.deepcopy(tables)
            node: Any = changed
            for step in path[:-1]:
                node = node[step]
            if odd is None:
                del node[path[-1]]
            else:
                node[path[-1]] = copy.deepcopy(odd)
            valid, problems = read_valid(changed)
            problems += [] if valid is None else check(valid)
            if problems:
                assert all(str(problem) for problem in problems)
            else:
                assert valid is not None
                build(valid.file, "x")


@pytest.mark.repeated
def test_ten_thousand_keys() -> None:
    """A mistake in one of ten thousand keys is found without reading them over and over."""
    keys = [{"sha256": f"{number:064x}", "tier": "a", "organization": f"o{number}"} for number in range(10_000)]
    keys[5000]["tier"] = "b"
    keys[6000]["sha256"] = "x"
    tables = {"keys": keys, "tiers": {"anonymous": {"limits": []}, "a": {"limits": []}}}
    valid, problems = read_valid(tables)
    assert valid is not None
    problems += check(valid)
    assert [place(problem.path) for problem in problems] == ["keys[6000].sha256", "keys[5000].tier"]


def test_ten_thousand_mistakes() -> None:
    """Ten thousand wrong keys are ten thousand problems, in a time that grows with their number alone."""
    tables = {"keys": [{"sha256": "x", "tier": "a"}] * 10_000, "tiers": {"anonymous": {"limits": []}}}
    valid, problems = read_valid(tables)
    assert valid is not None
    assert valid.file.keys == []
    assert [place(problem.path) for problem in problems] == [f"keys[{number}].sha256" for number in range(10_000)]
