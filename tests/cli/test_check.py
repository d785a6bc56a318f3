"""`ratelimit check`: what it tells of a file and of an app, in each format, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ratelimit.cli.input.policies import MOST, policy_of
from ratelimit.cli.output.exits import FINDINGS, FINE, USAGE
from ratelimit.config import PolicyError
from tests.cli import COMMAND, ROOT, THREE, policy, run, run_in_terminal
from tests.cli.test_skeleton import ESCAPES
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

ODD = """\
[tiers.anonymous]
limits = [
  { name = "ip", rate = "60/minute" },
  { name = "again", rate = "60/minute", per = "ip" },
]
"""
BAD = 'style = "itef"\n[tiers.anonymous]\nlimits = []\n[tier.x]\n'
APP = """
from fastapi import Depends, FastAPI
from ratelimit import RateLimitMiddleware, load_policy, operation
from ratelimit.fastapi import limit

print("hello from the app")

def create_app(debug=False):
    app = FastAPI(openapi_url=None)
    app.get("/loans", dependencies=[Depends(limit("5/hour", name="loans of mine"))])(lambda: None)
    app.get("/loans/{id}")(lambda: None)
    app.post("/loans")(operation("heavy_write", units=lambda request: 2)(lambda: None))
    app.websocket("/live")(lambda: None)
    app.head("/head")(lambda: None)
    app.get("/health")(lambda: None)
    app.add_middleware(RateLimitMiddleware, policy="ratelimit.toml")
    return app

app = create_app()
number = 5

async def raw(scope, receive, send):
    pass

class Old:
    def __init__(self, scope):
        pass

def breaks():
    raise OSError("no database")

def ends():
    raise SystemExit(3)

def nothing():
    return None
"""
LIMITED = """\
[operations]
exempt = ["GET /health"]

[tiers.anonymous]
limits = [{ name = "ip", rate = "60/minute", operations = ["search", "detail_read", "heavy_write"] }]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "myapp", raising=False)
    Path("myapp.py").write_text(APP)
    Path("ratelimit.toml").write_text(LIMITED)
    Path("odd.toml").write_text(ODD)
    Path("bad.toml").write_text(BAD)


@pytest.mark.parametrize("name", THREE)
def test_the_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the examples nothing is wrong and nothing is odd, with their apps, in a pipe and as JSON."""
    monkeypatch.chdir(ROOT)
    file, app = policy(name), f"examples.{name}.app:app"
    ran = run("check", file, "--app", app, "--strict")
    assert (ran.code, ran.err) == (FINE, "")
    assert "nothing is wrong, and nothing is odd; 2" in ran.out
    *table, _ = ran.out.splitlines()  # the last line is a sentence, which a pipe has whole
    assert max(map(len, table)) <= 80
    data = json.loads(run("check", file, "--app", app, "--format", "json").out)
    assert (data["version"], data["command"], data["findings"]) == (1, "check", [])
    assert len(data["routes"]) > 20
    assert run("check", file, "--app", app, "--format", "github").out == ""


@pytest.mark.parametrize("name", THREE)
def test_the_examples_in_a_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal of 80 columns no line is longer, and each limit of the file is there."""
    monkeypatch.chdir(ROOT)
    ran = run_in_terminal("check", policy(name), "--app", f"examples.{name}.app:create_app")
    shown = ESCAPES.sub("", ran.out)
    assert ran.code == FINE
    assert ESCAPES.search(ran.out)
    assert max(map(len, shown.splitlines())) <= 80
    assert "anonymous" in shown


def test_an_app() -> None:
    """Each route with what tells its operation, its units and its own limits; what nothing limits is a warning."""
    ran = run("check", "ratelimit.toml", "--app", "myapp:app")
    assert ran.code == FINE
    assert ran.err == "hello from the app\n"
    warning = "myapp:app: warning: WEBSOCKET /live: is connect, which no limit of any tier counts"
    assert [line.rstrip() for line in ran.out.splitlines()] == [
        f"{warning}; write a limit for connect there, or exempt the route by a rule [unlimited]",
        "method     route        operation            by",
        "GET        /loans       search               shape",
        "GET        /loans/{id}  detail_read          shape",
        "POST       /loans       heavy_write x units  decorator",
        "WEBSOCKET  /live        connect              shape",
        "HEAD       /head        search               shape",
        "GET        /health      exempt               rule",
        "",
        "operation                         tier       limit          max",
        "detail_read, heavy_write, search  anonymous  ip             60/minute",
        "connect                           anonymous  none",
        "GET /loans                        anonymous  ip             60/minute",
        "                                             loans of mine  5/hour",
        "",
        "ratelimit.toml: 1 warning; 6 routes of myapp:app.",
    ]


