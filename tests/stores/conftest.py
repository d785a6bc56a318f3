from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest

from tests import certificates, clusters, sentinels, servers
from tests.stores import STORES, Subject
from tests.stores.clock import Clock


def subject_of(name: str, request: pytest.FixtureRequest) -> Subject:
    if name == "memory":
        return Subject(name)
    if name == "fakeredis":
        return Subject(name, fakeredis.FakeAsyncRedis())
    return Subject(name, request.getfixturevalue(name).unix_url)


@pytest.fixture(params=STORES)
def subject(request: pytest.FixtureRequest) -> Subject:
    return subject_of(request.param, request)


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> servers.Server:
    return request.getfixturevalue(request.param)


@pytest.fixture
def clock(server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock(server, monkeypatch)
    yield clock
    clock.close()


@pytest.fixture(scope="module", params=["valkey", "redis"])
def cluster(request: pytest.FixtureRequest) -> Iterator[clusters.Cluster]:
    with clusters.run_cluster(request.param) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=["valkey", "redis"])
def watched(request: pytest.FixtureRequest) -> Iterator[sentinels.Sentinels]:
    """A master with replicas and sentinels."""
    with sentinels.run_sentinel(request.param) as watched:
        yield watched


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificate:
    return certificates.make(tmp_path_factory.mktemp("tls"))
