"""What is kept is the share of the bare app's run beside it, and everyone has a turn before it and after it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from benchmarks import check, rounds
from benchmarks.candidates import BARE, HEADERS, IETF, PEERS, REDIS, Candidate
from tests.benchmarks import sample

CANDIDATES = (REDIS, HEADERS, IETF, PEERS[0])
SHARES = {"evalsha": 1.0}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs by name, none of which is made: the bare app answers 100 a second, then 200, all others 80."""
    names: list[str] = []

    def run(candidate: Candidate, _: str, __: int, shares: Mapping[str, float] | None = None) -> rounds.Outcome:
        names.append(candidate.name)
        assert shares == (None if candidate is BARE else SHARES)
        return sample.outcome(100.0 * names.count(BARE.name) if candidate is BARE else 80.0)

    monkeypatch.setattr(rounds, "run", run)
    monkeypatch.setattr(check, "limits", lambda *_: None)
    monkeypatch.setattr(check, "client_shares", lambda *_: SHARES)
    return names


def test_kept(ran: list[str]) -> None:
    """80 beside 100 is 0.8, and 80 beside 200 is 0.4: each is held against its own neighbour."""
    outcomes = rounds.compare("fastapi", CANDIDATES, (1, 1), 1)
    assert ran == ["ratelimit", "bare", "ratelimit, lendworks", "ratelimit, ietf", "bare", "slowapi"]
    assert {name: [one.kept for one in of] for name, of in outcomes.items()} == {
        "bare": [1.0, 1.0],
        "ratelimit": [0.8],
        "ratelimit, lendworks": [0.8],
        "ratelimit, ietf": [0.4],
        "slowapi": [0.4],
    }


def test_turns(ran: list[str]) -> None:
    """Each round begins with another one, and with an odd number the last one has a bare app of its own."""
    rounds.compare("fastapi", CANDIDATES[:3], (2, 2), 1)
    assert ran[:5] == ["ratelimit", "bare", "ratelimit, lendworks", "ratelimit, ietf", "bare"]
    assert ran[5:] == ["ratelimit, lendworks", "bare", "ratelimit, ietf", "ratelimit", "bare"]


def test_the_main_ones_run_more_often(ran: list[str]) -> None:
    """The two main ones take part in all rounds, by turns before and after the bare app; the others in fewer."""
    outcomes = rounds.compare("fastapi", CANDIDATES, (5, 3), 1)
    assert {name: len(of) for name, of in outcomes.items() if name != BARE.name} == {
        "ratelimit": 5,
        "ratelimit, lendworks": 5,
        "ratelimit, ietf": 3,
        "slowapi": 3,
    }
    assert ran[18:] == ["ratelimit, lendworks", "bare", "ratelimit", "ratelimit", "bare", "ratelimit, lendworks"]


def test_a_candidate_that_does_not_limit(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error before anything is measured."""

    def limits(*_: object) -> None:
        raise RuntimeError("it does not limit")

    monkeypatch.setattr(check, "limits", limits)
    with pytest.raises(RuntimeError, match="does not limit"):
        rounds.compare("fastapi", CANDIDATES, (1, 1), 1)
    assert not ran