def test_strict() -> None:
    """What is odd ends in 0, with --strict in 1; a mistake always in 1."""
    ran = run("check", "odd.toml")
    assert ran.code == FINE
    assert ran.out.startswith("odd.toml:4: warning: tiers.anonymous.limits[1]: ")
    assert ran.out.endswith(" [limit-pointless]\nodd.toml: 1 warning.\n")
    assert run("check", "odd.toml", "--strict").code == FINDINGS
    ran = run("check", "bad.toml", "--app", "myapp:app")
    assert ran.code == FINDINGS
    assert [line.split(": ")[0] for line in ran.out.splitlines()] == ["bad.toml:1", "bad.toml:4", "bad.toml"]
    assert ran.out.endswith("bad.toml: 2 mistakes; myapp:app was not looked at.\n")
    assert ran.err == ""


def test_github() -> None:
    """Annotations have the file and the line, and what is of an app has none."""
    assert (
        run("check", "bad.toml", "--format", "github")
        .out.splitlines()[0]
        .startswith("::error file=bad.toml,line=1::style")
    )
    assert run("check", "odd.toml", "--format", "github").out.startswith(
        "::warning file=odd.toml,line=4::tiers.anonymous"
    )
    ran = run("check", "ratelimit.toml", "--app", "myapp:app", "--format", "github")
    assert ran.out.startswith("::warning::WEBSOCKET /live: ")
    assert len(ran.out.splitlines()) == 1


def test_json() -> None:
    """JSON has all that there is, and nothing that the app printed."""
    ran = run("check", "ratelimit.toml", "--app", "myapp:create_app", "--format", "json")
    data = json.loads(ran.out)
    assert list(data) == ["version", "command", "file", "app", "findings", "routes"]
    assert data["findings"][0]["of"] == "myapp:create_app"
    assert data["findings"][0]["code"] == "unlimited"
    first = data["routes"][0]
    assert (first["path"], first["methods"], first["operation"], first["why"]) == ("/loans", ["GET"], "search", "shape")
    assert first["limits"]["anonymous"][1] == {
        "name": "loans of mine",
        "amount": "5/hour",
        "per": ["identity"],
        "cost": 1,
        "mode": "enforce",
        "from": None,
    }
    bad = json.loads(run("check", "bad.toml", "--format", "json").out)
    assert [(one["severity"], one["line"], one["of"]) for one in bad["findings"]] == [
        ("error", 1, "bad.toml"),
        ("error", 4, "bad.toml"),
    ]


def test_standard_input() -> None:
    """A dash is standard input."""
    ran = run("check", "-", typed=ODD)
    assert ran.code == FINE
    assert ran.out.startswith("standard input:4: warning: ")
    assert run("check", "-", "--format", "github", typed=ODD).out.startswith("::warning line=4::tiers")
    assert policy_of(policy("lendworks")).tiers.keys() == {"anonymous", "basic", "standard", "premium"}


