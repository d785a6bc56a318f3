"""What `make test` and `make proofs` come to: a failure of any step is theirs, and in CI no step is left out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import servers
from tests.packaging import ROOT

# In the place of python: writes down what it is asked for, and fails where FAILS is in that.
PYTHON = """#!/bin/sh
echo "$*" >> calls
case "$*" in
  *"coverage run"*) touch .coverage.1 ;;
  *"hatchling build"*) mkdir -p dist; touch dist/ratelimit_asgi-1-py3-none-any.whl ;;
  *"coverage combine"*) rm .coverage.1; touch .coverage ;;
esac
case "$*" in *"$FAILS"*) exit 3 ;; esac
"""
RUN, COMBINE, REPORT = "coverage run -m pytest", "coverage combine", "coverage report"
REPEATED, ALONE = "-m pytest -m proof and repeated", "-m pytest -m proof and not repeated"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With an environment that is ready."""
    for name in (".venv/bin/python", ".venv/ready", ".venv/wheel", ".venv/oldest/ready"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / ".venv/bin/python").write_text(PYTHON)
    (tmp_path / ".venv/bin/python").chmod(0o755)
    return tmp_path


def make(folder: Path, *targets: str, fails: str = "nothing of it") -> tuple[bool, list[str]]:
    """Whether it passed, and what was asked of python."""
    program = shutil.which("make") or servers.missing("no make on the PATH")
    (folder / "calls").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        [program, "-f", str(ROOT / "Makefile"), "-o", ".venv/wheel", "-o", ".venv/oldest/ready", "-j", "2", *targets],
        cwd=folder,
        env={**environment, "FAILS": fails},
        capture_output=True,
        check=False,
    )
    return done.returncode == 0, (folder / "calls").read_text().splitlines()


def steps(calls: list[str]) -> list[str]:
    return [next(step for step in (RUN, COMBINE, REPORT, REPEATED, ALONE) if step in call) for call in calls]


def test_both(folder: Path) -> None:
    """One after the other, also where make may do several things at a time; what is proved is not watched."""
    passed, calls = make(folder, "test", "proofs")
    assert passed
    assert steps(calls) == [RUN, COMBINE, REPORT, REPEATED, ALONE]
    assert ["-m not proof" in call for call in calls] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("target", "fails"),
    [("test", RUN), ("test", COMBINE), ("test", REPORT), ("proofs", REPEATED), ("proofs", ALONE)],
)
def test_a_step_that_fails(folder: Path, target: str, fails: str) -> None:
    """It is the last, and the target fails."""
    passed, calls = make(folder, target, fails=fails)
    assert not passed
    assert fails in calls[-1]


def test_what_makes_a_wheel(folder: Path) -> None:
    """A file that is new, changed or gone, and not the bytecode beside it: what was covered is of the same wheel."""
    (folder / "pyproject.toml").write_text('version = "1"\n')
    for name in ("README.md", "LICENSE", "ratelimit/a.py", "ratelimit/b.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    (folder / ".venv/ready").touch()

    def builds() -> int:
        passed, calls = make(folder, "wheel")
        assert passed
        return len([call for call in calls if "hatchling build" in call])

    assert (builds(), builds()) == (1, 0)
    (folder / "ratelimit/__pycache__").mkdir()
    (folder / "ratelimit/__pycache__/a.pyc").touch()
    later = (folder / "dist/ratelimit_asgi-1-py3-none-any.whl").stat().st_mtime + 9
    os.utime(folder / "ratelimit", (later, later))
    assert builds() == 0
    (folder / "ratelimit/b.py").unlink()
    assert (builds(), builds()) == (1, 0)
    os.utime(folder / "ratelimit/a.py", (later, later))
    assert builds() == 1
