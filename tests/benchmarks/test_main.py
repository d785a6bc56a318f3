"""A whole run ends with the page that is computed from it; a part of one leaves the page alone."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import __main__, load, machine, report, scaling
from benchmarks.section import Section, from_json, to_json


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a run writes that has no load to make, as if it were the folder of the committed ones."""
    monkeypatch.setattr(load, "wrk_program", lambda: "wrk")
    monkeypatch.setattr(__main__, "FOLDER", tmp_path)
    return tmp_path / "results.json"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was written at the end."""
    done: list[str] = []
    monkeypatch.setattr(report, "write", lambda *_, **__: done.append("report"))
    monkeypatch.setattr(scaling, "main", lambda: done.append("scaling"))
    return done


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize(("arguments", "ends"), [([], ["report", "scaling"]), (["--only", "micro"], ["report"])])
def test_the_end(arguments: list[str], ends: list[str], done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The report first, since it writes the results that the page is made of."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    monkeypatch.setattr(__main__, "MEASURES", ("micro",))
    monkeypatch.setattr("benchmarks.micro.measure", lambda *, short: Section("micro", "", ""))
    __main__.main()
    assert done == ends


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize("arguments", [[], ["--only", "throughput", "micro"]])
def test_each_measure_finds_its_committed_figures(
    arguments: list[str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the last of a whole run, or no regression would be found in one; each is replaced by what was measured."""
    results.write_text(to_json([Section("micro", "committed", ""), Section("throughput", "committed", "")]))
    seen: list[str] = []

    def measure(name: str, *, short: bool) -> Section:
        if name == "micro":
            seen.append(next(one.title for one in from_json(results.read_text()) if one.name == name))
        return Section(name, f"measured, {short=}", "")

    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    monkeypatch.setattr(__main__, "MEASURES", ("throughput", "micro"))
    for name in ("throughput", "micro"):
        monkeypatch.setattr(f"benchmarks.{name}.measure", partial(measure, name))
    __main__.main()
    assert seen == ["committed"]
    assert {one.title for one in from_json(results.read_text())} == {"measured, short=True"}


@pytest.mark.usefixtures("results")
def test_another_folder(tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With --into the results are written there, and neither those that are committed nor the page change."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--into", str(tmp_path / "new" / "folder")])
    monkeypatch.setattr(__main__, "MEASURES", ("micro",))
    monkeypatch.setattr("benchmarks.micro.measure", lambda *, short: Section("micro", f"{short=}", ""))
    __main__.main()
    assert done == ["report"]
    (section,) = from_json((tmp_path / "new" / "folder" / "results.json").read_text())
    assert section.title == "short=True"
    assert not (tmp_path / "results.json").exists()


def test_all_is_the_long_form(results: Path, done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole matrix is measured with --all."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--all", "--only", "micro"])
    monkeypatch.setattr("benchmarks.micro.measure", lambda *, short: Section("micro", f"{short=}", ""))
    __main__.main()
    assert (done, from_json(results.read_text())[0].title) == (["report"], "short=False")


def test_every_measure_is_there() -> None:
    """Each name is that of a module with a measure, and of no two."""
    assert len({*__main__.MEASURES}) == len(__main__.MEASURES)
    assert all(hasattr(import_module(f"benchmarks.{name}"), "measure") for name in __main__.MEASURES)


def test_commit(tmp_path: Path) -> None:
    """This repository has one; a folder that is none has not, and that is no error."""
    assert machine.commit(tmp_path) == machine.UNKNOWN
    known = machine.commit()
    assert known == machine.UNKNOWN or int(known.removesuffix(" + changes"), 16) >= 0
