"""The contract of the stores, on the master that sentinels name: the timelines of test_contract.py and
test_units.py."""

from __future__ import annotations

import pytest

from tests import sentinels
from tests.stores import Subject
from tests.stores.test_contract import *  # noqa: F403 - every promise of the contract, with the subject below
from tests.stores.test_units import *  # noqa: F403

pytestmark = pytest.mark.repeated  # of test_contract.py and test_units.py


@pytest.fixture(params=["valkey", pytest.param("redis", marks=pytest.mark.proof)])
def subject(request: pytest.FixtureRequest) -> Subject:
    watched: sentinels.Sentinels = request.getfixturevalue(f"{request.param}_sentinels")
    return Subject(watched.name, watched.url)
