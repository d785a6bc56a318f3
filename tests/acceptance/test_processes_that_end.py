"""What becomes of the slots of a process that is killed, stands still, or is shut down: on real workers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM

import httpx2
import pytest

from tests import servers
from tests.acceptance import _wait_until_up

LEASE_MS = 1_000  # the shortest that a policy may have


@dataclass(frozen=True)
class Worker:
    """One process of uvicorn, and what it has said."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def end(self, signal: int) -> None:
        self.process.send_signal(signal)
        self.process.wait(30)


@dataclass(frozen=True)
class Site:
    """Workers on one server with a cap of three requests at a time."""

    server: servers.Server
    folder: Path
    stack: ExitStack

    def worker(self, *arguments: str) -> Worker:
        return self.stack.enter_context(self._started(*arguments))

    def open(self, worker: Worker, path: str = "/stream") -> int:
        """Ask for a response that does not end; its status."""
        client = self.stack.enter_context(httpx2.Client(timeout=30))
        return self.stack.enter_context(client.stream("GET", f"{worker.url}{path}")).status_code

    def expiries(self) -> list[float]:
        """Of the leases in the store."""
        with self.server.client() as client:
            keys = client.scan_iter(f"{self.folder.name}:*")
            return [expiry for key in keys for _, expiry in client.zrange(key, 0, -1, withscores=True)]

    def now_ms(self) -> int:
        with self.server.client() as client:
            seconds, micros = client.time()
        return seconds * 1_000 + micros // 1_000

    @contextmanager
    def _started(self, *arguments: str) -> Iterator[Worker]:
        port, log = servers.free_port(), self.folder / f"{time.monotonic_ns()}.log"
        policy = (
            f'[store]\nurl = "{self.server.unix_url}"\nprefix = "{self.folder.name}"\ntimeout = "10s"\n'
            '[operations]\nexempt = ["GET /health", "GET /stall"]\n'
            f'[tiers.anonymous]\nlimits = [ {{ name = "cap", concurrency = 3, lease = "{LEASE_MS}ms" }} ]\n'
        )
        uvicorn = [sys.executable, "-m", "uvicorn", "tests.acceptance.holding:app", "--log-level", "error"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*uvicorn, "--port", str(port), *arguments],
                env={**os.environ, "RATELIMIT_TEST_POLICY": policy},
                cwd=Path(__file__).parents[2],
                stderr=file,
            )
        try:
            worker = Worker(process, f"http://127.0.0.1:{port}", log)
            _wait_until_up(process, worker.url)
            yield worker
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def site(valkey: servers.Server, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(valkey, tmp_path, stack)


@pytest.mark.proof
def test_a_worker_that_is_killed(site: Site) -> None:
    """The slots of a worker live on for longer than a lease while its streams are open, and end within one lease of
    `kill -9`."""
    doomed, other = site.worker(), site.worker()
    assert [site.open(doomed) for _ in range(4)] == [200, 200, 200, 429]
    given = max(site.expiries())
    servers.until(lambda: site.now_ms() > given + LEASE_MS)
    assert site.open(other) == 429
    doomed.end(SIGKILL)
    killed = site.now_ms()
    assert max(site.expiries()) <= killed + LEASE_MS
    servers.until(lambda: site.now_ms() > killed + LEASE_MS)
    assert [site.open(other) for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.proof
def test_a_worker_that_stood_still(site: Site) -> None:
    """A worker whose loop was blocked for longer than a lease counts its streams again, above the cap where others took
    their slots: then nobody comes in, and the log says by how many it is exceeded, and why."""
    blocked, other = site.worker(), site.worker()
    assert [site.open(blocked) for _ in range(2)] == [200, 200]
    given = max(site.expiries())
    httpx2.get(f"{blocked.url}/stall?seconds=2", timeout=30)
    servers.until(lambda: min(site.expiries()) > given + LEASE_MS)
    assert "exceeded" not in blocked.log.read_text()  # nobody took them
    assert [site.open(other) for _ in range(2)] == [200, 429]

    stall = threading.Thread(target=httpx2.get, args=[f"{blocked.url}/stall?seconds=5"], kwargs={"timeout": 30})
    stall.start()
    servers.until(lambda: sorted(site.expiries())[1] < site.now_ms())  # those of the one that stands still
    assert [site.open(other) for _ in range(2)] == [200, 200]
    stall.join()
    servers.until(lambda: len(site.expiries()) == 5)
    assert site.open(other) == 429
    servers.until(lambda: "exceeded by 2" in blocked.log.read_text())
    assert "the event loop stood still for" in blocked.log.read_text()


@pytest.mark.parametrize(
    ("lifespan", "signal", "path"),
    [("on", SIGTERM, "/stream"), ("on", SIGTERM, "/stubborn"), ("on", SIGINT, "/stream"), ("off", SIGINT, "/stream")],
)
def test_a_worker_that_is_shut_down(site: Site, lifespan: str, signal: int, path: str) -> None:
    """A worker that is told to end gives back what its open streams hold: with a lifespan also of those
    that do not end when they are cancelled."""
    worker = site.worker("--lifespan", lifespan, "--timeout-graceful-shutdown", "1")
    assert [site.open(worker, path) for _ in range(3)] == [200, 200, 200]
    worker.end(signal)
    assert site.expiries() == []


WITHOUT_LIFESPAN = """
import asyncio, os, signal, sys, threading
from ratelimit import RateLimitMiddleware, parse_policy

async def app(scope, receive, send):
    entered.append(scope["ratelimit"].leases)
    await asyncio.get_running_loop().create_future()

async def ask():
    calls.extend(asyncio.ensure_future(limiter({**scope}, None, None)) for _ in range(2))
    while len(entered) < 2:
        await asyncio.sleep(0.01)

def ended(*_):
    sys.exit()

calls, entered, how = [], [], sys.argv[1]
scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("192.0.2.7", 1)}
limiter = RateLimitMiddleware(app, parse_policy(os.environ["POLICY"], "ending"))
def said():
    print(sum(map(len, entered)), "slots", end="", flush=True)

if how == "thread":  # of a WSGI server's
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(ask(), loop).result()
    said()
    sys.exit()
loop = asyncio.new_event_loop()
loop.run_until_complete(ask())
said()
if how == "fork":
    if os.fork() == 0:
        sys.exit()
    os.wait()
    os.kill(os.getpid(), signal.SIGKILL)
if how == "signal":
    signal.signal(signal.SIGTERM, ended)
    loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)
    loop.run_forever()
if how == "closed":
    loop.close()
"""


@pytest.mark.parametrize(("how", "kept"), [("closed", 0), ("signal", 0), ("thread", 0), ("fork", 2)])
def test_a_process_without_a_lifespan(how: str, kept: int, site: Site) -> None:
    """A process that ends in order without a word to the app (Django's, a WSGI server's thread, a script) gives back
    what is held; not what it was forked with."""
    url = f"redis://localhost:{site.server.port}"  # a name: no thread that looks it up can be started any more
    policy = (
        f'[store]\nurl = "{url}"\nprefix = "{site.folder.name}"\ntimeout = "10s"\n'
        '[tiers.anonymous]\nlimits = [ { name = "cap", concurrency = 3 } ]\n'
    )
    process = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIFESPAN, how],
        env={**os.environ, "POLICY": policy},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        timeout=60,
    )
    assert process.stdout == b"2 slots"
    assert process.returncode == (-SIGKILL if kept else 0)
    assert len(site.expiries()) == kept
