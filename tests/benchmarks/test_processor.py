"""Processor time a request: what is taken, what is made of it, and what it is held against."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from benchmarks import environments, in_server, processor, turns
from benchmarks.in_server import Connections, Spent, UnexpectedAnswer
from benchmarks.policy import api_key
from benchmarks.processor import BARE, GOALS, LENDWORKS, MEMORY, SUBJECTS, TEN, Subject, Turns
from tests import servers

SEEN = Turns(
    {
        BARE.name: [30.0, 32.0, 34.0, 40.0],
        MEMORY.name: [40.0, 50.0, 46.0, 41.0],
        LENDWORKS.name: [45.0, 45.0, 45.0, 45.0],
        TEN.name: [50.0, 60.0, 60.0, 60.0],
        **{name: [42.0, 45.0, 45.0, 45.0] for name in processor.KEPT},
    },
    4_000.0,
)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few requests as there can be of 64 connections."""
    monkeypatch.setattr(in_server, "WARM", 64)
    monkeypatch.setattr(in_server, "TURN", 64)
    monkeypatch.setattr(turns, "YARDSTICKS", 1)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("framework", ["fastapi", "starlette"])
def test_every_subject_has_its_turns(framework: str, valkey: servers.Server) -> None:
    """The bare app, floors and ours in all their settings answer, and each has a figure a round."""
    order = {"framework": framework, "rounds": 2, "url": valkey.unix_url, "subjects": [asdict(one) for one in SUBJECTS]}
    found = asyncio.run(turns.taken(order))
    assert [*found["rounds"]] == [subject.name for subject in SUBJECTS]
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in found["rounds"].values())
    assert len(found["yardstick"]) == 2


def test_subjects() -> None:
    """No name twice, no two count in one database; the goals are those of rows; of headers it is said what is true."""
    names = [subject.name for subject in SUBJECTS]
    assert len(set(names)) == len(names)
    assert GOALS.keys() | processor.KEPT.keys() < set(names)
    databases = [number % turns.DATABASES for number, one in enumerate(SUBJECTS) if one.store == "redis"]
    assert len(set(databases)) == len(databases)
    assert all(("no headers" in one.name) is (one.style == "silent") for one in SUBJECTS)
    assert (MEMORY.store, MEMORY.style, MEMORY.settings) == ("memory", "ietf", {})


def test_above_bare() -> None:
    """The least against the least, a lower quartile against a lower quartile, and the quartiles of the differences."""
    assert SEEN.above(MEMORY.name) == 10.0
    assert SEEN.low_above(MEMORY.name) == 41.0 - 32.0
    assert SEEN.kept(MEMORY.name) == 0.75
    assert SEEN.spread(MEMORY.name) == (10.0, 12.0)


def test_tables() -> None:
    """With headers on first; columns for each Python; a subject that was not measured has no row."""
    on, off = processor._tables("starlette", {"3.11": SEEN, "3.13": SEEN})
    assert on.title == "Starlette, headers on allowed responses"
    assert [row[0] for row in on.rows] == [MEMORY.name, LENDWORKS.name, "Redis, ietf", "Redis, lendworks", TEN.name]
    assert list(on.rows[0][1:5]) == [10.0, SEEN.low_above(MEMORY.name), "10.0 to 12.0", 0.75]
    assert list(on.columns[5:7]) == ["µs above bare, 3.13", "low quartile"]
    assert on.note == "The bare app takes 30.0 µs on 3.11, 30.0 µs on 3.13. 4 and 4 rounds."
    assert [row[0] for row in off.rows] == ["Redis, no headers"]


def test_goals() -> None:
    """As measured, whatever the machine."""
    assert [(figure.value, figure.goal, figure.reached) for figure in processor.goals(SEEN)] == [
        (10.0, "<= 11", True),
        (15.0, "<= 11", False),
        (20.0, "<= 20", True),
        (12.0, "<= 12.9", True),
        (12.0, "<= 12.9", True),
        (12.0, "<= 7.5", False),
    ]


def test_the_machine() -> None:
    """By the yardstick of one Python it is said how much longer this machine takes than that of the goals."""
    assert "takes 2.00 times as long" in processor.machine({"3.11": 1.0, "3.13": 2 * processor.GOALS_YARDSTICK})
    assert "times as long" not in processor.machine({"3.11": 1.0})


def test_measured_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """On each Python of the page, with every row; goals only of Starlette."""
    orders: list[Any] = []

    def child(program: object, module: str, order: str) -> dict[str, object]:
        orders.append((program, module))
        return {"rounds": {name: [1.234, 2.0] for name in SEEN.rounds}, "yardstick": [5.0, 4.0]}

    monkeypatch.setattr(processor, "child", child)
    monkeypatch.setattr(environments, "python", lambda name, version: f"{name} {version}")
    monkeypatch.setattr(environments, "versions_shown", lambda: (environments.OWN, "3.99"))
    section = processor.measure(short=True)
    expected = [("ratelimit " + version, "benchmarks.turns") for version in (environments.OWN, "3.99")]
    assert orders == expected * 2
    assert len(section.tables) == 4
    assert len(section.figures) == len(GOALS) + len(processor.KEPT)
    assert section.raw["fastapi"]["3.99"][BARE.name] == [1.23, 2.0]


@pytest.mark.usefixtures("short")
def test_an_answer_that_is_not_meant() -> None:
    """It ends the turn with whose it was and what it said, for a denial is faster than an answer."""

    async def run() -> None:
        order = asdict(Subject("denied", store="memory", settings={"rate": 1}))
        await Connections(turns.made(order, "starlette", ""), in_server.requests(1), name="denied").send(64)

    with pytest.raises(UnexpectedAnswer, match=r"denied: HTTP/1\.1 429"):
        asyncio.run(run())


def test_answers_are_watched() -> None:
    """With a watch each answer is handed on with its request, its head and its body, whatever it says."""
    seen: list[tuple[bytes, float, bytes]] = []

    async def run() -> None:
        app = turns.made(asdict(Subject("app", store="memory", settings={"rate": 1})), "starlette", "")
        asked = in_server.requests(1)[:2]
        await Connections(app, asked, watch=lambda *one: seen.append(one)).send(100)

    asyncio.run(run())
    assert len(seen) == 100
    assert {answer.split(b" ")[1] for _, _, answer in seen} == {b"200", b"429"}
    assert all(answer.endswith(b"}") and api_key(0).encode() in request for request, _, answer in seen)


def test_spent() -> None:
    """The least, the lower quartile and the median of a subject's rounds."""
    spent = Spent([4.0, 1.0, 3.0, 2.0])
    assert (spent.least, spent.low, spent.middle) == (1.0, 2.0, 2.5)
