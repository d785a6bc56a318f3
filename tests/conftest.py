from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import servers


@pytest.fixture(scope="session")
def valkey() -> Iterator[servers.Server]:
    with servers.run("valkey") as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[servers.Server]:
    with servers.run("redis") as server:
        yield server
