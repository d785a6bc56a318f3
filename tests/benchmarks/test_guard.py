"""No path of a request runs more bytecodes than are on record. A count, so that it can't flake."""

from __future__ import annotations

import asyncio
import sys

import pytest

import ratelimit
from benchmarks import environments, guard, guard_paths
from benchmarks.guard import Record
from benchmarks.guard_paths import Counter
from tests import servers

RECORD: Record = {"a path": {guard.REASON: "it checks twice", "3.11": 1_000}}
TIMES = {"once": 1_000, "thrice": 3_000}


@pytest.mark.skipif(environments.OWN not in guard.PYTHONS, reason="there is a record a version of Python")
def test_no_path_is_longer(valkey: servers.Server) -> None:
    """Nor so much shorter that its record would not notice what is added; the message says what to do."""
    counts = guard.counted(valkey.unix_url)
    assert counts.keys() == guard.known().keys()
    assert list(guard.problems(guard.known(), counts, environments.OWN)) == []


def test_each_path_has_a_number_for_each_python() -> None:
    """And a reason for its last rise."""
    assert {frozenset(numbers) for numbers in guard.known().values()} == {frozenset({guard.REASON, *guard.PYTHONS})}


@pytest.mark.parametrize(("bytecodes", "said"), [(1_000, ""), (1_011, "11 more than"), (899, "far below"), (901, "")])
def test_problems(bytecodes: int, said: str) -> None:
    """More than the record, or so much less that it guards nothing: both are told with the command that records."""
    lines = list(guard.problems(RECORD, {"a path": bytecodes}, "3.11"))
    assert len(lines) == bool(said)
    assert all(said in line and guard.LOWER in line for line in lines)


def test_what_is_not_on_record() -> None:
    """Of a new path and of a Python without a number."""
    (line,) = guard.problems(RECORD, {"a path": 1_000}, "3.13")
    assert line.startswith("a path: 1,000 bytecodes on Python 3.13, and none on record")


def test_recorded() -> None:
    """What falls is written down as it is; what rises needs a reason, which stands beside it from then on."""
    assert guard.recorded(RECORD, {"a path": 700}, "3.11") == {"a path": {guard.REASON: "it checks twice", "3.11": 700}}
    with pytest.raises(ValueError, match=r"a path rises from 1,000 to 2,000 on Python 3\.11: say why"):
        guard.recorded(RECORD, {"a path": 2_000}, "3.11")
    raised = guard.recorded(RECORD, {"a path": 2_000, "new": 5}, "3.11", "for exactness")
    assert raised == {
        "a path": {guard.REASON: "for exactness", "3.11": 2_000},
        "new": {guard.REASON: guard.FIRST, "3.11": 5},
    }
    assert RECORD["a path"]["3.11"] == 1_000


def test_counter() -> None:
    """It counts what Python runs, by how often, and gives tracing back to whoever had it."""
    namespace: dict[str, object] = {}
    exec(compile("def work(n):\n for _ in range(n): len('')", "counted", "exec"), namespace)  # noqa: S102
    before, seen = sys.gettrace(), {}
    for name, times in TIMES.items():
        with Counter() as counter:
            namespace["work"](times)  # type: ignore[operator]
        seen[name] = counter.bytecodes
    assert sys.gettrace() is before
    assert TIMES["once"] < seen["once"]
    assert seen["thrice"] == pytest.approx(3 * seen["once"], rel=0.05)


def test_the_harness_is_left_out() -> None:
    """Code of the benchmarks and of asyncio is nobody's bytecode; what dataclasses wrote for a limiter is its own."""
    assert not guard_paths.counts(guard_paths.__file__)
    assert not guard_paths.counts(asyncio.events.__file__)
    assert guard_paths.counts(ratelimit.__file__)
    assert guard_paths.counts("<string>")
    assert guard_paths.counts(f"{guard_paths.FOLDER}/.venvs/3.11/ratelimit/lib/site-packages/pydantic/main.py")
