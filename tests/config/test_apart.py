"""A policy file that is read by a process of its own comes to what it comes to here."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ratelimit import Identity, Policy, PolicyError, hash_api_key
from ratelimit.config import apart
from ratelimit.config.apart import Reader
from ratelimit.config.load import policy_of

EXAMPLES = sorted(Path("examples").glob("*/ratelimit.toml"))
KEYS = "".join(
    f'[[keys]]\nsha256 = "{hash_api_key(f"key{n}")}"\ntier = "basic"\n{who}\nattributes = {{ seats = {n} }}\n'
    for n, who in enumerate(['organization = "acme"', 'user = "ana"\napplication = "app"', 'organization = "ü"'])
)
POLICY = f"""
{KEYS}
[[overrides]]
organization = "acme"
mode = "shadow"
until = 2020-01-01T00:00:00Z
limits.requests = "(10 * seats + 7)/minute"

[tiers.anonymous]
limits = []

[tiers.basic]
limits = [
  {{ name = "requests", rate = "(10 * seats + 5)/minute", launch = {{ shadow_until = 2020-01-01T00:00:00Z }} }},
]
"""


def comes_to(policy: Policy) -> Any:
    """What a policy says of everybody in its file, and what it is besides."""
    identify: Any = policy.identify
    whole = {name: getattr(policy, name) for name in ("origin", "waits", "store", "websocket", "reload", "operations")}
    charges = {
        tier: [
            (charge.key, charge.cost, charge.maxes, charge.stages)
            for attributes in ({}, {"seats": 4, "registers": 2})
            for charge in policy.charges(Identity("acme", tier=tier, attributes=attributes), "search")
        ]
        for tier in policy.tiers
    }
    return whole, dict(identify.keys), identify.sources, repr(policy.address), repr(policy.style), charges


def through(data: bytes, path: str) -> Policy:
    """By a process, as it were: what it writes is read, which costs no second."""
    pipe = io.BytesIO()
    apart.answer(data, pipe)
    pipe.seek(0)
    problems, policy = apart._received(pipe, apart.named(path, data.decode()))
    return apart.usable(policy, problems, path)


@pytest.mark.parametrize("path", [*EXAMPLES, None], ids=str)
def test_it_is_the_same(path: Path | None) -> None:
    """Whatever is in it; also where it comes in many pieces."""
    data = path.read_bytes() if path else POLICY.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apart, "PIECE", 2)
        patch.setattr(apart, "PAUSE", 0)
        assert comes_to(through(data, "/the/file")) == comes_to(policy_of(data, "/the/file"))


def test_in_a_process(caplog: pytest.LogCaptureFixture) -> None:
    """What is odd in it is logged, as ever, and the process is gone afterwards."""
    reader = Reader()
    process = reader._process
    policy = reader.policy_of(POLICY.encode(), "/the/file")
    reader.close()
    reader.close()
    assert process is not None
    assert process.returncode is not None
    expected = policy_of(POLICY.encode(), "/the/file")
    assert [record.message.rpartition("launch: is over")[1] for record in caplog.records] == ["launch: is over"] * 2
    assert comes_to(policy) == comes_to(expected)


def test_what_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    """Every problem, with the file; and what is no text."""
    for data in (b"", b"= 3", POLICY.replace("/minute", "/minit").encode(), b"[tiers]\nanonymous = 7\nx = 8"):
        with pytest.raises(PolicyError) as expected:
            policy_of(data, "file.toml")
        with pytest.raises(PolicyError) as found:
            through(data, "file.toml")
        assert str(found.value) == str(expected.value)
    with pytest.raises(PolicyError, match=r"file\.toml: line 1: is not UTF-8"):
        Reader("uwsgi").policy_of(b"\xff", "file.toml")
    assert not caplog.records


@pytest.mark.parametrize(
    "program",
    [
        "/usr/bin/uwsgi",  # which has Python in it, and would take what it is given for its own
        "/nowhere/python3",
        "python-that-ends",
        "python-that-says-something-else",
        "python-that-hangs",
    ],
)
def test_where_no_process_can_be_had(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read here, with what is wrong with it."""
    said = {"ends": "exit 1", "else": "cat > /dev/null; echo hello", "hangs": "exec sleep 60"}
    script = said.get(program.rpartition("-")[2])
    if script:
        monkeypatch.setattr(apart, "PATIENCE", 0.01)
        (tmp_path / program).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / program).chmod(0o755)
        program = str(tmp_path / program)
    reader = Reader(program)
    data = POLICY.encode() + b"#" * 200_000  # more than a pipe holds
    assert comes_to(reader.policy_of(data, "/the/file")) == comes_to(policy_of(data, "/the/file"))
    with pytest.raises(PolicyError, match=r"file\.toml: tiers"):
        reader.policy_of(b"tiers = 3", "file.toml")
    reader.close()


def test_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers what it is given, and collects no garbage, as it ends at once."""
    asked = list[object]()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"text")))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=asked))
    monkeypatch.setattr(apart, "answer", lambda data, pipe: pipe.append(data))
    apart.main()
    assert asked == [b"text"]
    assert apart._READ.startswith("import gc; gc.disable();")
