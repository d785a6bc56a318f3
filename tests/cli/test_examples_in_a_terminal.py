"""Commands on the three examples, in a pseudo-terminal of 80 columns: nothing is wider."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from benchmarks.access_logs import lines as log_lines
from tests.cli import THREE, launched, policy, run_in_terminal
from tests.servers import Server

CALLERS = {"facturapi": "ip=192.0.2.7", "lightspeed": "organization=corner", "lendworks": "organization=sampler"}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
SEVERAL = """
import json, sys
from ratelimit.cli.app import app
for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments, prog_name="ratelimit")
    except SystemExit as end:
        print("exit", end.code)
"""


@pytest.mark.parametrize("example", THREE)
def test_in_a_terminal(example: str, valkey: Server, tmp_path: Path) -> None:
    """Each command answers, and no line is longer than the terminal; a process for all of them."""
    caller = ("--identity", CALLERS[example])
    log, copy = tmp_path / "access.log", launched(example, tmp_path)
    log.write_text("".join(f"{line}\n" for line in log_lines(2_000, 50, per_second=20.0)))
    commands = [
        ["explain", policy(example), "POST", "/v2/invoices", *caller],
        ["explain", policy(example), "GET", "/docs/%2e%2e/a", *caller, "--store", "default"],
        ["usage", policy(example), *caller],
        ["watch", policy(example), *caller, "--once"],
        ["reset", policy(example), *caller],  # which asks
        ["reload", policy(example)],
        ["reload", copy, "--accept"],
        *[["launch", command, copy] for command in ("status", "report", "pause", "status", "pause", "resume")],
        ["diff", policy(example), policy(THREE[THREE.index(example) - 1])],
        ["simulate", policy(example), str(log)],
    ]
    ran = run_in_terminal(
        command=[sys.executable, "-c", SEVERAL, json.dumps(commands)],
        typed="y\n",
        env={"RATELIMIT_STORE_URL": valkey.url},
    )
    asked = "[y/N]: "  # after which the Enter stands that was echoed before anybody asked
    lines = ESCAPES.sub("", ran.out).replace(asked, f"{asked}y\n").splitlines()
    denied = "exit 0" if example == "facturapi" else "exit 1"  # one is in shadow until after the log
    assert [line for line in lines if line.startswith("exit ")] == ["exit 0"] * 13 + ["exit 1", denied]
    assert [line for line in lines if len(line) > 80] == []
    assert "\x1b[1m" in ran.out
