"""`ratelimit init`: the file that it writes is right whatever was chosen, and nothing is lost by it."""

from __future__ import annotations

import os
import re
import tomllib
from itertools import product
from pathlib import Path

import pytest
import typer

from ratelimit import load_policy
from ratelimit.cli.commands.init import Identity, Style
from ratelimit.cli.output.exits import FINE, INTERRUPTED, USAGE
from ratelimit.config.build import STYLES
from tests.cli import run, run_in_terminal
from tests.cli.test_skeleton import ESCAPES

FILE = "ratelimit.toml"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_its_styles_are_those_of_a_policy() -> None:
    """Each style of a policy file can be chosen."""
    assert {style.value for style in Style} == set(STYLES)


@pytest.mark.parametrize(
    ("style", "identity", "tiers"),
    [
        *product(Style, Identity, [()]),
        *product(
            [Style.IETF],
            [Identity.KEYS, Identity.APP],
            [("a=1/second",), ("free=5/minute", "x y=9/hour", "é=1/day")][:1],
        ),
        (Style.LENDWORKS, Identity.APP, ("free=5/minute", "x y=(3 * seats + 5)/hour", "a.b=1/day")),
    ],
)
def test_what_it_writes_passes_check(style: Style, identity: Identity, tiers: tuple[str, ...]) -> None:
    """Of nothing in it is said anything, --strict included; it has the tiers that were asked for, and comments."""
    options = [part for tier in tiers for part in ("--tier", tier)]
    ran = run("init", "--style", style, "--identity", identity, *options)
    assert (ran.code, ran.err) == (FINE, "")
    assert run("check", FILE, "--strict").code == FINE
    known = tuple(tier.partition("=")[0] for tier in tiers) or ("basic", "pro")
    policy = load_policy(FILE)
    assert tuple(policy.tiers) == ("anonymous", *(() if identity is Identity.ADDRESS else known))
    text = Path(FILE).read_text()
    assert text.startswith("#:schema ")
    assert text.count("#") > 10
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("identity", Identity)
def test_what_is_commented_out_is_right_too(identity: Identity) -> None:
    """Each line that is only to be uncommented is one of a policy file."""
    run("init", "--identity", identity)
    lines = Path(FILE).read_text().replace('"…"', f'"{"0" * 64}"').splitlines()
    names = "url|prefix|trusted_proxies|exempt|export|sha256|tier|organization"
    code = re.compile(rf" *# (({names}) =|\{{ name|\[\[keys\]\]).*")
    uncommented = [line.replace("# ", "", 1) if code.fullmatch(line) else line for line in lines]
    assert len([line for line in lines if code.fullmatch(line)]) == {"keys": 13, "app": 9, "address": 5}[identity]
    Path("all.toml").write_text("\n".join(uncommented))
    assert run("check", "all.toml").code == FINE
    assert "prefix" in tomllib.loads(Path("all.toml").read_text())["store"]


def test_it_never_asks_where_there_is_no_terminal() -> None:
    """In a pipe what no option says is as the help tells."""
    ran = run("init", typed="lendworks\n")
    assert ran.out.splitlines() == [
        "ratelimit.toml: written. Its tiers: anonymous, basic, pro.",
        "Next: ratelimit simulate ratelimit.toml access.log",
        "      ratelimit check ratelimit.toml --app main:app",
    ]
    assert type(load_policy(FILE).style).__name__ == "Ietf"


def test_it_asks_on_a_terminal() -> None:
    """What can't be taken is asked for again, and Enter takes what is proposed."""
    answers = ["none", "lendworks", "", "basic", "basic=5/minute, pro=9/minit", "basic=5/minute, pro=9/minute", "x", ""]
    ran = run_in_terminal("init", typed="\n".join(answers) + "\n")
    shown = ESCAPES.sub("", ran.out)
    assert ran.code == FINE
    assert "none is none of ietf, facturapi, lightspeed, lendworks" in shown
    assert "Callers are known by (keys, app, address) [keys]: " in shown
    assert "--tier basic: is no tier; write NAME=RATE" in shown
    assert '"9/minit" is not a rate' in shown
    assert shown.count("And who is not known, for each address? [5/minute]: ") == 2
    policy = load_policy(FILE)
    assert type(policy.style).__name__ == "Lendworks"
    assert policy.tiers["anonymous"][0].max({}) == 5


def test_options_are_not_asked_for() -> None:
    """Where options say all of it, nothing is asked for on a terminal either."""
    options = ["--style", "ietf", "--identity", "address", "--anonymous", "7/minute"]
    assert "[" not in ESCAPES.sub("", run_in_terminal("init", *options).out)
    ran = run_in_terminal("init", "other.toml", "--style", "ietf", "--identity", "address", typed="\n")
    assert "How often may each address call? [20/minute]: " in ran.out


