"""`ratelimit explain`: in text, JSON and annotations, on the three examples; and no API key on the command line."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer

from ratelimit import RedisStore
from ratelimit.cli.input import callers
from ratelimit.cli.input.callers import LONGEST
from ratelimit.cli.output.exits import FINDINGS, FINE, STORE, USAGE
from tests.cli import THREE, policy, run, run_in_terminal
from tests.explanation import TEXT
from tests.servers import Server

NOWHERE = "redis://127.0.0.1:1/0"
CALLERS = {"facturapi": "ip=192.0.2.7", "lightspeed": "organization=corner", "lendworks": "organization=northbank"}


def file_of(tmp_path: Path, text: str = TEXT, prefix: str = "explain") -> str:
    file = tmp_path / "ratelimit.toml"
    file.write_text(f'store = {{ prefix = "{prefix}" }}\n{text}')
    return str(file)


def explained(file: str, *arguments: str, typed: str | bytes | None = None) -> Any:
    ran = run("explain", file, *arguments, "--format", "json", typed=typed)
    assert ran.code == FINE, ran.err
    return json.loads(ran.out)


@pytest.mark.parametrize("example", THREE)
def test_examples(example: str) -> None:
    """On each example, piped: who calls, what it is, what counts it; in 80 columns but for what is one word."""
    asked = ("explain", policy(example), "GET", "/v2/invoices/7", "--identity", CALLERS[example])
    ran = run(*asked)
    assert (ran.code, ran.err) == (FINE, "")
    assert ran.out.startswith(f"The caller is {CALLERS[example]}, tier ")
    assert "GET /v2/invoices/7 is detail_read.\n" in ran.out
    told = json.loads(run(*asked, "--format", "json").out)
    assert (told["version"], told["command"], told["call"]["operation"]) == (1, "explain", "detail_read")
    for limit in told["limits"]:
        assert f"{limit['name']} is counted in {limit['counter']}" in ran.out
    assert run(*asked, "--format", "github").out.startswith("::notice file=")


def test_terminal() -> None:
    """On a terminal of 80 columns nothing is wider, and what is told has colours."""
    ran = run_in_terminal("explain", policy("lendworks"), "GET", "/loans", "--identity", "organization=northbank")
    assert ran.code == FINE
    assert "\x1b[1m" in ran.out
    plain = run_in_terminal(
        "explain", policy("lendworks"), "GET", "/loans", "--identity", "organization=northbank", env={"NO_COLOR": "1"}
    )
    assert max(len(line) for line in plain.out.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()) <= 80


def test_text(tmp_path: Path) -> None:
    """All of it, in words."""
    file = file_of(tmp_path)
    ran = run("explain", file, "POST", "/v2/invoices", "--key", "-", "--at", "2026-03-02T10:00Z", typed="one\n")
    assert ran.code == FINE
    assert [line.rstrip() for line in ran.out.splitlines()] == EXPLAINED.splitlines()


EXPLAINED = """\
The caller is organization=acme, tier basic.
  the API key is keys[0] of the file
POST /v2/invoices is heavy.
  /v2/invoices is heavy by the rule "POST /v2/invoices", operations.heavy[0]
It is counted by, as of 2026-03-02T10:00:00Z:
limit     allows        cost  mode                     why
requests  31/5 minutes  5     enforced                 (10 * seats + 1), with
                                                       seats = 3
monthly   900/month     1     enforced                 by overrides[1], for
                                                       organization = acme, mode
                                                       = test until
                                                       2026-03-10T00:00:00Z,
                                                       instead of 500/month
at once   2 at a time   1     enforced                 as its tier has it
soon      1/minute      1     in shadow until          as its tier has it
                              2026-03-03T00:00:00Z
tried     1/minute      1     in shadow                as its tier has it
  requests is counted in explain:{organization=acme}:requests:300000/60
  monthly is counted in explain:{organization=acme}:monthly:month:user=ana
    from 2026-03-10T00:00:00Z on it allows 700/month
    from 2026-04-01T00:00:00Z on it allows 500/month
  at once is counted in explain:{organization=acme}:at%20once:c
  soon is counted in explain:{organization=acme}:soon:60000/60
  tried is counted in explain:{organization=acme}:tried:60000/60
  not by gone: off
  not by hand: charged by hand only
