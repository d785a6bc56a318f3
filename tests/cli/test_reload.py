"""`ratelimit reload`: what running processes say of an edit, and an operator's word on it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ratelimit.cli.output.exits import FINDINGS, FINE, STORE, USAGE
from ratelimit.reload import verdicts
from ratelimit.reload.file import digest_of
from ratelimit.stores.redis import RedisStore
from tests import servers
from tests.cli import THREE, policy, run

TEXT = """
[store]
url = "{url}"
prefix = "{prefix}"
[tiers.anonymous]
limits = [ {{ name = "ip", rate = "60/minute" }} ]
"""


@pytest.fixture
def file(tmp_path: Path, valkey: servers.Server) -> Path:
    made = tmp_path / "ratelimit.toml"
    made.write_text(TEXT.format(url=valkey.url, prefix=secrets.token_hex(4)))
    return made


def digest(file: Path) -> str:
    return digest_of(file.read_bytes())


def said(file: Path, ask: Callable[[RedisStore], Awaitable[Any]]) -> Any:
    """What the store has, as a process of the app asks it."""
    lines = file.read_text().splitlines()
    url, prefix = (line.split('"')[1] for line in lines[2:4])

    async def asked() -> Any:
        store = RedisStore(url, prefix=prefix, timeout=2)
        try:
            return await ask(store)
        finally:
            await store.close()

    return asyncio.run(asked())


def test_refused_and_accepted(file: Path) -> None:
    """It tells what processes say of the file as it is now; what is accepted is taken, and another edit is not."""
    named = f"{file} (sha256 {digest(file)[:12]})"
    assert run("reload", str(file))[:2] == (
        FINE,
        f"{named} nothing is known: no process has seen an edit to it within the last hour\n",
    )
    assert said(file, lambda store: verdicts.first(store, digest(file), "refused")) == "refused"
    ran = run("reload", str(file))
    assert (ran.code, ran.out.partition(":")[0]) == (FINDINGS, f"{named} is refused")
    ran = run("reload", "--accept", str(file))
    assert (ran.code, ran.out.partition(":")[0]) == (FINE, f"{named} is accepted")
    assert said(file, lambda store: verdicts.first(store, digest(file), "refused")) == "taken"
    assert run("reload", str(file))[:2] == (FINE, f"{named} is in force, or was accepted\n")
    file.write_text(file.read_text() + "\n")
    assert said(file, lambda store: verdicts.known(store, digest(file))) is None


def test_formats(file: Path) -> None:
    """For programs, and as an annotation."""
    said(file, lambda store: verdicts.first(store, digest(file), "refused"))
    ran = run("reload", str(file), "--format", "json")
    assert ran.code == FINDINGS
    assert json.loads(ran.out) == {
        "version": 1,
        "command": "reload",
        "file": str(file),
        "sha256": digest(file),
        "verdict": "refused",
        "accepted": False,
    }
    assert run("reload", str(file), "--format", "github").out.startswith(f"::error file={file}::{file} is refused")
    assert run("reload", str(file), "--accept", "--format", "github").out.startswith(f"::notice file={file}::{file} is")


def test_what_can_t_be_done(file: Path, tmp_path: Path) -> None:
    """In memory nobody else hears it, a file that is wrong is accepted by nobody, and a store may be out of reach."""
    ran = run("reload", "--accept", str(file), "--store", "memory://")
    assert (ran.code, ran.out) == (USAGE, "")
    assert "the store is memory://, which only the process that counts in it can read" in ran.err
    ran = run("reload", "--accept", str(file), "--store", "redis://127.0.0.1:1/0")
    assert (ran.code, ran.out) == (STORE, "")
    assert ran.err.startswith("ratelimit: the store can't be reached: ")
    assert run("reload", "--accept", str(tmp_path / "nothing.toml")).code == USAGE
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"\x00\xff")
    ran = run("reload", "--accept", str(bad))
    assert (ran.code, ran.err.count("\n")) == (FINDINGS, 1)


@pytest.mark.parametrize("example", THREE)
def test_on_the_examples(example: str, valkey: servers.Server) -> None:
    """In a pipe, where it is one line for grep, and for programs."""
    at = "--store", valkey.url
    ran = run("reload", policy(example), *at)
    assert (ran.code, ran.err, ran.out.count("\n"), "\x1b" in ran.out) == (FINE, "", 1, False)
    assert ran.out.startswith(f"{policy(example)} (sha256 ")
    assert json.loads(run("reload", policy(example), *at, "--format", "json").out)["verdict"] is None
