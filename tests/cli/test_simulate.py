"""`ratelimit simulate`: on the examples' policies, in each format, and whatever can't be read or written."""

from __future__ import annotations

import gzip
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.access_logs import lines
from ratelimit.cli.output.exits import FINDINGS, FINE, USAGE
from tests.cli import THREE, policy, run, run_in_terminal
from tests.cli.test_skeleton import ESCAPES
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

GENEROUS = '[tiers.anonymous]\nlimits = [{ name = "ip", rate = "9999/minute" }]\n'
STRICT = '[tiers.anonymous]\nlimits = [{ name = "ip", rate = "5/minute" }]\n'


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("logs") / "access.log"
    path.write_text("".join(f"{line}\n" for line in lines(2_000, 50, per_second=20.0)))
    return str(path)


@pytest.fixture
def strict(tmp_path: Path) -> str:
    path = tmp_path / "strict.toml"
    path.write_text(STRICT)
    return str(path)


@pytest.mark.parametrize("example", THREE)
def test_examples_in_a_pipe(example: str, log: str) -> None:
    """The whole answer fits into 80 columns: who would be denied, and how the log was read. The limits of one of them
    are in shadow until after this log."""
    code, out, err = run("simulate", policy(example), log)
    assert (code, err) == (FINE if example == "facturapi" else FINDINGS, "")
    assert "would" in out.splitlines()[0]
    assert "read as nginx by the look of the first lines" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    assert not ESCAPES.search(out)


@pytest.mark.parametrize("example", THREE)
def test_examples_as_json(example: str, log: str) -> None:
    """All of it as one object."""
    code, out, _ = run("simulate", policy(example), log, "--format", "json")
    said = json.loads(out)
    assert (said["version"], said["command"], code == FINDINGS) == (1, "simulate", said["callers_denied"] > 0)
    assert said["log"]["understood"] == 2_000


def test_in_a_terminal(log: str, strict: str, tmp_path: Path) -> None:
    """On a terminal of 80 columns there is a bar while it takes its time, and none of it stays."""
    code, out, _ = run_in_terminal("simulate", strict, log, "--html", str(tmp_path / "report.html"))
    assert code == FINDINGS
    assert "2,000 lines" in out
    assert "<!DOCTYPE html>" in (tmp_path / "report.html").read_text()


def test_nobody_is_denied(log: str, tmp_path: Path) -> None:
    """Exit 0, and a notice on GitHub; exit 1 and a warning where somebody is."""
    generous, strict = tmp_path / "generous.toml", tmp_path / "strict.toml"
    generous.write_text(GENEROUS)
    strict.write_text(STRICT)
    code, out, _ = run("simulate", str(generous), log, "--format", "github")
    assert (code, out.startswith(f"::notice file={generous}::")) == (FINE, True)
    code, out, _ = run("simulate", str(strict), log, "--format", "github")
    assert (code, out.startswith(f"::warning file={strict}::")) == (FINDINGS, True)


def test_against_another(log: str, strict: str, tmp_path: Path) -> None:
    """Who is denied newly, and who no longer, by one process or two; not by two where they know other callers."""
    generous, others = tmp_path / "generous.toml", tmp_path / "others.toml"
    generous.write_text(GENEROUS)
    others.write_text(f"[identity]\nipv6_prefix = 48\n{GENEROUS}")
    code, alone, _ = run("simulate", strict, log, "--against", str(generous))
    assert (code, "newly denied" in alone.lower()) == (FINDINGS, True)
    code, together, err = run("simulate", strict, log, "--against", str(generous), "--jobs", "2")
    assert (code, err, together) == (FINDINGS, "", alone)
    code, _, err = run("simulate", strict, log, "--against", str(others), "--jobs", "2")
    assert (code, err) == (
        USAGE,
        "ratelimit: --jobs: the two policies tell callers apart in different ways; leave --jobs out\n",
    )


