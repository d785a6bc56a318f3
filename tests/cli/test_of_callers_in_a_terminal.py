"""diff, explain, usage and watch on the three examples, in a pseudo-terminal of 80 columns: nothing is wider."""

from __future__ import annotations

import json
import re
import sys

import pytest

from tests.cli import THREE, policy, run_in_terminal
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
def test_in_a_terminal(example: str, valkey: Server) -> None:
    """Each command answers, and no line is longer than the terminal; a process for all of them."""
    caller = ("--identity", CALLERS[example])
    commands = [
        ["explain", policy(example), "POST", "/v2/invoices", *caller],
        ["explain", policy(example), "GET", "/docs/%2e%2e/a", *caller, "--store", "default"],
        ["usage", policy(example), *caller],
        ["watch", policy(example), *caller, "--once"],
        ["diff", policy(example), policy(THREE[THREE.index(example) - 1])],
    ]
    ran = run_in_terminal(
        command=[sys.executable, "-c", SEVERAL, json.dumps(commands)], env={"RATELIMIT_STORE_URL": valkey.url}
    )
    lines = ESCAPES.sub("", ran.out).splitlines()
    assert [line for line in lines if line.startswith("exit ")] == ["exit 0"] * 4 + ["exit 1"]
    assert [line for line in lines if len(line) > 80] == []
    assert "\x1b[1m" in ran.out
