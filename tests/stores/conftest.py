from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import fakeredis
import pytest

from ratelimit.stores.records import kept
from tests import clusters, sentinels, servers
from tests.stores import SCRIPTS, STORES, Subject
from tests.stores.clock import Clock
from tests.stores.simulation import moved


def subject_of(name: str, request: pytest.FixtureRequest) -> Subject:
    if name == "memory":
        return Subject(name)
    if name == "fakeredis":
        return Subject(name, fakeredis.FakeAsyncRedis())
    server: servers.Server = request.getfixturevalue(name)
    return Subject(name, server.unix_url, server)


class LastingSubject(Subject):
    """One on a server, for thousands of steps: its keys live longer than by the clock that the test moves."""

    _by_key = {name: moved(script) for name, script in SCRIPTS.items()}  # noqa: RUF012 - a constant

    def __init__(self, server: servers.Server) -> None:
        super().__init__(server.name, server.unix_url, server)


@pytest.fixture
def lasting_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory store forgets no counter, however long a busy machine takes for the steps of a test."""
    monkeypatch.setattr(kept, "time", SimpleNamespace(monotonic_ns=lambda: 0))


def lasting_subject_of(name: str, request: pytest.FixtureRequest) -> Subject:
    return Subject(name) if name == "memory" else LastingSubject(request.getfixturevalue(name))


@pytest.fixture(params=STORES)
def subject(request: pytest.FixtureRequest) -> Subject:
    return subject_of(request.param, request)


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> servers.Server:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["valkey", "redis"])
def own_server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A server that the test may stop, kill or empty."""
    with servers.run(request.param) as server:
        yield server


@pytest.fixture
def clock(server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock(server, monkeypatch)
    yield clock
    clock.close()


@pytest.fixture(params=["valkey", "redis"])
def cluster(request: pytest.FixtureRequest) -> clusters.Cluster:
    """Its slots are where they were first when a test ends."""
    return request.getfixturevalue(f"{request.param}_cluster")


@pytest.fixture(params=["valkey", "redis"])
def watched(request: pytest.FixtureRequest) -> sentinels.Sentinels:
    """A master with replicas and sentinels; who the master is may change."""
    return request.getfixturevalue(f"{request.param}_sentinels")
