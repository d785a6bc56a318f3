"""Rows, goals and error bars of three uneven runs of each."""

from __future__ import annotations

import pytest

from benchmarks import throughput
from benchmarks.candidates import BARE, BOTH, HEADERS, HOT, IETF, MEMORY, PEERS, REDIS
from benchmarks.section import Figure
from benchmarks.throughput import Outcomes
from tests.benchmarks.sample import outcome

OUTCOMES: Outcomes = {
    BARE.name: [outcome(1_000), outcome(1_100), outcome(5_000)],
    REDIS.name: [
        outcome(900, 0.95, commands=0.1),
        outcome(400, 0.5, commands=0.05),
        outcome(910, 0.9, commands=0.8),
    ],
    HEADERS.name: [outcome(800, kept, commands=0.1) for kept in (0.1, 0.81, 0.99)],
    IETF.name: [outcome(800, kept, commands=0.1) for kept in (0.72, 0.1, 0.99)],
    MEMORY.name: [outcome(950, 0.97)],
    HOT.name: [outcome(950, kept, commands=commands) for kept, commands in ((0.94, 0.02), (0.96, 0.001), (1.2, 0.005))],
    PEERS[0].name: [outcome(300, 0.3, commands=6, complaint="a warning")] * 3,
    PEERS[1].name: [outcome(400, 0.4, commands=6)] * 3,
}


def figures(framework: str) -> dict[str, Figure]:
    (name,) = (one for one in BOTH if one == framework)
    return {figure.what: figure for figure in throughput._figures(name, OUTCOMES)}


def test_rows() -> None:
    """Median, least and most of what was kept; medians of the rest; nothing of Redis where there is none."""
    table = throughput._table("fastapi", OUTCOMES, 2)
    rows = {row[0]: list(row[1:]) for row in table.rows}
    assert rows["ratelimit"] == [900, 0.9, 0.5, 0.95, 9, 1.0, 0.1, 0.05, 3]
    assert rows["bare"] == [1_100, 1.0, 1.0, 1.0, 11, "", "", "", 3]
    assert rows["ratelimit, memory"][-4:] == ["", "", "", 1]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.columns[-1] == "runs"
    assert table.note == "Runs of 2 s. Written by slowapi: a warning."


@pytest.mark.parametrize(("framework", "reached", "floor"), [("fastapi", False, 0.86), ("starlette", True, 0.7)])
def test_kept(framework: str, reached: bool, floor: float) -> None:
    """The median against the goal of the framework, with the floor, the best peer, and what headers cost."""
    figure = next(iter(figures(framework).values()))
    assert (figure.value, figure.reached) == (0.9, reached)
    assert figure.note == (
        f"not under the floor of {floor}; best peer 0.40 (limits); without headers on allowed responses, as most peers;"
        " with lendworks' four headers 0.81, with ietf's two 0.72"
    )


def test_calls_and_the_hot_caller() -> None:
    """Medians too: 0.05 script calls a request are 1/20; the hot caller's commands and what it kept. FastAPI alone."""
    of = figures("fastapi")
    calls = of["script calls a request at 64 connections"]
    assert (calls.value, calls.goal, calls.reached) == ("1/20.0", "<= 1/16", True)
    kept, commands = (
        of[f"hot caller with reservations: {what}"] for what in ("throughput kept, FastAPI app", "Redis commands")
    )
    assert (kept.value, kept.reached) == (0.96, True)
    assert kept.note.startswith("without headers on allowed responses, as most peers; 100 callers with lendworks' four")
    assert (commands.value, commands.reached) == (0.005, True)
    assert len(figures("starlette")) == 1


def test_error_bars() -> None:
    """A series of medians, and by its name those of the least and the most, as plots.py draws them."""
    series = throughput._kept("starlette", OUTCOMES)
    assert {name: dict(points)["ratelimit"] for name, points in series.items()} == {
        "Starlette": 0.9,
        "Starlette (least)": 0.5,
        "Starlette (most)": 0.95,
    }
