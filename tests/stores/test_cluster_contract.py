"""The contract of the stores, on a cluster: the same timelines as in test_contract.py and test_units.py."""

from __future__ import annotations

import pytest

from tests.stores.clustered import ClusterSubject
from tests.stores.test_contract import *  # noqa: F403 - every promise of the contract, with the subject below
from tests.stores.test_units import *  # noqa: F403

pytestmark = pytest.mark.repeated  # of test_contract.py and test_units.py


@pytest.fixture(params=["valkey", pytest.param("redis", marks=pytest.mark.proof)])
def subject(request: pytest.FixtureRequest) -> ClusterSubject:
    return ClusterSubject(request.getfixturevalue(f"{request.param}_cluster"))
