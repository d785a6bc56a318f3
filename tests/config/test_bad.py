"""One file for each mistake. The lines that start with `#!` are the problems that it has, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratelimit.config import PolicyError, load_policy

BAD = sorted((Path(__file__).parent / "bad").glob("*.toml"))
SYNTAX = [path for path in BAD if path.stem.startswith("toml-")]  # in the words of the standard library's parser


def expected(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [f"{path}: {line.removeprefix('#! ')}" for line in lines if line.startswith("#! ")]


def problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as refusal:
        load_policy(path)
    assert str(refusal.value) == "\n".join(refusal.value.problems)
    return refusal.value.problems


@pytest.mark.parametrize("path", [path for path in BAD if path not in SYNTAX], ids=lambda path: path.stem)
def test_mistake(path: Path) -> None:
    """Every mistake is told with its place, with what is wrong and with what is allowed; all of a file at once."""
    assert list(problems(path)) == expected(path)


@pytest.mark.parametrize("path", SYNTAX, ids=lambda path: path.stem)
def test_no_toml(path: Path) -> None:
    """Where a file is no TOML, the line and column are told first; the words after it differ between Pythons."""
    (problem,), (told,) = problems(path), expected(path)
    place = told.removeprefix(f"{path}: ").split(":")[0]
    assert problem.startswith(f"{path}: {place}: ")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_no_secrets(path: Path) -> None:
    """A password of the store, or an API key where it does not belong, is in no message and in nothing it carries."""
    with pytest.raises(PolicyError) as refusal:
        load_policy(path)
    error: BaseException | None = refusal.value
    while error is not None:
        assert "s3cret" not in str(error)
        assert "in-clear" not in str(error)
        error = error.__cause__ or error.__context__


def test_the_files_hold_secrets() -> None:
    """The test above has something to find."""
    texts = [path.read_text() for path in BAD]
    assert sum("s3cret" in text for text in texts) >= 5
    assert sum("in-clear" in text for text in texts) >= 10
