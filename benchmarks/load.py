"""Processes: an app in uvicorn, wrk as its callers, a Valkey or Redis of its own; and what each of them spent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import IO

from redis import Redis

from benchmarks.policy import CALLERS
from tests import servers

ROOT = Path(__file__).parents[1]
APPS = Path(__file__).parent / "apps"  # where the modules of the apps are: the folder that uvicorn starts in
SCRIPT = Path(__file__).parent / "callers.lua"
RESULT = "RESULT "  # how the line begins that the script prints for us
ITEMS = 1_000  # item ids that it cycles through
EMPTY: Mapping[str, float] = MappingProxyType({})
UP = 30.0  # seconds that an app may take to come up
SCRIPTS = frozenset({"eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"})


@dataclass(frozen=True, slots=True)
class App:
    """An app that is served: where, and by which process."""

    url: str
    port: int
    pid: int
    output: IO[bytes]

    def complaints(self) -> str:
        """What the app wrote to its standard streams so far: what went wrong, for uvicorn is told to be quiet."""
        return os.pread(self.output.fileno(), 100_000, 0).decode(errors="replace")

    def get(self, path: str = "/items/1", api_key: str = "key-0") -> tuple[int, dict[str, str]]:
        """The status of one request, and the headers of its answer with their names in lower case."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", path, headers={"X-API-Key": api_key})
            answer = connection.getresponse()
            answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}


@contextmanager
def serve(
    app: str, environment: Mapping[str, str], *, python: Path | str = sys.executable, workers: int = 1
) -> Iterator[App]:
    """Uvicorn with uvloop and httptools that serves `app` ("module:name", a module in apps/), in one worker or more.

    `python` is the interpreter of the environment with the app's packages. Ended at the end of the block.
    """
    port = servers.free_port()
    options = f"--host 127.0.0.1 --port {port} --loop uvloop --http httptools --no-access-log --log-level error"
    if workers > 1:  # with one, the process that is started is the worker
        options += f" --workers {workers}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RATELIMIT_", "PYTHON"))}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [python, "-m", "uvicorn", app, *options.split()],
            cwd=APPS,
            env=inherited | dict(environment),
            stdout=output,
            stderr=output,
        )
        running = App(f"http://127.0.0.1:{port}", port, process.pid, output)
        try:
            _wait_until_up(process, port)
            yield running
        except Exception:
            print(running.complaints()[-4_000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + UP
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the app did not start: uvicorn ended with status {process.returncode}")
        try:
            with closing(HTTPConnection("127.0.0.1", port, timeout=1)) as connection:
                return connection.connect()
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"the app did not start: nothing answers on its port after {UP:.0f} s")


def ours(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of an app that imports ratelimit from this repository.

    Only for ours: asgi-ratelimit has the same import name, so that an app of it must not find this folder.
    """
    return {"PYTHONPATH": str(ROOT), **environment}


@dataclass(frozen=True, slots=True)
class Run:
    """What wrk saw. Latencies are those of the requests that it sent, each after the answer to the one before."""

    requests: int
    seconds: float
    refused: int  # statuses above 399
    broken: int  # connections that failed, and answers that did not come
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def wrk_program() -> str:
    program = shutil.which("wrk")
    if not program:
        raise SystemExit("wrk is not on the PATH, and the benchmarks load apps with it (Debian: apt-get install wrk)")
    return program


def wrk(
    url: str,
    *,
    seconds: float,
    connections: int = 64,
    callers: int = CALLERS,
    items: int = ITEMS,
    pause_ms: float = 0.0,
) -> Run:
    """One thread of wrk; its requests cycle through `callers` API keys and `items` item ids. Whole seconds only.

    Each connection pauses for `pause_ms` on average before it sends the next request. RuntimeError where none is made.
    """
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(SCRIPT)]
    command = [wrk_program(), *options, url, "--", str(callers), str(items), f"{pause_ms:g}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"wrk ended with status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def parse(text: str) -> Run:
    """What wrk printed, with the line of callers.lua in it."""
    for line in text.splitlines():
        if line.startswith(RESULT):
            return Run(**json.loads(line.removeprefix(RESULT)))
    raise ValueError(f"wrk did not print the line of its script:\n{text}")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, its threads included. NaN where there is no /proc, as on macOS."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, the 14th and 15th


@contextmanager
def store(name: str = "valkey", *arguments: str) -> Iterator[servers.Server]:
    """A Valkey or Redis of its own with nothing in it; see tests/servers.py for its URL, its client, its process."""
    with servers.run(name, *arguments) as server:
        yield server


@dataclass(frozen=True, slots=True)
class Commands:
    """What a Redis was asked for: calls and their time by the name of the command."""

    calls: Mapping[str, int]
    microseconds: Mapping[str, int]

    @property
    def scripts(self) -> int:
        return sum(count for name, count in self.calls.items() if name in SCRIPTS)

    @property
    def script_microseconds(self) -> int:
        return sum(spent for name, spent in self.microseconds.items() if name in SCRIPTS)

    def by_clients(self, shares: Mapping[str, float] = EMPTY) -> float:
        """How many commands clients sent. Redis counts what scripts call too: `shares` has the share of a command's
        calls that is clients' own, as check.py finds it. Where there are scripts, what is not there is theirs: what
        clients do is always the same, what scripts do depends on what they find."""
        return sum(count * shares.get(name, 0.0 if shares else 1.0) for name, count in self.calls.items())


def commands(client: Redis) -> Commands:
    """All commands so far, by `INFO commandstats`, but for that INFO."""
    stats = {name.removeprefix("cmdstat_"): figures for name, figures in client.info("commandstats").items()}
    stats.pop("info", None)
    return Commands(
        {name: figures["calls"] for name, figures in stats.items()},
        {name: figures["usec"] for name, figures in stats.items()},
    )


def spent(before: Commands, after: Commands) -> Commands:
    """What was called between two readings, without the commands that were not."""
    calls = {name: count - before.calls.get(name, 0) for name, count in after.calls.items()}
    calls = {name: count for name, count in calls.items() if count}
    return Commands(calls, {name: after.microseconds[name] - before.microseconds.get(name, 0) for name in calls})
