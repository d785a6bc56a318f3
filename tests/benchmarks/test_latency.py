"""Medians of the runs by candidate and connections, and a lone decision against a PING."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import latency, load, lone
from benchmarks.candidates import DEFAULT
from benchmarks.load import App, Run


def run(p50: float, p99: float) -> Run:
    return Run(requests=100, seconds=1.0, refused=0, broken=0, p50_ms=p50, p99_ms=p99)


full_run = Run(requests=1_000, seconds=1.0, refused=0, broken=0, p50_ms=60.0, p99_ms=70.0)
RUNS = {
    "bare": {1: [run(0.2, 0.9), run(0.1, 5.0), run(0.3, 1.0)], 64: [run(9.0, 20.0)]},
    "ratelimit": {1: [run(0.3, 0.8)], 64: [run(10.0, 30.0), run(12.0, 50.0)]},
}
TIMED = lone.Timed(
    {
        lone.PING: [0.0001] * lone.BLOCK * 3,
        lone.EVALSHA: [0.00013] * lone.BLOCK * 3,
        lone.DECISION: [0.0001] * lone.BLOCK + [0.00017] * lone.BLOCK + [0.0009] * lone.BLOCK,
    }
)


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded or timed."""
    monkeypatch.setattr(latency, "CONNECTIONS", (1, 64))
    monkeypatch.setattr(latency, "_under_load", lambda *_: RUNS)
    monkeypatch.setattr(latency, "half_run", lambda *_: (full_run, replace(full_run, requests=480, p50_ms=1.5)))
    monkeypatch.setattr(latency, "served", lambda *_: nullcontext(App("", 0, 0, None)))
    monkeypatch.setattr(load, "wrk", lambda *_, **__: full_run)
    monkeypatch.setattr(latency.check, "stored", lambda _: nullcontext())
    monkeypatch.setattr(latency, "_tell", lambda *_: None)
    monkeypatch.setattr(lone, "measure", lambda _: TIMED)


@pytest.mark.usefixtures("stubbed")
def test_medians() -> None:
    """The table has both percentiles for each number of connections, and the plots one each."""
    section = latency.measure(short=True)
    assert section.tables[0].columns == ["", "p50, 1", "p99, 1", "p50, 64", "p99, 64"]
    assert section.tables[0].rows == [["bare", 0.2, 1.0, 9.0, 20.0], ["ratelimit", 0.3, 0.8, 11.0, 40.0]]
    assert [plot.series["ratelimit"] for plot in section.plots] == [[(1, 0.3), (64, 11.0)], [(1, 0.8), (64, 40.0)]]


@pytest.mark.usefixtures("stubbed")
def test_a_lone_decision() -> None:
    """In PINGs, the median of the blocks; it is said that it is the decision alone."""
    section = latency.measure(short=True)
    (figure,) = section.figures
    assert (figure.value, figure.reached) == (1.7, True)
    assert figure.note.startswith("the decision alone, store.acquire on prepared charges")
    assert figure.note.endswith("1.30 x PING")
    assert list(section.tables[-1].rows[-1]) == [lone.DECISION, 170.0, 1.7, 1.0, 9.0]


@pytest.mark.usefixtures("stubbed")
def test_at_half_load() -> None:
    """What was sent is said beside what would be half; of Starlette too in the long form."""
    tables = {short: latency.measure(short=short).tables[1:-1] for short in (True, False)}
    titles = {short: [table.title for table in of] for short, of in tables.items()}
    fastapi, starlette = (f"At half load, {name}, 64 connections" for name in ("FastAPI", "Starlette"))
    assert titles == {True: [fastapi], False: [fastapi, starlette]}
    assert list(tables[True][0].rows[1]) == ["ratelimit, memory, ietf: as installed", 1_000, 480, "0.48", 1.5, 70.0]


def test_the_pause() -> None:
    """64 connections that each take 128 ms a request send 500 a second, half of 1,000; the answer is 1 ms of that."""
    assert latency.pause_ms(full_run) == pytest.approx(127.0)


def test_callers_that_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause is the third argument of the script."""
    seen: list[list[str]] = []

    def ran(command: list[str], **_: object) -> SimpleNamespace:
        seen.append(command)
        line = {"requests": 1, "seconds": 1.0, "refused": 0, "broken": 0, "p50_ms": 1.0, "p99_ms": 1.0}
        return SimpleNamespace(returncode=0, stdout=load.RESULT + json.dumps(line))

    monkeypatch.setattr(load, "wrk_program", lambda: "wrk")
    monkeypatch.setattr(load.subprocess, "run", ran)
    load.wrk("http://127.0.0.1:1", seconds=1, pause_ms=2.5)
    load.wrk("http://127.0.0.1:1", seconds=1)
    assert [command[-3:] for command in seen] == [["100", "1000", "2.5"], ["100", "1000", "0"]]


def test_an_app_that_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a peer writes is shown; ours has nothing to say unless something is wrong."""
    said = tmp_path / "output"
    said.write_text("first\nsecond\n")
    with said.open("rb") as output:
        app = App("http://127.0.0.1:1", 1, 1, output)
        latency._tell("limits", app)
        assert capsys.readouterr().err == "latency: limits wrote: first\n"
        with pytest.raises(RuntimeError, match="ietf: as installed wrote while it was measured: first"):
            latency._tell(DEFAULT.name, app)
    (tmp_path / "nothing").touch()
    with (tmp_path / "nothing").open("rb") as output:
        latency._tell(DEFAULT.name, load.App("http://127.0.0.1:1", 1, 1, output))
