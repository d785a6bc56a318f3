from __future__ import annotations

import fakeredis
import pytest

from tests.stores import STORES, Subject


def subject_of(name: str, request: pytest.FixtureRequest) -> Subject:
    if name == "memory":
        return Subject(name)
    if name == "fakeredis":
        return Subject(name, fakeredis.FakeAsyncRedis())
    return Subject(name, request.getfixturevalue(name).unix_url)


@pytest.fixture(params=STORES)
def subject(request: pytest.FixtureRequest) -> Subject:
    return subject_of(request.param, request)