def test_verdicts(log: str, strict: str, tmp_path: Path) -> None:
    """A line for each line that was understood."""
    out = tmp_path / "verdicts.jsonl"
    assert run("simulate", strict, log, "--verdicts", str(out)).code == FINDINGS
    said = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(one["line"] for one in said) == [*range(1, 2_001)]
    assert {one["file"] for one in said} == {log}


def test_standard_input(strict: str) -> None:
    """The log may come from there, compressed too; not the policy as well."""
    data = gzip.compress("".join(f"{line}\n" for line in lines(200, 5)).encode())
    code, out, _ = run("simulate", strict, "-", typed=data)
    assert (code, "standard input read as nginx" in " ".join(out.split())) == (FINDINGS, True)
    code, _, err = run("simulate", "-", "-", typed=data)
    assert (code, err) == (USAGE, "ratelimit: standard input is only there once: name a file for the others\n")


def test_who_is_calling(strict: str, tmp_path: Path) -> None:
    """--map and --pattern say it, by several or in one; --max-callers bounds how many there are."""
    log = tmp_path / "app.log"
    log.write_text("".join(f"acme-{n % 9} [177244560{n % 9}] GET /x 200\n" for n in range(90)))
    own = ("--pattern", "$org [$msec] $request_method $uri $status")
    code, out, _ = run(
        "simulate", strict, str(log), *own, "--map", "organization=$org tier=anonymous", "--max-callers", "4"
    )
    assert (code, "acme-" in out, "--max-callers" in out) == (FINDINGS, True, True)


