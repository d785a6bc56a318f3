"""Puts each mutant before the tests of its room: a process each, in a copy of the sources."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.mutants import Mutant, lua_source, python_source
from tests.mutants.rooms import ROOMS, Room

REPOSITORY = Path(__file__).parents[2]
COPIED = ("ratelimit", "tests", "examples", "benchmarks", "docs", "pyproject.toml", "README.md", "docker-compose.yml")
EQUIVALENTS = Path(__file__).with_name("equivalents.toml")
LEAST = 0.97  # of mutants that are not equivalent
PATIENCE = 20.0  # seconds at least; a mutant that never ends is seen by that


@dataclass
class Found:
    """Of one room."""

    seen: int = 0
    missed: list[Mutant] = field(default_factory=list)
    equivalent: int = 0
    killed_equivalents: list[Mutant] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.seen / max(1, self.seen + len(self.missed))


def mutants_in(path: Path, package: Path) -> list[Mutant]:
    make = lua_source.mutants_of if path.suffix == ".lua" else python_source.mutants_of
    return make(path.relative_to(package).as_posix(), path.read_text("utf-8"))


def equivalents(path: Path = EQUIVALENTS) -> dict[tuple[str, str, str, str], str]:
    """By the name of the mutant, why nothing of it could be seen."""
    listed: dict[tuple[str, str, str, str], str] = {}
    for file, entries in tomllib.loads(path.read_text("utf-8")).items():
        for entry in entries:
            name = file, entry["where"], entry["was"], entry["becomes"]
            assert name not in listed, f"{EQUIVALENTS.name} has this twice: {name}"
            listed[name] = entry["why"]
    return listed


def gone(listed: Iterable[tuple[str, str, str, str]], mutants: Iterable[Mutant]) -> list[tuple[str, str, str, str]]:
    """What is listed and is no mutant any more, as its line was changed."""
    return sorted(set(listed) - {mutant.name for mutant in mutants})


def sample(mutants: Sequence[Mutant], seed: int, most: int | None) -> list[Mutant]:
    """Some of a file, always the same of one seed."""
    if most is None or len(mutants) <= most:
        return list(mutants)
    chosen = random.Random(f"{seed} {mutants[0].file}").sample(range(len(mutants)), most)
    return [mutants[n] for n in sorted(chosen)]


class Workshop:
    """A copy of the sources, in which a file is changed and put right again."""

    def __init__(self, folder: Path, room: Room) -> None:
        self.folder, self._room = folder, room
        self._order: dict[str, float] = {}
        self._patience = PATIENCE

    def begin(self) -> None:
        """All tests pass as it is. They are put in the order of the time that they take."""
        began = time.monotonic()
        times = self.folder / "times"
        if (status := self._tests(600, times)) != 0:
            told = (self.folder / "out").read_text()[-3_000:]
            raise SystemExit(f"{told}\nthe tests of this room fail without any fault in it (status {status})")
        self._patience = max(PATIENCE, 3 * (time.monotonic() - began))
        for name in (self.folder / "modules").read_text().splitlines():
            with suppress(Exception):  # some can't be imported by that name, and need not be
                importlib.import_module(name)
        for line in times.read_text().splitlines():
            taken, _, test = line.partition(" ")
            self._order[test] = self._order.get(test, 0.0) + float(taken)

    def sees(self, mutant: Mutant) -> bool:
        path = self.folder / "ratelimit" / mutant.file
        whole = path.read_text("utf-8")
        _write(path, mutant.text)
        try:
            return self._tests(self._patience) != 0
        finally:
            _write(path, whole)

    def _tests(self, patience: float, times: Path | None = None) -> int | None:
        """The status of pytest; None if it did not end. In a process group of its own: servers end with it."""
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.setsid()
            status = 70
            try:
                status = self._run(times)
            except BaseException:  # noqa: BLE001 - the child is to end here, whatever it was
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        deadline = time.monotonic() + patience
        status: int | None = None
        while time.monotonic() < deadline:
            done, code = os.waitpid(child, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(code)
                break
            time.sleep(0.005)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if status is None:
            os.waitpid(child, 0)
        return status

    def _run(self, times: Path | None) -> int:
        os.chdir(self.folder)
        out = os.open("out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "ratelimit")]:
            del sys.modules[name]
        sys.path[:] = [str(self.folder), *[path for path in sys.path if Path(path or ".").resolve() != REPOSITORY]]
        os.environ["PYTHONPATH"], sys.dont_write_bytecode = str(self.folder), False  # half of the time of a short run
        random.seed(0)
        found_quickly()
        options = ["-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--no-header", "--tb=line"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what is loaded already
        if self._room.only:
            options += ["-k", self._room.only]
        tests = [f"tests/{test}" for test in self._room.tests]
        status = int(pytest.main([*options, *tests], plugins=[Ordered(self._order, times)]))
        if times:
            others = [name for name in sys.modules if name.partition(".")[0] not in ("tests", "ratelimit", "__main__")]
            (self.folder / "modules").write_text("\n".join(others))
        return status


def _write(path: Path, text: str) -> None:
    """A source, without what was compiled of it before: that goes by seconds and sizes."""
    path.write_text(text, "utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()


def found_quickly() -> None:
    """What hypothesis finds is not made smaller, and not kept for the next mutant."""
    from hypothesis import Phase, settings

    settings.register_profile("mutants", max_examples=40, phases=[Phase.explicit, Phase.generate], database=None)
    settings.load_profile("mutants")


class Ordered:
    """A plugin of pytest: the quickest tests first. Writes how long each took."""

    def __init__(self, order: dict[str, float], times: Path | None) -> None:
        self._order, self._times = order, times

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self._order.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if self._times and report.when == "call":
            with self._times.open("a") as file:
                file.write(f"{report.duration:.4f} {report.nodeid}\n")


@contextmanager
def workshop(room: Room) -> Iterator[Workshop]:
    with tempfile.TemporaryDirectory(prefix="ratelimit-mutants-") as folder:
        for name in COPIED:
            source, copy = REPOSITORY / name, Path(folder) / name
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", ".venvs"))
            elif source.exists():
                shutil.copy(source, copy)
        made = Workshop(Path(folder), room)
        made.begin()
        yield made


def examine(
    name: str, seed: int, most: int | None, *, everything: bool, tell: Callable[[str], object], file: str = ""
) -> Found:
    """One room: tells of each file how many were seen, and of what no test has seen."""
    room, package, found = ROOMS[name], REPOSITORY / "ratelimit", Found()
    listed = equivalents()
    with workshop(room) as here:
        for path in room.sources(package):
            if file and not path.as_posix().endswith(file):
                continue
            began, before, missed = time.monotonic(), found.seen, len(found.missed)
            for mutant in sample(mutants_in(path, package), seed, most):
                if mutant.name in listed:
                    found.equivalent += 1
                    if everything and here.sees(mutant):
                        found.killed_equivalents.append(mutant)
                elif here.sees(mutant):
                    found.seen += 1
                else:
                    found.missed.append(mutant)
                    tell(f"  {mutant.file}:{mutant.line} {mutant.where}\n    - {mutant.was}\n    + {mutant.becomes}")
            seen, all_ = found.seen - before, found.seen - before + len(found.missed) - missed
            taken = time.monotonic() - began
            tell(f"{path.relative_to(package)}: {seen} of {all_} in {taken:.0f} s")
    return found
