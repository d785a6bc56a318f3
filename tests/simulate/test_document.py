"""What docs/simulate.md shows was printed: by the commands in it, on the log that it names."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ratelimit.config import parse_policy
from tests.cli import run
from tests.packaging import ROOT

TEXT = (ROOT / "docs" / "simulate.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the logs and the policies."""
    made = tmp_path_factory.mktemp("document")
    policy = next(block for kind, block in BLOCKS if kind == "toml" and block.startswith("# ratelimit.toml"))
    (made / "ratelimit.toml").write_text(policy)
    (made / "new.toml").write_text(policy.replace("120/minute", "60/minute"))
    (made / "plans.toml").write_text(next(block for kind, block in BLOCKS if block.startswith("# plans.toml")))
    (made / "own.log").write_text(next(block for kind, block in BLOCKS if kind == "text"))
    generators = re.findall(r"`python (-m benchmarks\.access_logs [^`]*)`", TEXT)
    for generator, name in zip(generators, ("access.log", "app.jsonl"), strict=True):
        log = subprocess.run([sys.executable, *generator.split()], capture_output=True, check=True, cwd=ROOT)
        (made / name).write_bytes(log.stdout)
    return made


def printed(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    ran = run(*shlex.split(command)[1:])
    assert (ran.code, ran.err) == (int("Nobody" not in ran.out), "")
    return [line.rstrip() for line in ran.out.splitlines()]


@pytest.mark.parametrize("block", [block for kind, block in BLOCKS if kind == "console"])
def test_what_was_printed(block: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of what is shown, between the dots, is a part of what is printed."""
    command, *shown = block.replace("\\\n", "").splitlines()
    whole = "\n".join(printed(command.removeprefix("$ "), folder, monkeypatch))
    for part in "\n".join(shown).split("…"):
        assert part.strip("\n") in whole


def test_verdicts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are shown are in the file."""
    command = next(block for kind, block in BLOCKS if kind == "console" and "--verdicts" in block).splitlines()[0]
    printed(command.removeprefix("$ "), folder, monkeypatch)
    shown = next(block for kind, block in BLOCKS if kind == "json" and "allowed" in block).splitlines()
    assert set(shown) <= set((folder / "verdicts.jsonl").read_text().splitlines())


def test_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--html writes it."""
    printed("ratelimit simulate ratelimit.toml access.log --html report.html", folder, monkeypatch)
    written = (folder / "report.html").read_text("utf-8")
    assert written.startswith("<!DOCTYPE html>")
    assert written.endswith("</html>\n")
    assert len(written.encode()) < 1_000_000


def test_numbers_in_the_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of one limit alone and beside the other is so."""
    monkeypatch.chdir(folder)
    ran = json.loads(run("simulate", "ratelimit.toml", "access.log", "--format", "json").out)
    changes = ran["limits"][1]
    alone = next(point["requests"] for point in changes["points"] if point["threshold"] == changes["present"])
    assert f"alone would deny\n  {alone} requests" in TEXT
    assert f'with "requests" beside it only {changes["denied"]}' in TEXT


def test_several_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole answer is the same by two of them, also in comparison with another policy."""
    monkeypatch.chdir(folder)
    command = ("simulate", "new.toml", "access.log", "--against", "ratelimit.toml", "--format", "json")
    one, two = (json.loads(run(*command, "--jobs", jobs).out) for jobs in "12")
    for answer in (one, two):
        del answer["log"]["seconds"]
    assert one == two


def test_the_table_of_the_record() -> None:
    """[record] as it is shown loads, with its defaults as they are told."""
    table = next(block for kind, block in BLOCKS if kind == "toml" and block.startswith("[record]"))
    whole = parse_policy(f"{table}\n[tiers.anonymous]\nlimits = []\n", "x").record
    least = parse_policy(
        f"{table.splitlines()[0]}\n{table.splitlines()[1]}\n[tiers.anonymous]\nlimits = []\n", "x"
    ).record
    assert whole is not None
    assert least is not None
    assert (whole.sample, least.sample) == (0.1, 1.0)
    assert (whole.max_bytes, whole.keep) == (least.max_bytes, least.keep)
    assert os.sep in whole.file
