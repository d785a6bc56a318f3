"""Rows, goals and error bars of three uneven runs of each."""

from __future__ import annotations

import pytest

from benchmarks import throughput
from benchmarks.candidates import BARE, BOTH, DEFAULT, FLOORS, HEADERS, HOT, IETF, OURS, PEERS, QUIET, REDIS, TEN_REDIS
from benchmarks.environments import OWN
from benchmarks.section import Figure
from benchmarks.throughput import Outcomes
from tests.benchmarks.sample import outcome

OUTCOMES: Outcomes = {
    BARE.name: [outcome(1_000), outcome(1_100), outcome(5_000)],
    FLOORS[0].name: [outcome(990, 0.99)],
    DEFAULT.name: [outcome(700, kept) for kept in (0.1, 0.7, 0.99)],
    IETF.name: [outcome(800, kept, commands=0.1) for kept in (0.72, 0.1, 0.99)],
    HEADERS.name: [outcome(800, kept, commands=0.1) for kept in (0.1, 0.81, 0.99)],
    QUIET.name: [outcome(950, 0.97)],
    REDIS.name: [
        outcome(900, 0.95, commands=0.1),
        outcome(400, 0.5, commands=0.05),
        outcome(910, 0.9, commands=0.8),
    ],
    HOT.name: [outcome(950, kept, commands=commands) for kept, commands in ((0.94, 0.02), (0.96, 0.001), (1.2, 0.005))],
    TEN_REDIS.name: [outcome(500, 0.5, commands=2.1)],
    "slowapi, headers": [outcome(300, 0.3, commands=6, complaint="a warning")] * 3,
    "throttled-py, headers": [outcome(300, 0.35, commands=6)] * 3,
    "slowapi": [outcome(400, 0.4, commands=6)] * 3,
}
FASTER: Outcomes = {BARE.name: [outcome(2_000)], DEFAULT.name: [outcome(1_600, 0.8)]}


def figures(framework: str) -> dict[str, Figure]:
    (name,) = (one for one in BOTH if one == framework)
    return {figure.what: figure for figure in throughput._figures(name, OUTCOMES)}


def test_rows() -> None:
    """Median, least and most of what was kept, for each Python; the rest of this one; nothing of Redis without one."""
    measured = {OWN: OUTCOMES, "3.99": FASTER}
    on, off = (throughput._table("fastapi", measured, headers, 2) for headers in (True, False))
    rows = {row[0]: list(row[1:]) for row in (*on.rows, *off.rows)}
    assert rows[REDIS.name] == [900, 0.9, 0.5, 0.95, 9, *[""] * 5, 1.0, 0.1, 0.05]
    assert rows[DEFAULT.name] == [700, 0.7, 0.1, 0.99, 7, 1_600, 0.8, 0.8, 0.8, 16, "", "", ""]
    assert {len(row) for row in on.rows} == {len(on.columns)} == {14}
    assert on.columns[1:3] == [f"requests/s, {OWN}", f"kept, {OWN}"]
    assert on.note == "3 runs of 2 s each. Written by slowapi, headers: a warning."


def test_headers_come_first() -> None:
    """What a fresh installation has leads, then the floors, then the peers with their headers."""
    on, off = (throughput._table("fastapi", {OWN: OUTCOMES}, headers, 2) for headers in (True, False))
    assert [row[0] for row in on.rows][:3] == [BARE.name, DEFAULT.name, IETF.name]
    assert on.rows[-1][0] == "throttled-py, headers"
    assert [row[0] for row in off.rows] == [BARE.name, QUIET.name, REDIS.name, HOT.name, "slowapi"]
    assert "with headers on" in on.title


@pytest.mark.parametrize(
    ("framework", "name", "value", "note"),
    [
        ("starlette", DEFAULT.name, 0.7, "not under the floor of 0.68; best peer with headers 0.35"),
        ("fastapi", DEFAULT.name, 0.7, "under the floor of 0.78; best peer with headers 0.35 (throttled-py, headers)"),
        ("starlette", REDIS.name, 0.9, "not under the floor of 0.75; best peer without headers 0.40 (slowapi)"),
    ],
)
def test_kept(framework: str, name: str, value: float, note: str) -> None:
    """The median against the goal, with the floor and the best peer of the same kind."""
    (figure,) = (one for what, one in figures(framework).items() if what.endswith(f" app, {name.partition(', ')[2]}"))
    goal, _ = throughput.KEPT[name]["fastapi" if framework == "fastapi" else "starlette"]
    assert (figure.value, figure.reached) == (value, value >= goal)
    assert figure.note.startswith(note)


def test_goals_are_of_ours() -> None:
    """Each is that of a row."""
    assert throughput.KEPT.keys() < {one.name for one in OURS}


def test_calls_and_the_hot_caller() -> None:
    """Medians too: 0.05 script calls a request are 1/20; the hot caller's commands. FastAPI alone."""
    of = figures("fastapi")
    calls = of["script calls a request at 64 connections, Redis"]
    assert (calls.value, calls.goal, calls.reached) == ("1/20.0", "<= 1/16", True)
    commands = of["hot caller with reservations: Redis commands"]
    assert (commands.value, commands.reached) == (0.005, True)
    of_redis = of["processor time of Redis a request in µs, 10 limits, 64 connections, FastAPI app"]
    assert (of_redis.value, of_redis.goal, of_redis.reached) == (21.0, "<= 20", False)
    assert not any("script calls" in what for what in figures("starlette"))


def test_error_bars() -> None:
    """A series of medians, and by its name those of the least and the most, as plots.py draws them."""
    series = throughput._kept("starlette", OUTCOMES)
    assert {name: dict(points)[REDIS.name] for name, points in series.items()} == {
        "Starlette": 0.9,
        "Starlette (least)": 0.5,
        "Starlette (most)": 0.95,
    }


def test_each_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever limits is seen to, and floors are not asked to."""
    seen: list[str] = []
    monkeypatch.setattr(throughput.check, "limits", lambda candidate, _: seen.append(candidate.name))
    monkeypatch.setattr(throughput.check, "client_shares", lambda *_: {"get": 0.5})
    shares = throughput._checked()
    assert seen == [one.name for one in (*OURS, *PEERS)]
    assert FLOORS[2].name in shares
    assert DEFAULT.name not in shares
