"""Four processes on a cluster never let more through than the limits say, by a log of every admitted request."""

from __future__ import annotations

import pytest

from tests import clusters
from tests.strictness.run import Admitted, charges_of, run, windows_over


@pytest.mark.proof
@pytest.mark.parametrize("options", [{}, {"reserve": True}, {"mixed": True}], ids=["a trip each", "reserve", "mixed"])
def test_no_window_is_over_its_limit(valkey_cluster: clusters.Cluster, options: dict[str, bool]) -> None:
    """Random callers with rates, quotas and caps, at four processes for some seconds: no window is over its max, the
    quotas in the store are what the log says, and no slot is kept."""
    report = run(valkey_cluster.url, 4, **options)
    assert report.over == ()
    assert report.without_store == 0
    assert report.admitted > 500
    assert report.denied > 500
    assert (report.ahead > 0) == bool(options)


def test_the_log_can_tell() -> None:
    """One request too many in a window is found, and one a millisecond after it is none."""
    second, *_ = charges_of(0, reserve=False)
    full = [Admitted(second.key, 1, 5_000 + n, 5_000 + n) for n in range(20)]
    limits = {second.key: second}
    assert windows_over(limits, full) == []
    assert windows_over(limits, [*full, Admitted(second.key, 1, 6_000, 6_000)]) == []
    assert windows_over(limits, [*full, Admitted(second.key, 1, 5_999, 5_999)]) != []
    assert windows_over(limits, [*full, Admitted(second.key, 1, 5_999, 6_000)]) == []  # perhaps it was after it