def test_of_an_app(strict: str, log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The routes of an app count, and what is wrong with its name is told before anything is read."""
    (tmp_path / "main.py").write_text(
        "from fastapi import Depends, FastAPI\nfrom ratelimit.fastapi import limit\n"
        "app, wrong = FastAPI(), FastAPI()\n@app.get('/v2/{x:path}')\ndef x(): ...\n"
        "@wrong.get('/x', dependencies=[Depends(limit('5/hour', name='ip'))])\ndef y(): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "main", raising=False)  # another test's
    code, out, _ = run("simulate", strict, log, "--app", "main:app")
    assert (code, "--app" in out) == (FINDINGS, False)
    code, out, err = run("simulate", strict, log, "--app", "main:wrong")
    assert (code, out, err.startswith("ratelimit: --app main:wrong: ")) == (FINDINGS, "", True)
    code, out, err = run("simulate", strict, log, "--app", "main:nothing")
    assert (code, out, err) == (USAGE, "", "ratelimit: --app main:nothing: there is no nothing in main\n")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "there is no line of a request"),
        (b"\x7fELF\x00\x00\x01", "is binary, no log of requests"),
        (b"hello\n", "none of the first 1 lines of"),
        (b"\x1f\x8b\x08\x00garbage", "there is no line of a request"),
    ],
    ids=["empty", "binary", "text", "a broken archive"],
)
def test_no_log(data: bytes, says: str, strict: str, tmp_path: Path) -> None:
    """What is no log is a sentence."""
    path = tmp_path / "access.log"
    path.write_bytes(data)
    code, out, err = run("simulate", strict, str(path))
    assert (code, out, err.count("\n")) == (USAGE, "", 1)
    assert says in err


def test_a_log_of_one_line(strict: str, tmp_path: Path) -> None:
    """It is one, and nobody is denied."""
    path = tmp_path / "access.log"
    path.write_text(next(islice(lines(1, 1), 1)))
    assert run("simulate", strict, str(path)).code == FINE


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--log-format", "nginx", "--pattern", "x"),
            "are two ways to say how the lines are written; give one of them",
        ),
        (("--log-format", "alb"), "is of the format alb"),
        (("--pattern", "$remote_addr"), "--pattern"),
        (("--map", "organization"), "write field=$.path"),
        (("--timezone", "Mars/Olympus"), "is no time zone; write a name such as Europe/Madrid"),
        (("--timezone", "../../etc"), "is no time zone; write a name such as Europe/Madrid"),
        (("--verdicts", "no/folder/v.jsonl"), "no/folder/v.jsonl: can't be written: No such file or directory"),
        (("--html", "/dev/full"), "--html /dev/full: can't be written: No space left on device"),
        (("--verdicts", "/dev/full"), "the verdicts can't be written to /dev/full: No space left on device"),
        (("--verdicts", "a\0b"), "can't be written: embedded null byte"),
        (("--against", "no.toml"), "no.toml: can't be read: No such file or directory"),
        (("--jobs", "0"), "Invalid value for '--jobs'"),
    ],
)
def test_what_is_wrong_with_the_options(options: tuple[str, ...], says: str, log: str, strict: str) -> None:
    """Each is a sentence, and exit 2."""
    code, out, err = run("simulate", strict, log, *options)
    assert (code, out) == (USAGE, "")
    assert says in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize("option", ["--verdicts", "--html"])
@pytest.mark.parametrize("name", ["access.log", "link.log", "strict.toml"])
def test_nothing_that_is_read_is_written_over(option: str, name: str, log: str, strict: str, tmp_path: Path) -> None:
    """A log or policy that is named as what to write, by whatever name, stays as it is: exit 2."""
    copy = tmp_path / "access.log"
    copy.write_bytes(Path(log).read_bytes())
    (tmp_path / "link.log").symlink_to(copy)
    before = (tmp_path / name).read_bytes()
    code, out, err = run("simulate", strict, str(copy), option, str(tmp_path / name))
    assert (code, out) == (USAGE, "")
    assert f"{option} {tmp_path / name}: would be written over" in err
    assert (tmp_path / name).read_bytes() == before


def test_two_files_to_write_are_two(log: str, strict: str, tmp_path: Path) -> None:
    """The page is not written over the verdicts, and a device is what it is to both. What can't be done leaves no
    empty file behind."""
    path = str(tmp_path / "new")
    code, _, err = run("simulate", strict, log, "--verdicts", path, "--html", path)
    assert (code, f"--html {path}: would be written over {path}" in err) == (USAGE, True)
    assert run("simulate", strict, log, "--verdicts", "/dev/null", "--html", "/dev/null").code == FINDINGS
    assert run("simulate", strict, "no.log", "--html", path).code == USAGE
    assert not Path(path).exists()
    Path(path).write_text("of yesterday")
    assert run("simulate", strict, "no.log", "--html", path).code == USAGE
    assert Path(path).read_text() == "of yesterday"


def test_into_a_pipe(log: str, strict: str, tmp_path: Path) -> None:
    """Who reads a named pipe is given all verdicts: nothing else opens it, and closes it again."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_bytes)
        assert run("simulate", strict, log, "--verdicts", str(pipe)).code == FINDINGS
        assert read.result(timeout=10).count(b"\n") == 2_000


def test_a_log_that_is_named_twice(log: str, strict: str, tmp_path: Path) -> None:
    """Each of its lines would count twice: exit 2. Standard input and pipes are not asked which file they are."""
    (tmp_path / "link.log").symlink_to(log)
    code, out, err = run("simulate", strict, log, str(tmp_path / "link.log"))
    assert (code, out) == (USAGE, "")
    assert "link.log is named twice, and each line of it would count twice; name it once" in err
    assert run("simulate", strict, log, "/dev/null").code == FINDINGS
    assert "there is no line of a request" in run("simulate", strict, "/dev/null", "/dev/null").err


def test_lines_that_only_begin_well(strict: str, tmp_path: Path) -> None:
    """Where a format is said and no line of it is understood, it is told why."""
    path = tmp_path / "access.log"
    path.write_text("x\n" * 9)
    code, out, err = run("simulate", strict, str(path), "--pattern", "$remote_addr [$time_local] $request")
    assert (code, out) == (USAGE, "")
    assert err == f"ratelimit: no line of {path} was understood: 9 not of this format\n"


def test_a_wrong_policy(log: str, tmp_path: Path) -> None:
    """Each of its mistakes is told, and exit 1."""
    path = tmp_path / "wrong.toml"
    path.write_text('style = "itef"\n[tiers.anonymous]\nlimits = []\n')
    code, out, err = run("simulate", str(path), log)
    assert (code, out, "itef" in err) == (FINDINGS, "", True)
