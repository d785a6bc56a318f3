"""What the harness reads: the output of wrk, the counts of Redis, the time of a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import pytest

from benchmarks import check, load
from tests import servers

PRINTED = """\
Running 1s test @ http://127.0.0.1:8000
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   208.43us  188.42us   4.40ms   95.73%
    Req/Sec    20.29k     5.00k   29.12k    72.73%
  Latency Distribution
     50%  176.00us
     75%  231.00us
     90%  344.00us
     99%  510.00us
  22146 requests in 1.10s, 3.61MB read
Requests/sec:  20127.24
Transfer/sec:      3.28MB
RESULT {"requests": 22146, "seconds": 1.100300, "refused": 0, "broken": 0, "p50_ms": 0.176, "p99_ms": 0.510}
"""


def test_output_of_wrk() -> None:
    """The line of our script is found in what wrk prints, and agrees with wrk's own lines."""
    run = load.parse(PRINTED)
    assert run == load.Run(requests=22146, seconds=1.1003, refused=0, broken=0, p50_ms=0.176, p99_ms=0.51)
    assert round(run.rate, 2) == 20127.24


def test_wrk_without_our_line() -> None:
    """Where our line is missing, the message shows what wrk printed instead."""
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:8000 Connection refused\n")


def test_wrk_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without wrk on the PATH the message says how to get it."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match="apt-get install wrk"):
        load.wrk_program()


BEFORE = load.Commands({"hello": 1, "evalsha": 10, "get": 5}, {"hello": 9, "evalsha": 100, "get": 5})
AFTER = load.Commands(
    {"hello": 1, "evalsha": 30, "get": 45, "eval": 1, "ttl": 20},
    {"hello": 9, "evalsha": 180, "get": 25, "eval": 7, "ttl": 10},
)


def test_what_was_spent() -> None:
    """The difference of two readings has new commands, and none that was not called in between."""
    spent = load.spent(BEFORE, AFTER)
    assert spent == load.Commands(
        {"evalsha": 20, "get": 40, "eval": 1, "ttl": 20}, {"evalsha": 80, "get": 20, "eval": 7, "ttl": 10}
    )
    assert (spent.scripts, spent.script_microseconds) == (21, 87)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({}, 81),  # no scripts: all that Redis counted
        ({"evalsha": 1.0, "eval": 1.0, "ttl": 1.0}, 41),  # each get was a script's
        ({"evalsha": 1.0, "eval": 1.0, "ttl": 1.0, "get": 0.5}, 61),
    ],
)
def test_commands_of_clients(shares: Mapping[str, float], expected: float) -> None:
    """What scripts call is not counted as sent by clients."""
    assert load.spent(BEFORE, AFTER).by_clients(shares) == expected


def test_shares() -> None:
    """A command that clients and scripts use is shared as it was seen, and the calls of scripts are clients'."""
    shares = check.shares({"evalsha": 3, "incrby": 3}, {"incrby": 1, "get": 6})
    assert shares["incrby"] == 0.75
    assert shares["evalsha"] == shares["eval"] == 1
    assert shares.get("get", 0) == 0
    assert check.shares({"incrby": 3}, {}) == {}


def test_watched_on_a_server(valkey: servers.Server) -> None:
    """On a real server: what clients send is told from what their scripts call, and so are the counts."""
    with valkey.client() as client:
        before = load.commands(client)
        with check.watched(valkey) as (by_clients, in_scripts):
            for _ in range(3):
                client.eval("redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[1])", 1, "bench")
            client.execute_command("INCR", "bench")
        spent = load.spent(before, load.commands(client))
    assert in_scripts == {"incr": 6}
    assert (by_clients["eval"], by_clients["incr"]) == (3, 1)
    assert (spent.calls["incr"], spent.scripts) == (7, 3)
    only = load.Commands({"eval": 3, "incr": 7}, {})
    assert only.by_clients(check.shares(by_clients, in_scripts)) == pytest.approx(4)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
def test_time_of_a_process() -> None:
    """Processor time is that of the process itself, in seconds."""
    own = os.times()
    assert load.cpu_seconds(os.getpid()) == pytest.approx(own.user + own.system, abs=0.05)


def test_time_of_no_process() -> None:
    """A process that /proc does not know has no time: NaN, as on a system without /proc."""
    seconds = load.cpu_seconds(2**31)
    assert seconds != seconds