"""


def test_unknown_key(tmp_path: Path) -> None:
    """A key that the file does not have is anonymous, counted by an address that is not known: that is said."""
    ran = run("explain", file_of(tmp_path), "GET", "/x", "--key", "-", typed="five")
    assert "its address is not given, and 127.0.0.1 stands for it: --identity ip=… says it" in ran.out
    ran = run("explain", file_of(tmp_path), "GET", "/x", "--key", "-", "--store", NOWHERE, typed="five")
    assert (ran.code, ran.out) == (USAGE, "")
    assert "which is not known: add --identity ip=…" in ran.err


def test_without_limits(tmp_path: Path) -> None:
    """What no limit counts, and what is exempt."""
    file = file_of(tmp_path, "[operations]\nexempt = ['GET /a']\n[tiers.anonymous]\nlimits = []")
    assert "No limit counts it." in run("explain", file, "GET", "/x", "--identity", "ip=192.0.2.7").out
    exempt = run("explain", file, "GET", "/a", "--identity", "ip=192.0.2.7").out
    assert "GET /a is exempt from every limit." in exempt
    assert "counts it" not in exempt


def test_what_is_not_said(tmp_path: Path) -> None:
    """What a limit counts apart, and nobody said."""
    ran = run("explain", file_of(tmp_path), "GET", "/x", "--identity", "organization=acme")
    assert "    without user, which is not said of this caller\n" in ran.out


SECRET = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"


@pytest.mark.parametrize(
    "arguments",
    [
        ("GET", "/x", "--key", SECRET),
        ("GET", "/x", SECRET),
        ("GET", "/x", "--identity", SECRET),
        ("GET", "/x", "--identity", f"organization={SECRET}"),
        ("GET", "/x", "--identity", f"api_key={SECRET}"),
        ("GET", "/x", "--identity", "ip=192.0.2.7", "--at", SECRET),
        ("GET", SECRET, "--identity", "ip=192.0.2.7"),
        (SECRET, "/x", "--identity", "ip=192.0.2.7"),
        ("GET", "/x", f"--{SECRET}"),
        ("GET", "/x", "--format", SECRET),
        ("GET", "one", "--identity", "ip=192.0.2.7"),
        ("GET", "/x", "--identity", "user=one"),
    ],
)
def test_no_key_on_the_command_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """An argument that is an API key, or looks like one, is refused in a sentence, and is not repeated."""
    ran = run("explain", file_of(tmp_path), *arguments)
    assert (ran.code, ran.out) == (USAGE, "")
    assert ran.err.count("\n") == 1
    assert SECRET not in ran.err
    assert "one " not in ran.err.replace("is one word", "")


@pytest.mark.parametrize("typed", ["", " \n", "one\ntwo\n", b"a\0b", b"x" * (LONGEST + 1)])
def test_no_key_on_standard_input(tmp_path: Path, typed: str | bytes) -> None:
    """Standard input that is no key: one sentence, and nothing of it."""
    ran = run("explain", file_of(tmp_path), "GET", "/x", "--key", "-", typed=typed)
    assert (ran.code, ran.out) == (USAGE, "")
    assert ran.err.count("\n") == 1


def test_key_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the key is asked for, and not shown as it is typed."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(callers, "getpass", lambda prompt, stream: f"{prompt}\udce9")
    assert callers._read() == b"API key: \xe9"

    def no_more(*_: object, **__: object) -> str:
        raise EOFError

    monkeypatch.setattr(callers, "getpass", no_more)
    with pytest.raises(typer.Abort):  # Ctrl-D
        callers._read()


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("tomorrow", "--at: is no time; write it as 2026-12-31T00:00Z"),
        ("2026-12-31", "--at: has no offset; write 2026-12-31T00:00Z if it is UTC"),
    ],
)
def test_wrong_times(tmp_path: Path, at: str, said: str) -> None:
    """A time that is none, or of no zone."""
    ran = run("explain", file_of(tmp_path), "GET", "/x", "--identity", "ip=192.0.2.7", "--at", at)
    assert (ran.code, ran.err) == (USAGE, f"ratelimit: {said}\n")


def test_wrong_calls(tmp_path: Path) -> None:
    """A method or a path that no client can send: a sentence."""
    for call in (("GET ME", "/x"), ("GET", "x")):
        ran = run("explain", file_of(tmp_path), *call, "--identity", "ip=192.0.2.7")
        assert (ran.code, ran.out, ran.err.count("\n")) == (USAGE, "", 1)


def test_hostile_paths(tmp_path: Path) -> None:
    """What is sent encoded does nothing to a terminal."""
    ran = run("explain", file_of(tmp_path), "GET", "/%1b%5b31m%0a<img onerror=x>", "--identity", "ip=192.0.2.7")
    assert ran.code == FINE
    assert "\x1b" not in ran.out
    assert "GET /\\x1b[31m\\n<img onerror=x> is detail_read.\n" in ran.out


def test_store(tmp_path: Path, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a store it is said what is left and what it would decide now, and nothing is charged: a denial is exit 1."""
    file = file_of(tmp_path, prefix="explain-store")
    asked = (file, "GET", "/x", "--identity", "ip=192.0.2.7", "--store")

    async def spend() -> None:
        store = RedisStore(valkey.url, prefix="explain-store", timeout=5)
        from ratelimit.explanation.caller import by_pairs
        from ratelimit.explanation.whole import explain
        from tests.explanation import policy as known

        found = explain(known(), by_pairs(known(), ["ip=192.0.2.7"]), "GET", "/x", 0)
        await store.acquire(found.charges)
        await store.close()

    for used in (0, 0, 1):
        if used:
            asyncio.run(spend())
        told = explained(*asked, valkey.url)
        assert (told["limits"][0]["used"], told["limits"][0]["left"]) == (used, 2 - used)
        assert told["decision"]["allowed"]
    asyncio.run(spend())
    monkeypatch.setenv("RATELIMIT_STORE_URL", valkey.url)
    ran = run("explain", *asked, "default")
    assert ran.code == FINDINGS
    assert ran.out.splitlines()[-1].startswith("Now it would be denied by ip, and would pass in 1 min")
    moved = run("explain", *asked, "default", "--at", "2030-01-01T00:00Z")
    assert "the store's clock)." in moved.out
    github = run("explain", *asked, valkey.url, "--format", "github")
    assert github.out.splitlines()[-1].startswith("::warning file=")


