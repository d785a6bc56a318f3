"""Two workers: that they count together is a goal, and what is kept is of the bare app in the same round."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from benchmarks import load, workers
from benchmarks.candidates import BARE, IETF, Framework
from benchmarks.load import Run


def run(requests: int, refused: int = 0, broken: int = 0) -> Run:
    return Run(requests=requests, seconds=1.0, refused=refused, broken=broken, p50_ms=1.0, p99_ms=9.0)


def test_figure() -> None:
    """Exactly as many as one caller may; the one that is furthest from it is shown."""
    figure = workers.figure([5_000, 5_000])
    assert (figure.value, figure.goal, figure.reached) == ("5,000", "5,000", True)
    figure = workers.figure([5_001, 4_990])
    assert (figure.value, figure.reached) == ("4,990", False)


def test_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What both let through; it is an error if they still let anything through later."""
    runs = iter([run(20_000, refused=15_000), run(100, refused=100), run(20_000, refused=15_000), run(100, refused=99)])
    monkeypatch.setattr(workers, "up", lambda *_: nullcontext(load.App("", 0, 0, None)))  # type: ignore[arg-type]
    monkeypatch.setattr(load, "wrk", lambda *_, **__: next(runs))
    assert workers.counted_together(IETF) == 5_000
    with pytest.raises(RuntimeError, match="did not deny all that was asked"):
        workers.counted_together(IETF)


def test_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round is begun by another one; ours at 600 beside a bare app at 1,000 keeps 0.6."""
    asked: list[str] = []

    def answer(name: str, _: object, seconds: int) -> Run:
        asked.append(name)
        return run(1_000 if name == BARE.name else 600)

    monkeypatch.setattr(workers, "up", lambda *_: nullcontext(load.App("", 0, 0, None)))  # type: ignore[arg-type]
    monkeypatch.setattr(load, "wrk", lambda *_, **__: run(1))
    monkeypatch.setattr(workers, "asked", answer)
    frameworks: tuple[Framework, ...] = ("starlette",)
    for framework in frameworks:
        runs = workers.compared(framework, 2, 1)
        rows = {row[0]: list(row[1:]) for row in workers.table(framework, runs, 1).rows}
    assert rows[IETF.name] == [600, 0.6, 0.6, 0.6, 1.0, 9.0]
    assert rows[BARE.name][:2] == [1_000, 1.0]
    assert asked[0] == BARE.name != asked[len(runs)]


@pytest.mark.parametrize("seen", [run(10, refused=1), run(10, broken=1)])
def test_what_is_not_meant(seen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A denial and a connection that failed are no figures."""
    monkeypatch.setattr(load, "wrk", lambda *_, **__: seen)
    monkeypatch.setattr(load.App, "complaints", lambda _: "the store is out of reach")
    with pytest.raises(RuntimeError, match="with 2 workers did not do what it should"):
        workers.asked(IETF.name, load.App("", 0, 0, None), 1)  # type: ignore[arg-type]
