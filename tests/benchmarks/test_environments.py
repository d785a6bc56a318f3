"""Which Pythons there are, and what of this process others are shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks import environments
from benchmarks.environments import OWN, interpreter


@pytest.fixture(autouse=True)
def forgotten() -> None:
    """What was found is not remembered."""
    interpreter.cache_clear()
    environments.said.cache_clear()


def program(place: Path, text: str) -> Path:
    place.parent.mkdir(parents=True)
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)
    return place


def test_found_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This one is itself; another is that of the PATH, but one that does not run is none: then it is pyenv's latest."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    program(tmp_path / "bin" / "python3.99", "echo pyenv: command not found >&2; exit 127")
    program(tmp_path / "versions" / "3.99.0" / "bin" / "python", "echo Python 3.99.0")
    newest = program(tmp_path / "versions" / "3.99.1" / "bin" / "python", "echo Python 3.99.1")
    assert interpreter(OWN) == sys.executable
    assert interpreter("3.99") == str(newest)
    assert interpreter("3.98") is None
    with pytest.raises(RuntimeError, match=r"no Python 3\.98 on the PATH, nor below"):
        environments.python(environments.OURS, "3.98")


def test_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python, then those of the page that are here."""
    monkeypatch.setattr(environments, "SHOWN", (OWN, "3.98", "3.99"))
    monkeypatch.setattr(environments, "interpreter", lambda version: None if version == "3.98" else "python")
    assert environments.versions_shown() == (OWN, "3.99")


def test_nothing_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its packages are shown to another Python, nor is that one watched."""
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("COVERAGE_PROCESS_START", "/somewhere")
    assert not [name for name in environments.outside() if name.startswith(("PYTHON", "COVERAGE"))]
    assert environments.outside()["PATH"] == os.environ["PATH"]
