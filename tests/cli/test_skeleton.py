"""What every command has in common: exit codes, errors in a sentence, help, and texts that do nothing to a terminal."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
import typer

from ratelimit import PolicyError, StoreUnavailable
from ratelimit.cli import app as of_app
from ratelimit.cli import main as of_main
from ratelimit.cli.output.console import console, say
from ratelimit.cli.output.exits import FINDINGS, FINE, INTERRUPTED, STORE, USAGE, Stopped
from ratelimit.cli.output.formats import annotate, emit_json
from tests.cli import COMMAND, run, run_in_terminal

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def raising(error: Exception) -> typer.Typer:
    made = typer.Typer(cls=of_app.Commands, pretty_exceptions_enable=False)

    @made.command()
    def fails() -> None:
        raise error

    @made.command()
    def works() -> None:
        pass

    return made


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Stopped("that can't be"), USAGE, ["that can't be"]),
        (Stopped("would be denied", FINDINGS), FINDINGS, ["would be denied"]),
        (StoreUnavailable("Connection refused"), STORE, ["the store can't be reached: Connection refused"]),
        (
            PolicyError(["a.toml: x: is empty", "a.toml: y: is empty"]),
            FINDINGS,
            ["a.toml: x: is empty", "a.toml: y: is empty"],
        ),
        (OSError(errno.ENOSPC, "No space left on device", "out.html"), USAGE, ["out.html: No space left on device"]),
        (OSError("odd"), USAGE, ["odd"]),
        (Stopped("\x1b[31mred\nnot a line"), USAGE, ["\\x1b[31mred\\nnot a line"]),
    ],
)
def test_what_stops_a_command(error: Exception, code: int, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told on standard error, a sentence each, with the exit code that it has; there is no traceback."""
    monkeypatch.setattr("tests.cli.app", raising(error))
    ran = run("fails")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.splitlines() == [f"ratelimit: {sentence}" for sentence in said]


