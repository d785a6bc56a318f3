"""The contract of the stores, on a cluster: the same timelines as in test_contract.py and test_units.py."""

from __future__ import annotations

import pytest

from tests import clusters
from tests.stores.clustered import ClusterSubject
from tests.stores.test_contract import *  # noqa: F403 - every promise of the contract, with the subject below
from tests.stores.test_units import *  # noqa: F403


@pytest.fixture
def subject(cluster: clusters.Cluster) -> ClusterSubject:
    return ClusterSubject(cluster)


@pytest.fixture
def units(cluster: clusters.Cluster) -> ClusterSubject:
    return ClusterSubject(cluster)
