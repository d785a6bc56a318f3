"""What tests are run on: each process that runs them has ports of its own."""

from __future__ import annotations

import socket
from itertools import cycle

import pytest

from tests import servers


def test_ports_of_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """None comes twice, neither in one process nor in both, nor is one that a connection gets by itself."""
    given = []
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        given += [servers.free_port() for _ in range(500)]
    assert len(set(given)) == 1_000
    assert max(given) < 32_768
    assert {port >= servers.LOWEST + servers.MANY for port in given[:500]} == {False}
    assert {port >= servers.LOWEST + servers.MANY for port in given[500:]} == {True}


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed over."""
    monkeypatch.setattr(servers, "_ports", cycle(range(servers.MANY)))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first := servers.free_port()))
        monkeypatch.setattr(servers, "_ports", cycle(range(servers.MANY)))
        assert servers.free_port() != first
