"""Four processes on a cluster never let more through than the limits say, by a log of every admitted request."""

from __future__ import annotations

import pytest

from tests import clusters
from tests.strictness import holders
from tests.strictness.holders import Held, admitted_above
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


@pytest.mark.proof
def test_holders_of_unknown_numbers_of_units(valkey_cluster: clusters.Cluster) -> None:
    """Eight processes hold units, renew them, and settle fewer, as many or more, some of it twice; three are killed
    with units in their hands. By their logs no hold was given where there was no room for it, and in the end what was
    settled is counted, once, and what the dead held is back within one lease."""
    report = holders.run(valkey_cluster.url, 4)
    assert report.over == ()
    assert min(report.held, report.denied) > 50
    assert report.above > 10
    assert report.dead > 0


def test_the_log_of_holders_can_tell() -> None:
    """What leaves no room is found: what was used of others, up to what they held, and what was counted above it."""
    full = [Held(0, 20, 5_000 + n, 20) for n in range(3)]
    assert admitted_above(full) == []
    assert admitted_above([*full, Held(0, 1, 6_000, 0)]) == []
    assert admitted_above([*full, Held(0, 1, 5_999, 0)]) != []
    assert admitted_above([*full[:2], Held(0, 20, 5_002, 0), Held(0, 20, 5_999, 0)]) == []
    assert admitted_above([Held(0, 5, 5_000, 9, 5_100, 5_105), Held(0, 52, 5_106, 0)]) != []
    assert admitted_above([Held(0, 5, 5_000, 9, 5_100, 5_106), Held(0, 52, 5_106, 0)]) == []
