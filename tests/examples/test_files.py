"""The files of the examples agree with each other: policies, API keys, documentation, and what `serve` prints."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import httpx2
import pytest

from examples import serve
from ratelimit import hash_api_key, load_policy
from tests.examples import NAMES, api_keys
from tests.servers import free_port

ROOT = Path(serve.__file__).parent


def keys_of(name: str) -> list[str]:
    return api_keys(import_module(f"examples.{name}.keys"))


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_loads(name):
    """Each ratelimit.toml is a valid policy, with a prefix of its own and the style of its API."""
    policy = load_policy(ROOT / name / "ratelimit.toml")
    assert policy.store.prefix == name
    assert type(policy.style).__name__.lower() == {"completions": "ietf"}.get(name, name)
    assert "anonymous" in policy.tiers


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_knows_the_documented_keys_by_their_hash_alone(name):
    """Each API key of keys.py is in the policy as a SHA-256 and in the README; the policy has no key in clear."""
    text = (ROOT / name / "ratelimit.toml").read_text("utf-8")
    readme = (ROOT / name / "README.md").read_text("utf-8")
    assert text.count("sha256 =") == len(keys_of(name))
    for api_key in keys_of(name):
        assert f'sha256 = "{hash_api_key(api_key)}"' in text
        assert api_key not in text
        assert f"`{api_key}`" in readme


@pytest.mark.parametrize("name", NAMES)
def test_serve_prints_three_commands_for_its_port(name):
    """What `serve` says to try are the README's three lines, at the port that is served; their API keys exist."""
    commands = serve.commands(name, 8123)
    assert len(commands) == 3
    assert all("http://127.0.0.1:8123/" in command for command in commands)
    assert any(api_key in command for command in commands for api_key in keys_of(name))


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["facturapi", "http"], ["facturapi", "1", "2"]])
def test_serve_says_how_it_is_used(arguments, capsys):
    """Anything but a name and a port is answered with the usage and status 2."""
    assert serve.main(arguments) == 2
    assert (
        capsys.readouterr().err == "usage: python -m examples.serve facturapi|lightspeed|lendworks|completions [port]\n"
    )


def test_serve_keeps_an_api_up_until_it_is_interrupted():
    """`python -m examples.serve lendworks PORT` answers at that port, and Ctrl-C ends it."""
    port = free_port()
    command = [sys.executable, "-m", "examples.serve", "lendworks", str(port)]
    with subprocess.Popen(command, cwd=ROOT.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert _status_of(f"http://127.0.0.1:{port}/health", process) == 200
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert printed.decode().splitlines()[:4] == ["Try:", *serve.commands("lendworks", port)]


def _status_of(url: str, process: subprocess.Popen[bytes]) -> int:
    for _ in range(3_000):
        assert process.poll() is None, "the server has ended"
        try:
            return httpx2.get(url).status_code
        except httpx2.ConnectError:
            time.sleep(0.01)
    pytest.fail("the server did not answer within 30 s")
