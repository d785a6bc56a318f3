"""What telemetry takes: each app tells what it is meant to, and the figures are held against the goal."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import pytest

from benchmarks import environments, in_server, processor, telemetry, turns
from benchmarks.processor import BARE, Turns
from benchmarks.telemetry import OFF, OPENTELEMETRY, PROMETHEUS, SUBJECTS
from ratelimit.telemetry.hook import Counts
from ratelimit.telemetry.opentelemetry import OpenTelemetry
from ratelimit.telemetry.prometheus import Prometheus

SEEN = Turns(
    {
        BARE.name: [30.0, 31.0, 32.0],
        OFF.name: [45.0, 46.0, 47.0],
        PROMETHEUS.name: [46.0, 47.5, 48.5],
        OPENTELEMETRY.name: [47.0, 47.0, 50.0],
    },
    4_000.0,
)


def test_each_app_has_turns_of_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bare app, without telemetry, and with each, all in one process; a turn is long enough for a count."""
    monkeypatch.setattr(in_server, "WARM", 64)
    monkeypatch.setattr(turns, "YARDSTICKS", 1)
    counted: list[int] = []
    count = Prometheus.count

    def seen(self: Prometheus, counts: Counts) -> None:
        counted.append(sum(counts.decisions.values()))
        count(self, counts)

    monkeypatch.setattr(Prometheus, "count", seen)
    subjects = [asdict(one) for one in SUBJECTS]
    order = {"framework": "starlette", "rounds": 1, "turn": telemetry.TURN, "url": "", "subjects": subjects}
    found = asyncio.run(turns.taken(order))
    assert [*found["rounds"]] == [subject.name for subject in SUBJECTS]
    assert sum(counted) >= telemetry.TURN
    assert isinstance(turns.telling("opentelemetry"), OpenTelemetry)
    assert turns.telling("") is None


def test_against_the_goal() -> None:
    """What is above the app without telemetry counts, not what is above the bare one."""
    assert [(one.value, one.reached, one.note) for one in telemetry.goals(SEEN)] == [
        (1.0, True, "median 1.50"),
        (2.0, False, "median 2.00"),
    ]


def test_the_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """In turns of its own on one Python; a row for each app that is limited."""
    orders: list[object] = []

    def taken(*order: object) -> Turns:
        orders.append(order)
        return SEEN

    monkeypatch.setattr(processor, "taken", taken)
    section = telemetry.measure(short=True)
    assert orders == [("starlette", environments.OWN, 250, SUBJECTS, telemetry.TURN)]
    assert [list(row) for row in section.tables[0].rows] == [
        [OFF.name, 15.0, "", "", ""],
        [PROMETHEUS.name, 16.0, 1.0, 1.5, "<= 1.5"],
        [OPENTELEMETRY.name, 17.0, 2.0, 2.0, "<= 1.5"],
    ]
    assert section.raw[BARE.name] == [30.0, 31.0, 32.0]
