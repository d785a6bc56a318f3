"""The file of verdicts: a line for each request, whatever is in its names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ratelimit.simulate.logs.formats import Format
from ratelimit.simulate.logs.sources import LogError
from ratelimit.simulate.run import PolicyText, Share, Task
from ratelimit.simulate.verdicts import Verdicts, joined

POLICY = """
[operations]
exempt = ["GET /health"]
[tiers.anonymous]
limits = [
  { name = "requests", rate = "1/minute" },
  { name = "dear", rate = "5/minute", cost = { create = 5, write = 5 }, operations = ["create", "write"] },
]
"""
T = 1_772_445_600_000


def written(folder: Path, *lines: dict[str, Any], policy: str = POLICY, **options: Any) -> tuple[list[Any], Any]:
    log, out = folder / "a\u2028b.jsonl", folder / "verdicts.jsonl"
    log.write_text("".join(json.dumps({"at": T, "method": "GET", "path": "/", **line}) + "\n" for line in lines))
    of = Format("ratelimit", roles=(("recorded", "$.at"),))
    task = Task(PolicyText(policy, "policy"), (str(log),), (of,), verdicts=str(out), **options)
    replayed = Share(task).run()
    return [json.loads(line) for line in out.read_text(encoding="ascii").splitlines()], replayed.summary


def test_each_line(tmp_path: Path) -> None:
    """Allowed, denied with the limit and the wait, and exempt; hostile names are text."""
    hostile = '"<img src=x onerror=alert(1)>\x1b[31m'
    said, summary = written(
        tmp_path, {"organization": hostile}, {"organization": hostile}, {"path": "/health"}, {"ip": "192.0.2.7"}
    )
    file = str(tmp_path / "a\u2028b.jsonl")
    name = 'organization="<img%20src%3Dx%20onerror%3Dalert(1)>%1B[31m'
    assert said == [
        {"file": file, "line": 1, "caller": name, "operation": "search", "allowed": True},
        {"file": file, "line": 2, "caller": name, "operation": "search", "allowed": False}
        | {"limit": "requests", "retry_after_ms": 61_000},
        {"file": file, "line": 3, "caller": None, "operation": None, "allowed": True},
        {"file": file, "line": 4, "caller": "ip=192.0.2.7", "operation": "search", "allowed": True},
    ]
    assert (summary.requests, summary.denied, summary.exempt) == (3, 1, 1)


def test_a_wait_without_end(tmp_path: Path) -> None:
    """What can never pass has a wait of null."""
    policy = POLICY.replace('"5/minute"', '"0/minute"').replace("cost = { create = 5, write = 5 }, ", "")
    [said], _ = written(tmp_path, {"method": "POST"}, policy=policy)
    assert (said["limit"], said["retry_after_ms"]) == ("dear", None)


def test_more_callers_than_a_bound(tmp_path: Path) -> None:
    """Those beyond it are not decided, not denied, and counted."""
    lines = [{"ip": f"192.0.2.{number % 5}"} for number in range(10)]
    said, summary = written(tmp_path, *lines, most_callers=3)
    assert (len(said), summary.beyond, summary.callers) == (6, 4, 3)


def test_counters_of_two_tiers_and_of_users(tmp_path: Path) -> None:
    """A counter is known by its key: that of two tiers is one, those of the users of an organization are each another,
    and who has no user falls back to that of all."""
    policy = """
[tiers.anonymous]
limits = [{ name = "requests", rate = "1/minute" }]
[tiers.basic]
limits = [{ name = "requests", rate = "1/minute", per = "user" }]
"""
    acme = {"organization": "acme"}
    lines = [acme, {**acme, "tier": "basic"}]
    lines += [{**acme, "tier": "basic", "user": user} for user in ("ana", "ana", "bo")]
    said, _ = written(tmp_path, *[{"tier": "anonymous", **line} for line in lines], policy=policy)
    assert [one["allowed"] for one in said] == [True, False, True, False, True]


def test_many_operations_of_one_caller(tmp_path: Path) -> None:
    """However many there are, all are counted in the same."""
    names = [f"o{number}" for number in range(12)] * 2
    policy = '[tiers.anonymous]\nlimits = [{ name = "requests", rate = "20/minute" }]\n'
    said, _ = written(tmp_path, *[{"operation": name} for name in names], policy=policy)
    assert [one["operation"] for one in said] == names
    assert [one["allowed"] for one in said] == [True] * 20 + [False] * 4


def test_units_that_may_come_back(tmp_path: Path) -> None:
    """Who is denied while units of that limit may still go back is told to ask in a second, as by the middleware."""
    policy = """
[tiers.anonymous]
limits = [
  { name = "all", rate = "9/minute" },
  { name = "failures", rate = "1/minute", charge_on = ["5xx"] },
  { name = "seen", rate = "1/minute", mode = "shadow", charge_on = ["5xx"] },
]
"""
    lines = [{"at": T, "took": 500}, {"at": T + 100}, {"at": T + 600, "took": 9, "status": 500}, {"at": T + 700}]
    said, _ = written(tmp_path, *[{"status": 200, **line} for line in lines], policy=policy)
    assert [one.get("retry_after_ms") for one in said] == [None, 1_000, None, 60_300]


def test_a_shadow_that_is_exceeded_gives_nothing_back(tmp_path: Path) -> None:
    """What was not taken does not come back: neither a slot nor a unit."""
    policy = """
[tiers.anonymous]
limits = [
  { name = "slot", concurrency = 1, mode = "shadow" },
  { name = "seen", rate = "2/minute", mode = "shadow", refund_on = ["200"] },
  { name = "all", rate = "3/minute" },
]
"""
    lines = [{"at": T + 10 * number, "took": 1_000, "status": 200 if number % 2 else 500} for number in range(5)]
    said, summary = written(tmp_path, *lines, policy=policy)
    assert [one["allowed"] for one in said] == [True, True, True, False, False]
    assert summary.denied == 2


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """It is a sentence, also where it shows only at the end."""
    with pytest.raises(LogError, match="the verdicts can't be written to /dev/full: No space left on device"):
        Share(Task(PolicyText(POLICY, "p"), (str(log(tmp_path, 30_000)),), (recorded(),), verdicts="/dev/full")).run()
    verdicts = Verdicts("/dev/full", ["a"])
    verdicts.exempt((0, 0, 1, 0, b"", 0, b"", None))
    with pytest.raises(LogError, match="can't be written to /dev/full"):
        verdicts.close()
    verdicts.drop()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Neither the file itself nor what is joined into it."""
    with pytest.raises(LogError, match="No such file or directory"):
        Verdicts(str(tmp_path / "no" / "file"), ["a"])
    part = tmp_path / "0"
    part.write_text("x" * 37 + "{}\n")
    with pytest.raises(LogError, match="No such file or directory"):
        joined(str(tmp_path / "no" / "file"), [str(part)])


def recorded() -> Format:
    return Format("ratelimit", roles=(("recorded", "$.at"),))


def log(folder: Path, count: int) -> Path:
    path = folder / "log"
    path.write_text(f'{{"at": {T}, "method": "GET", "path": "/", "ip": "1.2.3.4"}}\n' * count)
    return path