def test_a_policy_for_other_commands() -> None:
    """A wrong file is one error with every problem; what is odd is not told by a command that only needs the policy."""
    with pytest.raises(PolicyError) as error:
        policy_of("bad.toml")
    assert [problem.partition(":")[0] for problem in error.value.problems] == ["bad.toml", "bad.toml"]
    assert policy_of("odd.toml").tiers.keys() == {"anonymous"}


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [
        ("nowhere.toml", USAGE, "nowhere.toml: can't be read: No such file or directory"),
        ("folder", USAGE, "folder: can't be read: Is a directory"),
        ("secret.toml", USAGE, "secret.toml: can't be read: Permission denied"),
        ("a\0b", USAGE, "a\\x00b: can't be read: embedded null byte"),
        ("", USAGE, ": can't be read: No such file or directory"),
        ("\x1b[2J\n", USAGE, "\\x1b[2J\\n: can't be read: No such file or directory"),
        ("huge.toml", USAGE, "huge.toml: is larger than 64 MB, which no policy file is"),
    ],
)
def test_what_can_t_be_read(file: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence each on standard error, and no traceback."""
    Path("folder").mkdir()
    with Path("huge.toml").open("wb") as huge:
        huge.truncate(MOST + 1)
    if os.geteuid() == 0:  # who may read everything
        opened = open

        def refused(name: str, mode: str) -> object:
            if name == "secret.toml":
                raise PermissionError(13, "Permission denied", name)
            return opened(name, mode)

        monkeypatch.setattr("ratelimit.cli.input.policies.open", refused, raising=False)
    else:
        Path("secret.toml").touch(mode=0)
    ran = run("check", file)
    assert (ran.code, ran.out, ran.err) == (code, "", f"ratelimit: {said}\n")


def test_a_binary_file() -> None:
    """What is no text is a finding as any other, in each format; to a command that needs a policy it is one error."""
    Path("odd.toml").write_bytes(b"a = 1\n\xff\x00\x80")
    said = "line 2: is not UTF-8, which TOML is always written in"
    ran = run("check", "odd.toml")
    assert (ran.code, ran.out) == (FINDINGS, f"odd.toml:2: error: {said} [mistake]\nodd.toml: 1 mistake.\n")
    assert run("check", "odd.toml", "--format", "github").out == f"::error file=odd.toml,line=2::{said} [mistake]\n"
    assert json.loads(run("check", "odd.toml", "--format", "json").out)["findings"][0]["line"] == 2
    with pytest.raises(PolicyError, match=r"odd\.toml: line 2"):
        policy_of("odd.toml")


@pytest.mark.parametrize(("text", "line"), [("", None), ("\0", 1), ("x" * 10_000, None), ("[" * 5_000, 1)])
def test_what_is_no_policy(text: str, line: int | None) -> None:
    """An empty file and what is no TOML are mistakes, with the line where there is one."""
    Path("odd.toml").write_text(text)
    ran = run("check", "odd.toml")
    assert (ran.code, ran.err) == (FINDINGS, "")
    assert ran.out.startswith(f"odd.toml:{line}: error: " if line else "odd.toml: error: ")
    assert ran.out.endswith("odd.toml: 1 mistake.\n")


def test_lines_of_what_is_no_policy() -> None:
    """Also where tiers are missing each mistake that stands somewhere has its line."""
    Path("odd.toml").write_text('style = "itef"\n\n[tier.x]\nlimits = []\n')
    lines = run("check", "odd.toml", "--format", "github").out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "::error file=odd.toml::tiers",
        "::error file=odd.toml,line=1::style",
        "::error file=odd.toml,line=3::tier",
    ]


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("myapp", "is not the name of an app; write module:app, such as main:app"),
        (":app", "is not the name of an app; write module:app, such as main:app"),
        ("myapp:", "is not the name of an app; write module:app, such as main:app"),
        ("myapp.py:app", "is a file; write its module: myapp:app"),
        ("./src/myapp.py:app", "is a file; write its module: src.myapp:app"),
        ("nowhere:app", "can't be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("myapp:other", "there is no other in myapp"),
        ("myapp:app.other", "there is no app.other in myapp"),
        ("myapp:number", "is no app, but of type int"),
        ("myapp:nothing", "is no app, but of type NoneType"),
        ("myapp:breaks", "makes no app: OSError: no database ({here}/myapp.py:30)"),
        ("myapp:ends", "makes no app: SystemExit: 3 ({here}/myapp.py:33)"),
        ("wrong:app", "can't be imported: SyntaxError: cannot assign to literal (wrong.py, line 2)"),
        ("raises:app", "can't be imported: RuntimeError: not\\nhere ({here}/raises.py:1)"),
        (".:app", "can't be imported: TypeError: the 'package' argument is required"),
    ],
)
def test_an_app_that_is_none(app: str, said: str, tmp_path: Path) -> None:
    """What can't be imported or made is one sentence, with the line of the user's own that says it."""
    Path("wrong.py").write_text("import os\n1 = = 2\n")
    Path("raises.py").write_text("raise RuntimeError('not\\nhere')")
    ran = run("check", "ratelimit.toml", "--app", app)
    assert (ran.code, ran.out) == (USAGE, "")
    assert ran.err.removeprefix("hello from the app\n").startswith(
        f"ratelimit: --app {app}: {said.format(here=tmp_path)}"
    )
    assert len(ran.err.splitlines()) <= 2


@pytest.mark.parametrize("module", ["import myapp", "raise KeyboardInterrupt"])
def test_who_presses_ctrl_c(module: str) -> None:
    """An import, or what makes the app, can be interrupted."""
    Path("slow.py").write_text(f"{module}\n\n\ndef make():\n    raise KeyboardInterrupt\n")
    assert run("check", "ratelimit.toml", "--app", "slow:make").code == 130
    sys.modules.pop("slow", None)


@pytest.mark.parametrize("app", ["myapp:raw", "myapp:Old"])
def test_apps_that_are_called_otherwise(app: str) -> None:
    """A plain function and a class of ASGI 2 are apps, and no functions that make one."""
    ran = run("check", "ratelimit.toml", "--app", app)
    assert ran.code == FINE
    assert "no-routes" in ran.out
    assert f"; no route of {app}." in ran.out


def test_hostile_names() -> None:
    """What a file or an app has in its names does nothing to the terminal."""
    Path("odd.toml").write_text(f'{ODD}\n[tiers."x\\u001b[2J"]\nlimits = 5\n')
    Path("hostile.py").write_text("from fastapi import FastAPI\napp = FastAPI()\napp.get('/\\x1b[31m[red]')(len)\n")
    Path("hostile.py").write_text(Path("hostile.py").read_text().replace("(len)", "(lambda: None)"))
    for ran in (run("check", "odd.toml"), run("check", "ratelimit.toml", "--app", "hostile:app")):
        assert "\x1b" not in ran.out
        assert "1b[" in ran.out


def test_what_is_not_enforced_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit in shadow, and one that is enforced from a date on, are told as such."""
    monkeypatch.setenv("COLUMNS", "120")
    later = 'name = "later", rate = "5/hour", from = 2099-01-01T00:00:00Z, cost = { search = 2 }'
    past = 'name = "past", quota = "5/day", from = 2020-01-01T00:00:00Z'
    shadow = 'name = "shadow", concurrency = 5, mode = "shadow"'
    Path("ratelimit.toml").write_text(f"[tiers.anonymous]\nlimits = [{{ {later} }}, {{ {past} }}, {{ {shadow} }}]")
    lines = run("check", "--app", "myapp:app").out.splitlines()
    shown = [
        line.split("  ")[-1].strip() for line in lines if " later " in line or " past " in line or " shadow " in line
    ]
    assert shown[:3] == ["5/hour, in shadow until 2099-01-01T00:00:00Z", "5/day", "5 at a time, in shadow"]
    data = json.loads(run("check", "--app", "myapp:app", "--format", "json").out)
    [first, *_] = data["routes"][0]["limits"]["anonymous"]
    assert (first["from"], first["cost"]) == ("2099-01-01T00:00:00Z", {"search": 2})


def test_what_an_app_prints() -> None:
    """Also what a process prints that it starts goes to standard error: the answer can be read by a program."""
    Path("loud.py").write_text("import os\nfrom myapp import app\nos.system('echo started; echo lost >&2')\n")
    command = [*COMMAND, "check", "ratelimit.toml", "--app", "loud:app", "--format", "json"]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert json.loads(ran.stdout)["command"] == "check"
    assert "started\nlost\n" in ran.stderr


def test_as_a_process() -> None:
    """From the command line: the current folder is looked at first, and the exit code is the command's."""
    ran = run_in_terminal("check", "bad.toml", command=COMMAND)
    assert ran.code == FINDINGS
