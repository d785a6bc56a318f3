"""`ratelimit launch`: where launches are, whom they would have denied, and how they are paused and go on."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import count
from pathlib import Path

import pytest

from ratelimit.cli.commands import launch
from ratelimit.launches.shared import shared_of
from ratelimit.model import Concurrency, Identity
from ratelimit.stores.redis import RedisStore
from tests.cli import THREE, Ran, launched, policy, run, run_in_terminal
from tests.launches.test_report import Report, charge, would_deny
from tests.servers import Server

PREFIXES = (f"cli-launch{number}" for number in count())
T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
STAGES = """
[tiers.anonymous]
limits = [ { name = "ip", rate = "60/minute" } ]

[tiers.basic]
limits = [
  { name = "requests", rate = "5/minute", launch = { warn = 0.8, shadow_until = 2027-02-01T00:00:00Z, brownouts = [
    "2026-03-01T09:00Z/3h", "2027-01-31T23:00Z/6h", "2027-03-01T09:00Z/1h",
  ], cohorts = [
    { share = "12.5%", from = 2027-01-20T00:00:00Z },
    { ip = "192.0.2.7", share = "10%", from = 2027-01-25T00:00:00Z },
    { organization = "globex", from = 2026-01-10T00:00:00Z },
    { api_key = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", from = 2028-01-10T00:00:00Z },
  ] } },
  { name = "over", rate = "5/minute", launch = { shadow_until = 1970-01-01T00:00:00Z } },
  { name = "never", rate = "5/minute", launch = {} },
]

[[overrides]]
organization = "initech"
limits = ["requests"]
mode = "shadow"
until = 2027-03-01T00:00:00Z
reason = "ticket \\u001B[31m4711"

[[overrides]]
api_key = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
limits = { never = "7/minute", ip = "5/minute" }
mode = "enforce"
from = 2027-01-01T00:00:00Z

[[overrides]]
organization = "acme"
limits = { ip = "7/minute", requests = "5/minute" }
"""


@pytest.fixture(autouse=True)
def no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RATELIMIT_STORE_URL", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "ratelimit.toml"
    path.write_text(STAGES)
    return str(path)


@pytest.fixture
def on_redis(tmp_path: Path, valkey: Server) -> str:
    path = tmp_path / "ratelimit.toml"
    path.write_text(f'store = {{ url = "{valkey.unix_url}", prefix = "{next(PREFIXES)}" }}\n{STAGES}')
    return str(path)


def prefix_of(file: str) -> str:
    found = re.search('prefix = "([^"]+)"', Path(file).read_text())
    assert found
    return found[1]


EXPECTED = """\
It is 2026-03-01T10:00:00Z.

requests of basic: in a brownout, enforced for all
  warns from 80 % of the max on, while it is in shadow
  now      shadow    until 2027-02-01T00:00:00Z
  now      cohort    from 2026-01-10T00:00:00Z for organization=globex
  now      brownout  2026-03-01T09:00:00Z to 2026-03-01T12:00:00Z
  to come  cohort    from 2027-01-20T00:00:00Z for 12.5 % of all callers
  to come  cohort    from 2027-01-25T00:00:00Z for 10 % of ip=192.0.2.7
  to come  brownout  2027-01-31T23:00:00Z to 2027-02-01T00:00:00Z
  to come  enforced  from 2027-02-01T00:00:00Z

over of basic: enforced
  now      enforced  from 1970-01-01T00:00:00Z

never of basic: in shadow
  now      shadow    for good: there is no shadow_until

never of api_key=#{key} is always enforced from 2027-01-01T00:00:00Z

requests of organization=initech is always in shadow until 2027-03-01T00:00:00Z: ticket \\x1b[31m4711
"""


def test_status_in_memory(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage with its instants, those that have no effect left out, by the clock of this machine; what somebody
    made up is printed as it is harmless, and an API key as a hash."""
    monkeypatch.setattr(launch, "time_ns", lambda: T * 1_000_000)
    ran = run("launch", "status", file)
    assert (ran.code, ran.err) == (0, "")
    assert re.sub("#[0-9a-f]{32}", "#{key}", ran.out) == EXPECTED


def test_status_as_json(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as data; what never ends ends at null."""
    monkeypatch.setattr(launch, "time_ns", lambda: T * 1_000_000)
    said = json.loads(run("launch", "status", file, "--format", "json").out)
    assert (said["version"], said["command"], said["now_ms"], said["paused_since_ms"]) == (1, "launch status", T, None)
    requests, over, never = said["limits"]
    assert [one["now"] for one in said["limits"]] == ["brownout", "enforced", "shadow"]
    assert (requests["warn"], [stage["when"] for stage in requests["stages"]]) == (0.8, ["now"] * 3 + ["to come"] * 4)
    stage = {"what": "enforced", "since_ms": 0, "until_ms": None, "who": "", "when": "now"}
    assert (over["stages"], never["stages"][0]["until_ms"]) == ([stage], None)
    assert [(one["mode"], one["limits"]) for one in said["overrides"]] == [
        ("enforce", ["never"]),
        ("shadow", ["requests"]),
    ]
    assert run("launch", "status", file, "--format", "github").out.splitlines() == [
        f"::notice file={file}::requests of basic: brownout",
        f"::notice file={file}::over of basic: enforced",
        f"::notice file={file}::never of basic: shadow",
    ]


def test_pause_and_resume(on_redis: str, valkey: Server) -> None:
    """Said once it holds, by the store's clock, and is shown; twice is as good as once."""

    def paused() -> int | None:
        since: int | None = json.loads(run("launch", "status", on_redis, "--format", "json").out)["paused_since_ms"]
        return since

    first = run("launch", "pause", on_redis)
    names = "never, over, requests"
    assert re.fullmatch(rf"launches are paused since .*Z: in shadow everywhere within 2 s: {names}\n", first.out)
    since = paused()
    assert since
    again = run("launch", "pause", on_redis)
    assert again.out == f"nothing to do, {first.out}"
    status = run("launch", "status", on_redis).out
    assert "Launches are PAUSED since" in status
    assert status.count("in shadow, paused") == 3
    github = run("launch", "status", on_redis, "--format", "github").out
    assert github.startswith(f"::notice file={on_redis}::requests of basic: shadow, paused\n")
    said = json.loads(run("launch", "status", on_redis, "--format", "json").out)
    assert {one["now"] for one in said["limits"]} == {"shadow"}
    resumed = run("launch", "resume", on_redis, "--format", "github")
    assert resumed.out.startswith(f"::notice file={on_redis}::launches go on since ")
    assert paused() is None
    assert "PAUSED" not in run("launch", "status", on_redis).out
    with valkey.client() as client:
        assert len(client.zrange(f"{prefix_of(on_redis)}:{{launch}}:paused", 0, -1)) == 2


def test_resumed_after_a_flush(on_redis: str, valkey: Server) -> None:
    """What has gone from the store is known to processes, which write it again: that launches go on comes after it."""
    since = json.loads(run("launch", "pause", on_redis, "--format", "json").out)["since_ms"]
    with valkey.client() as client:
        client.delete(f"{prefix_of(on_redis)}:{{launch}}:paused")
        said = json.loads(run("launch", "resume", on_redis, "--format", "json").out)
        assert (said["said"], said["since_ms"] > since) == (True, True)
        client.zadd(f"{prefix_of(on_redis)}:{{launch}}:paused", {f"{since} paused": since})
    assert json.loads(run("launch", "status", on_redis, "--format", "json").out)["paused_since_ms"] is None


def test_a_word_from_the_future(on_redis: str, valkey: Server) -> None:
    """Where the store's clock went back, what is said now still comes after what was said before."""
    with valkey.client() as client:
        client.zadd(f"{prefix_of(on_redis)}:{{launch}}:paused", {"4000000000000 paused": 4_000_000_000_000})
    said = json.loads(run("launch", "resume", on_redis, "--format", "json").out)
    assert (said["paused"], said["since_ms"], said["said"]) == (False, 4_000_000_000_001, True)


def test_report(on_redis: str, valkey: Server) -> None:
    """Of all processes: who, how often, the max that it needs, and what is not sure."""
    assert run("launch", "report", on_redis).out == (
        "No process has written of a would-be denial within the last week.\n"
    )
    one, other = Report(), Report()
    for number in range(3):
        one.note(would_deny(charge(), now_ms=T + number), Identity("acme"))
    other.note(would_deny(charge("globex")), Identity("globex\x1b[31m"))
    other.note(would_deny(charge(kind=Concurrency())), Identity("acme"))
    part = other.written()
    part[0][2:4] = [6, 5]  # type: ignore[index] # so many were dropped

    async def written() -> None:
        store = RedisStore(valkey.unix_url, prefix=prefix_of(on_redis), timeout=5)
        shared = shared_of(store)
        assert shared
        await shared.write("one", one.written())
        await shared.write("other", part)
        await store.close()

    asyncio.run(written())
    out = run("launch", "report", on_redis).out
    assert (
        out
        == """\
requests (60000/60) would have denied 9 requests
           requests  needs a max of  last                     caller
             3 to 8       6 or more  2026-03-01T10:00:00Z  organization=acme
                  1               4  2026-03-01T10:00:00Z  organization=globex%1B[31m
  Of others nobody had more than 5.

requests (c) would have denied 1 requests
           requests  needs a max of  last                     caller
                  1         unknown  2026-03-01T10:00:00Z  organization=acme
  There were no others.

Written by 2 processes within the last week.
"""
    )
    top = json.loads(run("launch", "report", on_redis, "--top", "1", "--format", "json").out)
    assert (top["processes"], top["limits"][0]["floor"], len(top["limits"][0]["rows"])) == (2, 5, 1)
    assert run("launch", "report", on_redis, "--format", "github").out.splitlines() == [
        f"::notice file={on_redis}::requests would have denied 9 requests",
        f"::notice file={on_redis}::requests would have denied 1 requests",
    ]
    with valkey.client() as client:
        key = f"{prefix_of(on_redis)}:{{launch}}:report"
        client.set(f"{key}:one", "\x1b[31m")
        assert "\n1 report can't be read: written by another" in run("launch", "report", on_redis).out
        assert "\nWritten by 1 process within" in run("launch", "report", on_redis).out
        client.set(f"{key}:other", b"\xff\x00")
        assert run("launch", "report", on_redis).out.endswith(
            "2 reports can't be read: written by another version of ratelimit, or by somebody else.\n"
        )


COMMANDS = ("status", "report", "pause", "resume")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_can_not_be(command: str, file: str, tmp_path: Path) -> None:
    """One sentence each, and its exit code: a file that is not there, one that is wrong, one without a launch, a store
    out of reach, a URL that is none."""

    def ran(*arguments: str) -> tuple[int, str]:
        done = run("launch", command, *arguments)
        assert done.out == ""
        return done.code, done.err

    assert ran(str(tmp_path / "gone.toml")) == (
        2,
        f"ratelimit: {tmp_path}/gone.toml: can't be read: No such file or directory\n",
    )
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(STAGES.replace("warn = 0.8", "warn = 80"))
    assert ran(str(wrong))[0] == 1
    wrong.write_text("tiers.anonymous.limits = []")
    code, said = ran(str(wrong))
    assert (code, said) == (
        2,
        f"ratelimit: {wrong}: no limit has a launch; write one: launch = {{ shadow_until = … }}\n",
    )
    code, said = ran(file, "--store", "redis://127.0.0.1:1/0")
    assert (code, said.count("\n")) == (3, 1)
    assert said.startswith("ratelimit: the store can't be reached: ConnectionError: ")
    code, said = ran(file, "--store", "mysql://x")
    assert (code, "is not supported" in said) == (2, True)


@pytest.mark.parametrize("command", ["report", "pause", "resume"])
def test_in_memory(command: str, file: str) -> None:
    """What needs a store that others have, too, says so."""
    ran = run("launch", command, file)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("ratelimit: the store is memory://, ")
    assert "--store redis://" in ran.err


@pytest.mark.parametrize("example", THREE)
def test_the_examples(example: str) -> None:
    """They launch nothing yet, which each command says."""
    for command in COMMANDS:
        assert run("launch", command, policy(example)).code == 2


@pytest.mark.parametrize("example", THREE)
def test_the_examples_launched(example: str, tmp_path: Path, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a launch added, each command in a pipe, where nothing is coloured, and for programs."""
    monkeypatch.setenv("RATELIMIT_STORE_URL", valkey.unix_url)
    file, noted = launched(example, tmp_path), Report()
    noted.note(would_deny(charge(name="address")), Identity("acme"))

    async def written() -> None:
        store = RedisStore(valkey.unix_url, prefix=prefix_of(file), timeout=5)
        shared = shared_of(store)
        assert shared
        await shared.write("one", noted.written())
        await store.close()

    asyncio.run(written())
    piped = {command: run("launch", command, file) for command in COMMANDS}
    assert {(ran.code, ran.err, "\x1b" in ran.out) for ran in piped.values()} == {(0, "", False)}
    for command in ("status", "report"):
        assert max(map(len, piped[command].out.splitlines())) <= 80
    assert "address of anonymous: in shadow\n  warns from 80 % of the max on" in piped["status"].out
    assert "\naddress (60000/60) would have denied 1 requests\n" in f"\n{piped['report'].out}"
    assert piped["pause"].out.endswith(": in shadow everywhere within 2 s: address\n")
    assert piped["resume"].out.endswith(": their stages hold everywhere within 2 s: address\n")
    told = {command: json.loads(run("launch", command, file, "--format", "json").out) for command in COMMANDS}
    assert {(said["version"], said["command"]) for said in told.values()} == {
        (1, f"launch {command}") for command in COMMANDS
    }
    stages = [stage["what"] for stage in told["status"]["limits"][0]["stages"]]
    assert sorted(stages) == ["brownout", "cohort", "enforced", "shadow"]
    assert [row["caller"] for row in told["report"]["limits"][0]["rows"]] == ["organization=acme"]
    assert [(told[command]["paused"], told[command]["limits"]) for command in ("pause", "resume")] == [
        (True, ["address"]),
        (False, ["address"]),
    ]


def test_in_a_terminal(on_redis: str) -> None:
    """In a pseudo-terminal of 80 columns no line is wider, and it is said what is paused."""
    assert run("launch", "pause", on_redis).code == 0
    ran: Ran = run_in_terminal("launch", "status", on_redis)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", ran.out).splitlines()
    assert ran.code == 0
    assert max(map(len, lines)) <= 80
    assert any("PAUSED" in line for line in lines)
    assert "\x1b[31m4711" not in ran.out


def test_help() -> None:
    """Each command has examples, and the group says what there is."""
    assert all(command in run("launch", "--help").out for command in COMMANDS)
    assert all("ratelimit launch " in run("launch", command, "--help").out for command in COMMANDS)