@pytest.mark.parametrize(
    "arguments",
    [
        ["usage", "sk_live_4eC39HqLyjW"],
        ["check", "--app", "sk_live_4eC39HqLyjW:app"],
        ["init", "x.toml", "--tier", "sk_live_4eC39HqLyjW"],
        ["schema", "sk_live_4eC39HqLyjW"],
        ["--sk_live_4eC39HqLyjW"],
        ["sk_live_4eC39HqLyjW"],
    ],
)
def test_a_key_is_not_repeated(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever somebody has written an API key by mistake, it is not told to who sees the terminal or the log."""
    monkeypatch.chdir(tmp_path)
    ran = run(*arguments)
    assert ran.code == USAGE
    assert ran.err.startswith("ratelimit: ")
    assert "4eC39" not in ran.out + ran.err


def test_a_disk_that_is_full() -> None:
    """Also of --help and --version, which no command prints, it is one sentence."""
    for option in ("--help", "--version"):
        with Path("/dev/full").open("w") as full:
            ran = subprocess.run([*COMMAND, option], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (ran.returncode, ran.stderr) == (USAGE, "ratelimit: No space left on device\n")


def test_closed_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who starts it without standard streams, as `>&-` does, gets the exit code."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    monkeypatch.setattr(sys, "argv", ["ratelimit", "schema"])
    with pytest.raises(SystemExit) as ended:
        of_main.main()
    assert ended.value.code == FINE
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def test_a_bug_is_no_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expects comes out as it is."""
    monkeypatch.setattr("tests.cli.app", raising(ValueError("a bug")))
    with pytest.raises(ValueError, match="a bug"):
        run("fails")


def test_a_reader_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ratelimit … | head` ends without a word."""
    monkeypatch.setattr("tests.cli.app", raising(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    ran = run("fails")
    assert (ran.code, ran.err) == (1, "")


def test_usage() -> None:
    """What can't be understood is 2, as a file that can't be read is, and names what it is."""
    assert run("check-all").code == USAGE
    ran = run("schema", "--no-such-option")
    assert ran.code == USAGE
    assert "--no-such-option" in ran.err


def test_without_arguments_and_version() -> None:
    """The command alone shows its help, and says of which version it is."""
    assert "schema" in run().out
    assert run("--version").out.startswith("ratelimit")


@pytest.mark.parametrize("found", [True, False])
def test_version_of_an_installation(found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is that of the installation; sources that are not installed have none."""

    def version(name: str) -> str:
        if found:
            return "1.2.3"
        raise of_app.PackageNotFoundError(name)

    monkeypatch.setattr(of_app, "version", version)
    assert run("--version").out == f"ratelimit{' 1.2.3' if found else ', from sources that are not installed'}\n"


def test_help_has_examples_that_fit() -> None:
    """The help of each command has examples, and no line is longer than 80 columns."""
    names = [command.name for command in of_app.app.registered_commands]
    for name in names:
        ran = run(str(name), "--help")
        assert "Examples:" in ran.out
        assert f" ratelimit {name} " in ran.out.partition("Examples:")[2]
        assert max(map(len, ran.out.splitlines())) <= 80
        assert " []" not in ran.out  # an argument without a name
        assert run(str(name), "-h").out == ran.out


def test_examples_stay_whole() -> None:
    """No example is longer than a line of the help, which would break it."""
    for group in (of_app.app, of_app._launch):
        for command in group.registered_commands:
            examples = str(command.help).partition("Examples:")[2].split("\n")
            assert max(map(len, examples)) <= 76, command.name


def test_in_a_terminal_of_80_columns() -> None:
    """Help is coloured on a terminal, not so with NO_COLOR, and fits."""
    coloured = run_in_terminal("--help")
    assert ESCAPES.search(coloured.out)
    plainly = run_in_terminal("--help", env={"NO_COLOR": "1"})
    assert max(len(line) for line in ESCAPES.sub("", plainly.out).splitlines()) <= 80
    assert "\x1b[3" not in plainly.out
    assert "schema" in plainly.out


def test_completion() -> None:
    """A shell that asks for it gets the commands that there are."""
    ran = run_in_terminal(
        env={"_RATELIMIT_COMPLETE": "complete_bash", "COMP_WORDS": "ratelimit sche", "COMP_CWORD": "1"}
    )
    assert ran.out.split() == ["schema"]


@pytest.mark.parametrize("asked", [["--help"], ["check", "no.toml"]])
def test_a_terminal_without_columns(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """COLUMNS=0, as some shells export it, is no width: what there is to say is said."""
    monkeypatch.setenv("COLUMNS", "0")
    monkeypatch.setattr(sys, "argv", ["ratelimit", *asked])
    with pytest.raises(SystemExit):
        of_main.main()
    assert "".join(capsys.readouterr()).strip()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where typer is not installed the command says what to install."""
    monkeypatch.delitem(sys.modules, "ratelimit.cli.app")
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit) as ended:
        of_main.main()
    assert ended.value.code == USAGE
    assert capsys.readouterr().err == "ratelimit: the command needs typer: pip install 'ratelimit-asgi[cli]'\n"


def test_another_module_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing and no part of the extra is an error as any other."""
    monkeypatch.delitem(sys.modules, "ratelimit.cli.app")
    monkeypatch.setitem(sys.modules, "ratelimit.cli.commands", None)
    with pytest.raises(ModuleNotFoundError):
        of_main.main()


def test_interrupted_before_it_has_begun(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A Ctrl-C while the command is still being loaded ends it without a word, as later."""

    class Interrupting:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "ratelimit.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "ratelimit.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        of_main.main()
    assert ended.value.code == INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_the_entry_point(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`ratelimit` and `python -m ratelimit` are the same command."""
    monkeypatch.setattr(sys, "argv", ["ratelimit", "--version"])
    with pytest.raises(SystemExit) as ended:
        of_main.main()
    assert ended.value.code == FINE
    assert capsys.readouterr().out.startswith("ratelimit")
    ran = subprocess.run([*COMMAND, "schema"], capture_output=True, text=True, check=True)
    assert ran.stdout == run("schema").out


def test_what_others_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    """No escape sequence, no line break and no markup of anybody's text has an effect."""
    say("\x1b[2J[bold]acme[/bold]\nfine \u202etxt \x9b1m")
    assert capsys.readouterr().out == "\\x1b[2J[bold]acme[/bold]\\nfine \\u202etxt \\x9b1m\n"
    say("Müller GmbH")
    assert capsys.readouterr().out == "Müller GmbH\n"


def test_a_long_line_stays_whole_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """grep finds a sentence in one line."""
    say("word " * 40 + "end", "bold", stderr=True)
    assert capsys.readouterr().err == "word " * 40 + "end\n"


def test_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no terminal has 80 columns, whatever terminal is beside it, unless COLUMNS says otherwise; also where
    somebody has put something of their own in place of standard output."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", StringIO())
    assert console().width == 80
    monkeypatch.setenv("COLUMNS", "120")
    assert console().width == 120


def test_a_terminal_that_is_not_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it can't show is escaped, and no error."""
    out = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(out, encoding="ascii"))
    say("é…")
    sys.stdout.flush()
    assert out.getvalue() == b"\\xe9\\u2026\n"


def test_what_is_stopped() -> None:
    """It is a usage error unless it says otherwise."""
    assert [Stopped("x").code, Stopped("x", STORE).code] == [USAGE, STORE]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON says its version and its command first, and is ASCII."""
    emit_json("check", {"findings": ["é\x9b"]})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"version": 1, "command": "check", "findings": ["é\x9b"]}
    assert list(json.loads(out)) == ["version", "command", "findings"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            lambda: annotate("error", "is empty", file="a,b:c.toml", line=3),
            "::error file=a%2Cb%3Ac.toml,line=3::is empty\n",
        ),
        (lambda: annotate("warning", "100 % odd\nline\r\x1b[2J"), "::warning::100 %25 odd%0Aline\\r\\x1b[2J\n"),
    ],
)
def test_annotations(call: Callable[[], None], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Workflow commands are escaped as GitHub's own toolkit does it."""
    call()
    assert capsys.readouterr().out == expected
