"""A Decision by hand, for what reads one; and the fixtures of the plugin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ratelimit import Concurrency, Decision, Identity, Quota
from ratelimit.styles import Lendworks
from ratelimit.testing import decision

TEST = '''
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ratelimit import RateLimitMiddleware
from ratelimit.testing import assert_denied

POLICY = """
[tiers.anonymous]
limits = [ { name = "ip", rate = "1/minute" } ]
"""


@pytest.fixture
def app(tmp_path):
    (tmp_path / "ratelimit.toml").write_text(POLICY)
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("ok"))])
    app.add_middleware(RateLimitMiddleware, policy=tmp_path / "ratelimit.toml")
    return app


def test_it(app, ratelimit_client, ratelimit_clock):
    client = ratelimit_client(app, base_url="http://there")
    assert client.clock is ratelimit_clock
    client.get("/")
    assert_denied(client.get("/"), limit="ip", retry_after=61)
    ratelimit_clock.advance("61s")
    assert client.get("/").status_code == 200


def test_again(app, ratelimit_client):
    assert ratelimit_client(app).get("/").status_code == 200
'''


def test_allowed() -> None:
    """Each limit with what is used and its max; a real Decision, which styles and handlers read."""
    stub = decision({"in flight": (1, 10, Concurrency())}, requests=(7, 10), monthly=(1, 50_000, Quota("month")))
    assert isinstance(stub, Decision)
    assert stub.allowed
    assert {state.limit.name: state.remaining for state in stub.states} == {
        "in flight": 9,
        "requests": 3,
        "monthly": 49_999,
    }
    assert stub.binding is stub.states[1]
    assert stub.denying is None
    headers = dict(Lendworks().headers(stub, Identity(user="ana", tier="basic"), ""))
    assert headers[b"x-ratelimit-remaining"] == b"3"
    assert [state.window_ms for state in stub.states] == [60_000, 60_000, 31 * 86_400_000]


def test_denied() -> None:
    """The limits that are used up deny it, for as long as it is said."""
    stub = decision(requests=(10, 10), monthly=(1, 50_000), allowed=False, retry_after=12.5, now_ms=7)
    assert stub.denying is stub.states[0]
    assert (stub.now_ms, stub.states[0].retry_after_ms, stub.states[1].retry_after_ms) == (7, 12_500, 0)
    answer = Lendworks().denied(stub, Identity(user="ana", tier="basic"), "")
    assert (answer.status, dict(answer.headers)[b"retry-after"]) == (429, b"13")
    never = decision(closed=(0, 0), allowed=False, retry_after=None)
    assert Lendworks().denied(never, Identity(user="ana", tier="basic"), "").status == 403


def test_names_that_need_starlette() -> None:
    """They are imported when they are asked for; any other is an AttributeError that says so."""
    import ratelimit.testing

    assert ratelimit.testing.LimitedClient.__name__ == "LimitedClient"
    with pytest.raises(AttributeError, match=r"module 'ratelimit.testing' has no attribute 'Client'"):
        _ = ratelimit.testing.Client


def test_an_import_brings_no_framework() -> None:
    """A Decision by hand needs neither starlette nor pytest, and `import ratelimit` nothing of this."""
    code = (
        "import sys, ratelimit; assert not [m for m in sys.modules if m.startswith('ratelimit.testing')];"
        "import ratelimit.testing; ratelimit.testing.decision(requests=(1, 2));"
        "print(sorted({'starlette', 'httpx', 'httpx2', 'pytest', 'fastapi'} & {*sys.modules}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_denied_by_nothing() -> None:
    """A denial needs a limit that is used up."""
    with pytest.raises(ValueError, match=r"^no limit denies it: give one with all of its max used, as requests="):
        decision(requests=(7, 10), allowed=False)


def test_the_plugin(tmp_path: Path) -> None:
    """Its fixtures are there for who asks for them, and for nobody else."""
    (tmp_path / "test_it.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    without = subprocess.run([*command, tmp_path], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "fixture 'ratelimit_client' not found" in without.stdout
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["ratelimit.testing.plugin"]\n')
    there = subprocess.run([*command, tmp_path], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert there.returncode == 0, there.stdout