def test_stores_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One out of reach is exit 3; memory://, and a URL of no store, are exit 2: one sentence, without the URL."""
    file = file_of(tmp_path)
    asked = ("explain", file, "GET", "/x", "--identity", "ip=192.0.2.7", "--store")
    away = run(*asked, NOWHERE)
    assert (away.code, away.err.count("\n")) == (STORE, 1)
    assert away.err.startswith("ratelimit: the store can't be reached: ")
    memory = run(*asked, "default")
    assert memory.code == USAGE
    assert "the store is memory://, which only the process that counts in it can read" in memory.err
    wrong = run(*asked, "reddis://u:geheim@h/0")
    assert (wrong.code, wrong.err.count("\n")) == (USAGE, 1)
    assert "geheim" not in wrong.err
    monkeypatch.setenv("RATELIMIT_STORE_URL", NOWHERE)
    assert run(*asked, "default").code == STORE


def test_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """With the app its routes tell, of this call alone; limits in its code that contradict the policy are told."""
    (tmp_path / "explained_app.py").write_text(
        "from fastapi import Depends, FastAPI\nfrom ratelimit.fastapi import limit\napp = FastAPI()\n"
        "@app.get('/top10')\nasync def top() -> str:\n    return ''\napp.mount('/guessed', print)\n"
        "wrong = FastAPI()\n@wrong.get('/a', dependencies=[Depends(limit('1/hour', name='ip'))])\n"
        "async def a() -> str:\n    return ''\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    told = explained(file_of(tmp_path), "GET", "/top10", "--identity", "ip=192.0.2.7", "--app", "explained_app:app")
    assert (told["call"]["operation"], told["call"]["source"]) == ("search", "shape")
    guessed = explained(
        file_of(tmp_path), "GET", "/guessed/7", "--identity", "ip=192.0.2.7", "--app", "explained_app:app"
    )
    assert (guessed["call"]["operation"], guessed["call"]["source"]) == ("detail_read", "guess")
    assert guessed["call"]["why"][0].endswith("by a guess at its path: no route of the app says")
    assert caplog.messages == []
    named = ("GET", "/a", "--identity", "ip=192.0.2.7", "--app", "explained_app:wrong")
    wrong = run("explain", file_of(tmp_path), *named)
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (FINDINGS, "", 1)
    assert "--app explained_app:wrong: " in wrong.err
    assert 'is a limit of the tier "anonymous" too' in wrong.err


def test_wrong_files(tmp_path: Path) -> None:
    """A file that is not there is exit 2, a wrong one exit 1 with each problem."""
    asked = ("GET", "/x", "--identity", "ip=192.0.2.7")
    assert run("explain", str(tmp_path / "gone.toml"), *asked).code == USAGE
    wrong = run("explain", file_of(tmp_path, "style = 3"), *asked)
    assert (wrong.code, wrong.out) == (FINDINGS, "")
