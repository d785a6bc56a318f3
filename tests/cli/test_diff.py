"""`ratelimit diff`: what changes, for whom; exit 0 where nothing does, 1 where something does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ratelimit.cli.output.exits import FINDINGS, FINE, USAGE
from tests.cli import THREE, policy, run, run_in_terminal
from tests.explanation import TEXT


def files(tmp_path: Path, *edits: tuple[str, str], text: str = TEXT) -> tuple[str, str]:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(text)
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    new.write_text(text)
    return str(old), str(new)


@pytest.mark.parametrize("example", THREE)
def test_examples(example: str) -> None:
    """Each example is itself, and nothing changes; beside another all does, and is told in every format."""
    same = run("diff", policy(example), policy(example))
    assert (same.code, same.out, same.err) == (FINE, "Nothing changes for anybody.\n", "")
    other = policy(THREE[THREE.index(example) - 1])
    ran = run("diff", policy(example), other)
    assert (ran.code, ran.err) == (FINDINGS, "")
    told = json.loads(run("diff", policy(example), other, "--format", "json").out)
    assert (told["version"], told["command"], told["changed"]) == (1, "diff", True)
    for change in told["changes"]:
        assert f"  {change['sentence']}\n" in ran.out
    moved = [group for group in told["callers"] if group["tiers"][0] != group["tiers"][1]]
    lines = run("diff", policy(example), other, "--format", "github").out.splitlines()
    assert len(lines) == len(told["changes"]) + len(moved)


def test_text(tmp_path: Path) -> None:
    """In words, as a table, and for whom."""
    edits = (
        ('"100/minute"', '"50/hour"'),
        ('"500/month"', '"600/month"'),
        ('heavy  = ["POST /v2/invoices", ', "heavy = ["),
    )
    ran = run("diff", *files(tmp_path, *edits), "--at", "2026-03-02T10:00Z")
    lines = [line.rstrip() for line in ran.out.splitlines()]
    assert lines[:4] == [
        "What changes:",
        "  tier basic (3 keys): monthly is raised from 500/month to 600/month",
        "  tier paid (1 key): requests is changed from 100/minute to 50/hour: its counters begin at 0, as that is in"
        " their names",
        "  POST /v2/invoices is create, which was heavy",
    ]
    assert lines[5:9] == [
        "what                        before      after      counters",
        "tiers.basic.limits.monthly  500/month   600/month  go on",
        "tiers.paid.limits.requests  100/minute  50/hour    begin at 0",
        "POST /v2/invoices           heavy       create     go on",
    ]
    assert lines[10] == "For whom:"
    assert lines[11].startswith("  tier paid: organization=both (key ")
    assert lines[12] == "    requests: 100/minute → 50/hour, and begins at 0"


def test_keys(tmp_path: Path) -> None:
    """Keys that come, go, and change their tier; limits that come and go; many callers."""
    keys = "".join(f'[[keys]]\nsha256 = "{n:064x}"\ntier = "a"\nuser = "u{n}"\n' for n in range(9))
    text = f"""{keys}
      [tiers.anonymous]
      limits = []
      [tiers.a]
      limits = [{{ name = "one", rate = "1/minute", per = "user" }}]
      [tiers.b]
      limits = [{{ name = "two", rate = "2/minute" }}]"""
    old, new = files(
        tmp_path,
        (f'"{0:064x}"\ntier = "a"', f'"{0:064x}"\ntier = "b"'),
        (f"{1:064x}", f"{99:064x}"),
        ('rate = "1/minute", per = "user"', 'rate = "1/minute", per = ["user", "ip"]'),
        text=text,
    )
    out = run("diff", old, new).out
    assert "  from tier a to tier b: user=u0 (key 00000000…)\n    one: no more, before 1/minute\n" in out
    assert "    two: 2/minute, and nothing before\n" in out
    assert "  keys of tier a that are known no more, and so anonymous: user=u1 (key 00000000…)\n" in out
    assert "  new keys of tier a, anonymous until now: user=u1 (key 00000000…)\n" in out
    assert "user=u6 (key 00000000…) and 2 more\n    one: 1/minute as before, and begins at 0\n" in out


def test_nobody_known(tmp_path: Path) -> None:
    """What changes for none that the files know."""
    ran = run("diff", *files(tmp_path, ('"GET /health"', '"GET /healthz"')))
    assert ran.out.splitlines()[-1] == "For no caller that the files know anything comes out another way."


def test_only_callers(tmp_path: Path) -> None:
    """A key of another tier alone changes no part of the policy but itself: its caller is told."""
    old, new = files(tmp_path, ('tier = "basic"\norganization = "both"', 'tier = "paid"\norganization = "both"'))
    ran = run("diff", old, new)
    assert ran.code == FINDINGS
    assert ran.out.startswith("For whom:\n  from tier basic to tier paid: organization=both (key ")
    github = run("diff", old, new, "--format", "github").out
    assert github.startswith("::notice file=")
    assert "from tier basic to tier paid: organization=both" in github


def test_standard_input(tmp_path: Path) -> None:
    """One of both may be standard input."""
    old, new = files(tmp_path)
    assert run("diff", "-", new, typed=Path(old).read_bytes()).code == FINE
    both = run("diff", "-", "-")
    assert (both.code, both.err) == (
        USAGE,
        "ratelimit: standard input is only there once: name a file for the others\n",
    )


def test_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an app, operations by its routes; limits in its code that contradict a policy are told, exit 1."""
    (tmp_path / "compared_app.py").write_text(
        "from fastapi import Depends, FastAPI\nfrom ratelimit.fastapi import limit\napp = FastAPI()\n"
        "@app.post('/v2/invoices')\nasync def make() -> str:\n    return ''\n"
        "wrong = FastAPI()\n@wrong.get('/a', dependencies=[Depends(limit('1/hour', name='ip'))])\n"
        "async def a() -> str:\n    return ''\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    old, new = files(tmp_path, ('heavy  = ["POST /v2/invoices", ', "heavy = ["))
    told = json.loads(run("diff", old, new, "--app", "compared_app:app", "--format", "json").out)
    assert [one["sentence"] for one in told["changes"]] == ["POST /v2/invoices is create, which was heavy"]
    wrong = run("diff", old, new, "--app", "compared_app:wrong")
    assert (wrong.code, wrong.out) == (FINDINGS, "")
    assert 'is a limit of the tier "anonymous" too' in wrong.err


def test_hostile(tmp_path: Path) -> None:
    """Names that would move a cursor are told escaped, in every format."""
    edit = 'organization = "both"\nattributes', 'organization = "\\u001b[31m\\u202e<img onerror=x>"\nattributes'
    old, new = files(tmp_path, edit)
    for form in ("text", "json", "github"):
        ran = run("diff", old, new, "--format", form)
        assert ran.code == FINDINGS
        assert "\x1b" not in ran.out


def test_terminal(tmp_path: Path) -> None:
    """On a terminal of 80 columns nothing is wider."""
    old, new = files(tmp_path, ('"100/minute"', '"50/hour"'))
    ran = run_in_terminal("diff", old, new, env={"NO_COLOR": "1"})
    assert ran.code == FINDINGS
    assert max(len(line) for line in ran.out.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()) <= 80
