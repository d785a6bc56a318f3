"""What the documents show of the command was run: the files are theirs, and so is each line that was printed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.cli import ROOT, run
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

BLOCKS = re.compile(r"^```(console|toml|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "main", raising=False)


def played(text: str) -> int:
    """Each file is written, each command is run, and prints what is shown. How many were run."""
    count = 0
    for language, block in BLOCKS.findall(text):
        named = re.match(r"# ([\w.]+)\n", block)
        if language != "console":
            if named:
                Path(named[1]).write_text(block)
            continue
        for command, output in SHOWN.findall(block):
            program, *arguments = shlex.split(command)
            if program == "ratelimit" and arguments != ["--help"] and ">" not in arguments:
                count += 1
                ran = run(*arguments)
                assert (ran.out + ran.err).rstrip() == output.rstrip(), command
    return count


def test_the_command_line() -> None:
    """docs/command-line.md"""
    assert played((ROOT / "docs" / "command-line.md").read_text()) == 4


def test_the_newcomers_path() -> None:
    """The README's, with the five lines that it begins with as main.py."""
    readme = (ROOT / "README.md").read_text()
    Path("main.py").write_text(re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0])
    path = readme[readme.index("**From the command line**") :]
    assert played(path[: path.index("\nThe distribution is called")]) >= 2
