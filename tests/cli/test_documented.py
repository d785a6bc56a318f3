"""What the documents show of the command was run: the files are theirs, and so is each line that was printed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks import access_logs
from ratelimit.review.policy import review
from tests.cli import ROOT, run
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

BLOCKS = re.compile(r"^```(console|toml|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLOSED = '{ name = "closed", rate = "0/minute" }'
SHOWN = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "main", raising=False)


def played(text: str) -> int:
    """Each file is written, each command is run, and prints what is shown, as far as `…`. How many were run."""
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
                printed = [line.rstrip() for line in (ran.out + ran.err).rstrip().splitlines()]
                shown = output.rstrip().splitlines()
                if shown[-1] == "…":
                    shown.pop()
                    del printed[len(shown) :]
                assert printed == shown, command
    return count


def test_the_command_line() -> None:
    """docs/command-line.md"""
    assert played((ROOT / "docs" / "command-line.md").read_text()) == 4


def test_the_newcomers_path() -> None:
    """The README's, with the five lines that it begins with as main.py, and a log of the benchmarks."""
    readme = (ROOT / "README.md").read_text()
    Path("main.py").write_text(re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0])
    made = access_logs.written(access_logs.requests(2_000, 80, per_second=1.5), "nginx")
    Path("access.log").write_text("".join(f"{access_logs.nginx(one)}\n" for one in made))
    path = readme[readme.index("**From the command line**") :]
    assert played(path[: path.index("\nThe distribution is called")]) >= 3


def test_no_policy_that_is_shown_is_odd() -> None:
    """Neither the first file that the README shows, nor one of another page, but for that which shows what is odd."""
    odd = set()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for text in re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            whole = text if "[tiers.anonymous]" in text else f"{text}\n[tiers.anonymous]\nlimits = [{CLOSED}]"
            odd |= {(page.name, one.code) for one in review(whole, page.name, 0).findings if one.code != "mistake"}
    assert odd == {("command-line.md", "anonymous-wider"), ("command-line.md", "rule-never-matches")}
