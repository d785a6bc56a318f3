"""The proxy does to a connection what it says, and nothing else: a fault that does not happen would prove nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=back, args=(connection,), daemon=True).start()

        def back(connection: socket.socket) -> None:
            with connection:
                try:
                    while data := connection.recv(65_536):
                        connection.sendall(data)
                except OSError:
                    """It was cut."""

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo) as proxy:
        yield proxy


@pytest.fixture
def connection(proxy: Proxy) -> Iterator[socket.socket]:
    with connected(proxy) as connection:
        yield connection


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def said(connection: socket.socket, words: bytes = b"here I am") -> bytes:
    try:
        connection.sendall(words)
        return connection.recv(100)
    except ConnectionResetError:
        connection.close()
        raise


def test_nothing_is_wrong(connection: socket.socket) -> None:
    """What is sent arrives as it is, and so does the answer."""
    for n in range(100):
        assert said(connection, b"%d" % n) == b"%d" % n


def test_delay(proxy: Proxy, connection: socket.socket) -> None:
    """Replies are late by what was said, and those that are under way come at once when the network is well."""
    with proxy.delaying(0.2):
        begun = time.monotonic()
        assert said(connection) == b"here I am"
        assert time.monotonic() - begun >= 0.2
    with proxy.delaying(3_600):
        connection.sendall(b"late")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        connection.settimeout(5)
    assert connection.recv(100) == b"late"
    assert said(connection) == b"here I am"


def test_reset(proxy: Proxy, connection: socket.socket) -> None:
    """A cut connection is reset, and the next one is served."""
    said(connection)
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        said(connection)
    with connected(proxy) as other:
        assert said(other) == b"here I am"


def test_cut_in_the_middle(proxy: Proxy, connection: socket.socket) -> None:
    """No more than so many bytes of a reply arrive, on any connection, and then a reset."""
    with proxy.cutting(after=3):
        for one in (connection, connected(proxy)):
            with one:
                seen: list[bytes] = []
                with pytest.raises(ConnectionResetError):
                    seen.extend(iter(lambda one=one: said(one), b""))
                assert b"".join(seen) in (b"", b"her")  # a reset may overtake what was sent
    with connected(proxy) as other:
        assert said(other) == b"here I am"


def test_garbage(proxy: Proxy, connection: socket.socket) -> None:
    """Replies are noise of their own length, the same for the same seed."""
    noise = []
    for _ in range(2):
        with proxy.corrupting(seed=7):
            noise.append(said(connection))
    assert noise[0] == noise[1]
    assert len(noise[0]) == 9
    assert noise[0] != b"here I am"
    assert said(connection) == b"here I am"


def test_hole(proxy: Proxy, connection: socket.socket) -> None:
    """What is sent into a hole is gone, new connections are no better, and those that it saw are dead afterwards."""
    with proxy.swallowing(), connected(proxy) as other:
        for one in (connection, other):
            one.settimeout(0.1)
            with pytest.raises(TimeoutError):
                said(one)
    with pytest.raises(TimeoutError):
        said(connection)
    with connected(proxy) as other:
        assert said(other) == b"here I am"


def test_refuse(proxy: Proxy, connection: socket.socket) -> None:
    """Nobody is connected and nobody can be, until it is over, at the same port."""
    said(connection)
    with proxy.refusing():
        with pytest.raises(ConnectionResetError):
            said(connection)
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                connected(proxy)
    with connected(proxy) as other:
        assert said(other) == b"here I am"


def test_no_server_behind_it(proxy: Proxy, echo: int) -> None:
    """Where nobody listens behind it, a connection is reset: what a dead server's load balancer does."""
    with Proxy(proxy._reserved.getsockname()[1]) as before:
        with proxy.refusing(), pytest.raises(ConnectionResetError):
            said(connected(before))
        with connected(before) as one:
            assert said(one) == b"here I am"
