"""The contract of the stores, on a cluster: the same timelines as in test_contract.py, decision for decision."""

from __future__ import annotations

import pytest

from tests import clusters
from tests.stores.clustered import ClusterSubject
from tests.stores.test_contract import *  # noqa: F403 - every promise of the contract, with the subject below


@pytest.fixture
def subject(cluster: clusters.Cluster) -> ClusterSubject:
    return ClusterSubject(cluster)
