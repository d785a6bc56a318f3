"""What docs/usage.md shows was run: its commands are run again, with what each printed, but for clocks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ratelimit import RateLimitMiddleware, parse_policy
from tests.cli import ROOT, run
from tests.routes import marks_forgotten
from tests.servers import Server

__all__ = ["marks_forgotten"]

PAGE = (ROOT / "docs" / "usage.md").read_text()
POLICY = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
BLOCKS = [block.split("\n", 1) for block in re.findall(r"```console\n\$ (.*?)```", PAGE, re.DOTALL)]
COMMANDS = {command.split()[1]: (command, printed) for command, printed in BLOCKS if command.startswith("ratelimit ")}
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CLOCKS = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|(?:\d+ (?:d|h|min|s) ?)+$|1 month", re.MULTILINE)
KEY = {"authorization": "Bearer abc123"}


def told(text: str) -> list[str]:
    """Without what goes by the clock, which also tells how wide a column is."""
    lines = [re.sub("  +", "  ", re.sub("─+", "─", line.rstrip())) for line in text.splitlines()]
    return [CLOCKS.sub("…", line).rstrip(" …") for line in lines]


@pytest.fixture
def served(tmp_path: Path, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Acme has called three times."""
    monkeypatch.setenv("RATELIMIT_STORE_URL", valkey.url)
    monkeypatch.chdir(tmp_path)
    text = f'store = {{ prefix = "{tmp_path.name}" }}\n{POLICY}'
    (tmp_path / "ratelimit.toml").write_text(text)
    edited = text.replace("5/minute", "200/hour").replace("50000/month", "100000/month")
    (tmp_path / "new.toml").write_text(edited)
    names: dict[str, Any] = {}
    exec(PYTHON[0], names)  # noqa: S102 - the page's own lines
    with TestClient(names["app"], headers=KEY) as client:
        for _ in range(3):
            client.get("/loans")
        answer = client.get("/rate_limit")
    names["answer"] = answer
    (tmp_path / "answer.json").write_bytes(answer.content)
    return tmp_path


def test_commands(served: Path) -> None:
    """Each prints what the page says."""
    assert set(COMMANDS) == {"usage", "reset", "explain", "diff"}
    for command in ("usage", "explain", "diff", "reset"):
        typed, printed = COMMANDS[command]
        words = typed.partition(" < ")[0].split()[1:]
        ran = run(*words, typed="abc123\n")
        assert ran.err == ""
        assert told(ran.out.replace(f"in {served.name}:", "in ratelimit:")) == told(printed), command


def test_endpoint(served: Path) -> None:
    """The endpoint tells what the page says, but for the instants."""
    [(_, shown)] = [block for block in BLOCKS if block[0].startswith("curl")]
    told, expected = json.loads((served / "answer.json").read_text()), json.loads(shown)
    for one in (told, expected):
        for resource in one["resources"].values():
            resource["reset"] = None
    assert told == expected


def test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The route for Starlette is as the page has it."""
    from starlette.applications import Starlette

    from ratelimit.routes.marks import own_usage

    names: dict[str, Any] = {}
    exec(PYTHON[1], names)  # noqa: S102 - the page's own lines
    own_usage(names["usage"])  # another test may have forgotten the mark
    app = RateLimitMiddleware(Starlette(routes=names["routes"]), parse_policy(POLICY, "page"))
    for _ in range(7):
        assert TestClient(app, headers=KEY).get("/rate_limit").json()["resources"]["requests"]["used"] == 0
