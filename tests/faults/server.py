"""A real server that can be stopped, killed and started again on its port, with its data or without."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests import servers
from tests.faults.proxy import reserved_port

USER, PASSWORD = "app", "right"
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")  # what was answered is on disk


class Server:
    """Of "valkey" or "redis". The app logs in as a user of its own, so that its password can be changed under it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder / "data"
        self._socket = folder / "s"
        self._reserved = reserved_port()
        self.port: int = self._reserved.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, port: int | None = None) -> str:
        return f"redis://{USER}:{PASSWORD}@127.0.0.1:{port or self.port}/0"

    def client(self) -> Redis:
        return Redis(unix_socket_path=str(self._socket), socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        """Returns when it answers commands, its data loaded."""
        self._folder.mkdir(exist_ok=True)
        command = [servers.binary(self.name), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--unixsocket", str(self._socket), "--dir", str(self._folder), *DURABLE]
        command += ["--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self.name} on port {self.port} did not start again")
            time.sleep(0.002)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Lose the disk of a server that is dead."""
        shutil.rmtree(self._folder)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It stands still: connections are open, and accepted, and nothing is answered."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        self._reserved.close()

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        return False


@contextmanager
def running(name: str) -> Iterator[Server]:
    """A server with nothing in it, that keeps what it is told; stopped at the end."""
    with TemporaryDirectory(prefix="ratelimit-") as folder:
        server = Server(name, Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.close()
