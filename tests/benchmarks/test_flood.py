"""Denials are held against the bare app's answers in the same round, and counted by what clients sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from benchmarks import check, flood
from benchmarks.candidates import BARE, Candidate
from benchmarks.rounds import Outcome
from tests.benchmarks.sample import outcome

SHARES = {"evalsha": 1.0}


def stub(monkeypatch: pytest.MonkeyPatch, outcomes: Iterator[Outcome]) -> list[str]:
    """The runs in their order: the bare app answers 100, 200 and 300 a second, and the flood gets `outcomes`."""
    ran: list[str] = []

    @contextmanager
    def up(candidate: Candidate, _: str, **limits: int) -> Iterator[Candidate]:
        assert limits == ({} if candidate is BARE else {"rate": flood.ALLOWED})
        yield candidate

    def run(
        candidate: Candidate, _: int, shares: Mapping[str, float] | None = None, *, allowed: int | None = None
    ) -> Outcome:
        ran.append(candidate.name)
        if candidate is BARE:
            return outcome(100.0 * ran.count(BARE.name))
        assert (candidate.callers, shares, allowed) == (1, SHARES, flood.ALLOWED)
        return next(outcomes)

    monkeypatch.setattr(flood, "up", up)
    monkeypatch.setattr(flood, "run", run)
    monkeypatch.setattr(check, "client_shares", lambda *_: SHARES)
    return ran


def test_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is first alternates; the shares 0.9, 0.95 and 0.5 have 0.9 in the middle, the commands 0.0005."""
    pairs = ((90.0, 0.0005), (190.0, 0.4), (150.0, 0.0001))
    ran = stub(monkeypatch, iter([outcome(rate, commands=commands) for rate, commands in pairs]))
    section = flood.measure(short=True)
    ours = "ratelimit, Redis, lendworks"
    assert ran == ["bare", ours, ours, "bare", "bare", ours]
    assert [(figure.value, figure.reached) for figure in section.figures] == [(0.9, True), (0.0005, True)]
    bare, flooded = section.tables[0].rows
    assert list(bare) == ["bare app, 200", 200, 1.0, 1.0, 1.0, 2, 0]
    assert list(flooded) == ["ratelimit, 429", 150, 0.9, 0.5, 0.95, 2, 0.0005]
    assert section.tables[0].columns[-1] == "commands/request"


def test_an_app_that_complains(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 503 is as fast as a 429, and wrk counts both: what the app wrote tells them apart."""
    stub(monkeypatch, iter([outcome(90, complaint="refused without the store")]))
    with pytest.raises(RuntimeError, match="wrote during the flood: refused without the store"):
        flood.measure(short=True)
