"""What users install: what the wheel holds, and what an import of it brings with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

import ratelimit
from tests.packaging import ROOT

POLICY = """
[tiers.anonymous]
limits = [{ name = "ip", rate = "2/minute" }]
"""
# Drives a tiny app by hand: three calls from one address. Prints the statuses, and then what a Redis URL raises.
WITHOUT_REDIS = """
import sys
sys.modules["redis"] = sys.modules["hiredis"] = None  # an import of these raises ImportError, as if not installed

import asyncio
from ratelimit import RateLimitMiddleware, open_store

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

async def send(message):
    if message["type"] == "http.response.start":
        print(message["status"])

async def main():
    limited = RateLimitMiddleware(app, policy=sys.argv[1])
    for _ in range(3):
        scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "headers": [], "query_string": b""}
        await limited({**scope, "client": ("192.0.2.1", 1234)}, None, send)

asyncio.run(main())
try:
    open_store("redis://127.0.0.1")
except ImportError as error:
    print(error)
"""
IMPORTED = "import sys; before = {*sys.modules}; import ratelimit; print(*{*sys.modules} - before)"


def python(*arguments: str | Path) -> str:
    """What a fresh interpreter prints, without the measuring of coverage and without a store from the environment."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COVERAGE_") and name != "RATELIMIT_STORE_URL"
    }
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    (path,) = folder.iterdir()
    return ZipFile(path)


@pytest.fixture
def metadata(wheel: ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_wheel_holds_the_package(wheel: ZipFile) -> None:
    """Every file of ratelimit/ is in the wheel, the scripts and the marker of types too, and no other folder is."""
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "ratelimit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"ratelimit/py.typed", "ratelimit/stores/lua/lib/rate.lua", "ratelimit/stores/lua/renew.lua"} <= package
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == package


def test_wheel_holds_the_licence(wheel: ZipFile) -> None:
    """The licence goes with every copy, as it asks for."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
    assert wheel.read(name) == (ROOT / "LICENSE").read_bytes()


def test_what_an_install_brings(metadata: Message) -> None:
    """An install brings two packages; what Redis, the command and telemetry need comes with the extras."""
    requires = metadata.get_all("Requires-Dist", [])
    assert metadata["Name"] == "ratelimit-asgi"
    assert {re.sub("[<>=.0-9]+", "", line, count=1) for line in requires} == {
        "pydantic",
        "tzdata",
        "redis; extra == 'redis'",
        "hiredis; extra == 'redis'",
        "typer; extra == 'cli'",
        "rich; extra == 'cli'",
        "zstandard; extra == 'cli'",
        "prometheus-client; extra == 'prometheus'",
        "opentelemetry-api; extra == 'otel'",
    }


@pytest.mark.skipif(os.environ.get("RATELIMIT_TEST_WHEEL") != "1", reason="the wheel is what `make test` tests")
def test_the_wheel_is_tested() -> None:
    """These tests, and the processes that they start, import the installed ratelimit and not the folder beside them."""
    installed = str(Path(sysconfig.get_path("purelib"), "ratelimit", "__init__.py"))
    assert ratelimit.__file__ == installed
    assert python("-c", "import ratelimit; print(ratelimit.__file__)").strip() == installed


def test_an_import_brings_nothing_else() -> None:
    """`import ratelimit` imports the standard library alone, and of that nothing for command lines."""
    packages = {module.partition(".")[0] for module in python("-c", IMPORTED).split()}
    foreign = packages - set(sys.stdlib_module_names)
    # zoneinfo asks how Python was built; the module that answers is named for the platform.
    assert {name for name in foreign if not name.startswith("_sysconfigdata_")} == {"ratelimit"}
    assert not packages & {"argparse", "getopt", "optparse"}


def test_memory_needs_no_redis(tmp_path: Path) -> None:
    """Without the extra an app is limited in memory, and a Redis URL says what to install."""
    policy = tmp_path / "ratelimit.toml"
    policy.write_text(POLICY)
    *statuses, message = python("-c", WITHOUT_REDIS, policy).splitlines()
    assert statuses == ["200", "200", "429"]
    assert message == "redis:// needs redis-py: pip install 'ratelimit-asgi[redis]'"
