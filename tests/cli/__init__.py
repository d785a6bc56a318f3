"""The command `ratelimit`: in process where that will do, in a pseudo-terminal of 80 columns where it counts."""

from __future__ import annotations

import os
import pty
import re
import secrets
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from typing import NamedTuple

from typer.testing import CliRunner

from ratelimit.cli.app import app

ROOT = Path(__file__).parents[2]
THREE = ("facturapi", "lightspeed", "lendworks")  # the examples that each command is run on
LAUNCH = (
    'launch = { warn = 0.8, shadow_until = 2099-01-01T00:00:00Z, brownouts = ["2098-12-01T09:00Z/3h"],'
    ' cohorts = [{ share = "10%", from = 2098-11-01T00:00:00Z }] }'
)
COMMAND = [sys.executable, "-m", "ratelimit"]


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def policy(example: str) -> str:
    return str(ROOT / "examples" / example / "ratelimit.toml")


def launched(example: str, folder: Path) -> str:
    """A copy of an example whose limit by address is launched, with a prefix of its own."""
    text = Path(policy(example)).read_text()
    text, found = re.subn(r'(name = "address",.*?)(, from = \S+)? }', rf"\1, {LAUNCH} }}", text, count=1)
    assert found
    path = folder / f"{example}.toml"
    path.write_text(text.replace(f'prefix = "{example}"', f'prefix = "{secrets.token_hex(4)}"'))
    return str(path)


def run(*arguments: str, typed: str | bytes | None = None) -> Ran:
    """In this process, with pipes. What is no sentence of ours but a bug is raised."""
    result = CliRunner().invoke(app, arguments, input=typed, prog_name="ratelimit")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def run_in_terminal(
    *arguments: str, command: Sequence[str] = COMMAND, typed: str = "", env: Mapping[str, str] | None = None
) -> Ran:
    """In a process of its own, in a pseudo-terminal of 80 columns; `err` is empty, for a terminal has one output."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **(env or {})}
    for name in ("COLUMNS", "LINES", "CI", "GITHUB_ACTIONS", "FORCE_COLOR"):
        environment.pop(name, None)
    process = subprocess.Popen([*command, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    os.write(ours, typed.encode())
    out = b""
    try:
        while chunk := os.read(ours, 65536):
            out += chunk
    except OSError:  # on Linux, when the last who had it open is gone
        pass
    os.close(ours)
    return Ran(process.wait(60), out.decode().replace("\r\n", "\n"), "")