def test_who_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at a question ends it, and nothing is written."""

    def aborted(*_: object, **__: object) -> str:
        raise typer.Abort

    terminal = type("Terminal", (), {"isatty": lambda self: True})()
    monkeypatch.setattr("ratelimit.cli.commands.init.sys", type("Sys", (), {"stdin": terminal, "stdout": terminal}))
    monkeypatch.setattr(typer, "prompt", aborted)
    ran = run("init")
    assert (ran.code, ran.err) == (INTERRUPTED, "\nratelimit: interrupted\n")  # the line of the question is not over
    assert not Path(FILE).exists()


def test_a_file_that_is_there_stays() -> None:
    """Without --force nothing is written over, a link to nowhere included; with it the file keeps its rights."""
    Path(FILE).write_text("mine")
    Path(FILE).chmod(0o640)
    Path("link.toml").symlink_to("nowhere")
    for file in (FILE, "link.toml", "."):
        ran = run("init", file)
        assert (ran.code, ran.err) == (USAGE, f"ratelimit: {file}: is there already; --force writes over it\n")
    assert Path(FILE).read_text() == "mine"
    Path("second.toml").symlink_to(FILE)
    assert run("init", "second.toml", "--force").code == FINE
    assert Path("second.toml").is_symlink()
    assert load_policy(FILE).tiers
    assert Path(FILE).stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in Path().iterdir()) == ["link.toml", FILE, "second.toml"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tier", "basic"], "--tier basic: is no tier; write NAME=RATE, such as basic=100/minute"),
        (["--tier", "=5/minute"], "--tier =5/minute: is no tier; write NAME=RATE, such as basic=100/minute"),
        (["--tier", "a=5/minit"], '--tier a: "5/minit" is not a rate; '),
        (["--tier", "a=1/day", "--tier", "a=2/day"], "--tier a=2/day: is there twice"),
        (
            ["--tier", "anonymous=1/day"],
            "--tier anonymous=1/day: is of those who are not known; write --anonymous 1/day",
        ),
        (["--tier", "a=1/day", "--identity", "address"], "--tier: is for callers who are known; "),
        (["--anonymous", "5"], 'no policy comes of that: tiers.anonymous.limits[0].rate: "5" is not a rate; '),
        (["--tier", 'é"]\n=1/day'], 'no policy comes of that: tiers."é\\"]": '),
        (["--tier", "\x7f=1/day"], "no policy comes of that: "),
    ],
)
def test_what_can_t_be_meant(options: list[str], said: str) -> None:
    """One sentence, and nothing is written."""
    ran = run("init", *options)
    assert (ran.code, ran.out) == (USAGE, "")
    assert ran.err.startswith(f"ratelimit: {said}")
    assert len(ran.err.splitlines()) == 1
    assert list(Path().iterdir()) == []


def test_a_wider_rate_for_others_is_told() -> None:
    """What was asked for is written, and what is odd in it is told."""
    ran = run("init", "--tier", "basic=5/minute", "--anonymous", "50/minute")
    assert ran.code == FINE
    assert ran.out.startswith(
        f"{FILE}:22: warning: tiers.anonymous.limits[0]: 50/minute admits 50 requests without a key"
    )


def test_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not there, and a disk that is full: one sentence, and nothing is left behind."""
    assert run("init", "no/where.toml").err == "ratelimit: no/where.toml: can't be written: No such file or directory\n"
    assert run("init", ".", "--force").err == "ratelimit: .: can't be written: it is no file\n"
    os.mkfifo("device")
    assert run("init", "device", "--force").code == USAGE
    assert Path("device").is_fifo()  # as /dev/stdout may be, of which a file would take the place
    Path("device").unlink()
    for name in ("-", ""):
        assert run("init", name).err == f"ratelimit: a first policy is written into a file; name one, such as {FILE}\n"
    Path(FILE).write_text("mine")

    def full(self: Path, *_: object, **__: object) -> None:
        self.touch()
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    ran = run("init", FILE, "--force")
    assert (ran.code, ran.err) == (USAGE, f"ratelimit: {FILE}: can't be written: No space left on device\n")
    assert [path.name for path in Path().iterdir()] == [FILE]
    assert Path(FILE).read_text() == "mine"


def test_names_of_files_do_nothing() -> None:
    """A name with an escape in it is shown escaped, and is in no comment."""
    ran = run("init", "\x1b[31m.toml")
    assert ran.out.startswith("\\x1b[31m.toml: written.")
    assert "ratelimit check 'two words.toml' --app" in run("init", "two words.toml").out
    assert "\x1b" not in Path("\x1b[31m.toml").read_text()
