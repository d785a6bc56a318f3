"""What is kept is the share of the bare app's run beside it, and everyone has a turn before it and after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import check, load, rounds
from benchmarks.candidates import BARE, DEFAULT, HEADERS, IETF, PEERS, Candidate
from benchmarks.rounds import Up, compare
from tests import servers
from tests.benchmarks import sample

CANDIDATES = (DEFAULT, HEADERS, IETF, PEERS[0])
NAMES = {
    "default": "ratelimit, memory, ietf: as installed",
    "headers": "ratelimit, Redis, lendworks",
    "ietf": "ratelimit, Redis, ietf",
    "peer": "slowapi, headers",
}
SHARES = {name: {"evalsha": 1.0} for name in NAMES.values()}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs by name, none of which is made: the bare app answers 100 a second, then 200, all others 80."""
    names: list[str] = []

    @contextmanager
    def up(candidate: Candidate, framework: str, version: str) -> Iterator[Any]:
        assert (framework, version) == ("fastapi", "3.11")
        yield SimpleNamespace(candidate=candidate)

    def run(who: Any, _: int, shares: Mapping[str, float] | None = None) -> rounds.Outcome:
        bare = who.candidate is BARE
        names.append(who.candidate.name)
        assert shares == (None if bare else SHARES[who.candidate.name])
        return sample.outcome(100.0 * names.count(BARE.name) if bare else 80.0)

    monkeypatch.setattr(rounds, "up", up)
    monkeypatch.setattr(rounds, "run", run)
    return names


def test_kept(ran: list[str]) -> None:
    """80 beside 100 is 0.8, and 80 beside 200 is 0.4: each is held against its own neighbour."""
    outcomes = compare("fastapi", CANDIDATES, 1, 1, "3.11", SHARES)
    assert ran == [NAMES["default"], "bare", NAMES["headers"], NAMES["ietf"], "bare", NAMES["peer"]]
    assert {name: [one.kept for one in of] for name, of in outcomes.items()} == {
        "bare": [1.0, 1.0],
        NAMES["default"]: [0.8],
        NAMES["headers"]: [0.8],
        NAMES["ietf"]: [0.4],
        NAMES["peer"]: [0.4],
    }


def test_turns(ran: list[str]) -> None:
    """Each round begins with another one, and with an odd number the last one has a bare app of its own."""
    compare("fastapi", CANDIDATES[:3], 2, 1, "3.11", SHARES)
    default, headers, ietf = NAMES["default"], NAMES["headers"], NAMES["ietf"]
    assert ran[:5] == [default, "bare", headers, ietf, "bare"]
    assert ran[5:] == [headers, "bare", ietf, default, "bare"]


def a_run(**changes: int) -> load.Run:
    return load.Run(
        **{"requests": 100, "seconds": 1.0, "refused": 0, "broken": 0, "p50_ms": 1.0, "p99_ms": 2.0, **changes}
    )


@pytest.mark.parametrize(
    ("seen", "allowed"), [(a_run(refused=1), None), (a_run(broken=1), None), (a_run(refused=70), 10), (a_run(), None)]
)
def test_what_is_not_meant(
    seen: load.Run, allowed: int | None, valkey: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denial, a connection that failed, a caller who should be denied and is not; and a Redis without a counter."""
    monkeypatch.setattr(load, "wrk", lambda *_, **__: seen)
    monkeypatch.setattr(load.App, "complaints", lambda _: "")
    with valkey.client() as redis, pytest.raises(RuntimeError, match=r"slowapi, headers did not do what it should"):
        rounds.run(Up(PEERS[0], load.App("", 0, 1, None), valkey, redis), 1, allowed=allowed)  # type: ignore[arg-type]


def test_a_peer_begins_with_an_empty_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log of the runs before would be read again and again; ours goes on with what it has. Of an app that is gone
    it is said whose it was."""
    refused = SimpleNamespace(returncode=1, stdout="", stderr="unable to connect to 127.0.0.1:1 Connection refused")
    monkeypatch.setattr(load, "wrk_program", lambda: "wrk")
    monkeypatch.setattr(load.subprocess, "run", lambda *_, **__: refused)
    monkeypatch.setattr(load.App, "complaints", lambda _: "")
    monkeypatch.setattr(Up, "spent", lambda _: None)
    flushed: list[bool] = []

    class Redis(SimpleNamespace):
        def flushall(self) -> None:
            flushed.append(True)

    for candidate in (HEADERS, PEERS[0]):
        who = Up(candidate, load.App("http://127.0.0.1:1", 1, 1, None), None, Redis())  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match=f"{candidate.name}: wrk ended with status 1: unable to connect"):
            rounds.run(who, 1)
    assert flushed == [True]


def test_a_candidate_that_does_not_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error before anything is measured."""
    from benchmarks import throughput

    def limits(*_: object) -> None:
        raise RuntimeError("it does not limit")

    monkeypatch.setattr(check, "limits", limits)
    monkeypatch.setattr(check, "client_shares", lambda *_: {})
    monkeypatch.setattr(throughput, "compare", lambda *_: pytest.fail("it was measured"))
    with pytest.raises(RuntimeError, match="does not limit"):
        throughput.measure(short=True)
