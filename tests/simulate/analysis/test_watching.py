"""What is found of the callers of a log: who is denied, when, for how long, and how much each would have needed."""

from __future__ import annotations

import pickle
from dataclasses import asdict

import pytest

from ratelimit.simulate.analysis import hits, watching
from ratelimit.simulate.analysis.found import (
    MOST_HIT,
    Found,
    Hit,
    OfLimit,
    most_denied,
    share_of,
    thresholds_of,
    together,
)
from tests.simulate.analysis import HOUR, Asked, T, policy, watched, who

ACME, BETA = who("acme"), who("beta")
THREE = '{ name = "requests", rate = "3/minute" }'


def each(at: int, count: int, every: int = 100, whose: object = ACME, **rest: object) -> list[Asked]:
    return [Asked(at + number * every, whose, **rest) for number in range(count)]  # type: ignore[arg-type]


def test_nobody_is_denied() -> None:
    """Of callers within their limits there are counts and peaks, and no first denial."""
    found = watched(policy(THREE), [*each(T, 3), *each(T, 2, whose=BETA)])
    assert (found.requests, found.denied, found.callers, found.callers_denied) == (5, 0, 2, 0)
    assert (found.first, found.hits) == (None, [])
    assert found.limits["basic", "requests"].peaks == {3: 1, 2: 1}
    assert found.limits["basic", "requests"].shares == {1.0: 1, 0.6667: 1}
    assert found.tiers == {"basic": 2}
    assert not found.timed


def test_who_is_denied() -> None:
    """When first, how often, by which limit, and the max with which it would have denied nothing."""
    found = watched(policy(THREE), [*each(T, 8), *each(T, 2, whose=BETA)])
    (hit,) = found.hits
    assert found.first == (T + 300, "organization=acme")
    assert (found.denied, found.callers_denied) == (5, 1)
    assert (hit.name, hit.tier, hit.requests, hit.denied, hit.first_ms) == ("organization=acme", "basic", 8, 5, T + 300)
    assert (hit.limit, hit.needs, hit.max) == ("requests", 8, 3)
    limit = found.limits["basic", "requests"]
    assert (limit.requests, limit.denied, limit.callers_denied, limit.maxes) == (10, 5, 1, {3: 2})


def test_the_longest_stretch() -> None:
    """From a denial to the next request that the limit admits, or to the end of the wait that was told last; what
    another limit admits meanwhile does not end it."""
    limits = '{ name = "reads", rate = "1/minute", operations = ["search"] }, { name = "all", rate = "99/minute" }'
    asked = [Asked(T, ACME), Asked(T + 1_000, ACME), Asked(T + 2_000, ACME, "create"), Asked(T + 31_000, ACME)]
    (hit,) = watched(policy(limits), asked).hits
    assert hit.blocked_ms == 60_000  # until T + 61 s, when the unit of T is free
    again = Asked(T + 61_000, ACME)
    (hit,) = watched(policy(limits), [*asked, again, Asked(T + 62_000, ACME)]).hits
    assert (hit.denied, hit.blocked_ms) == (3, 60_000)
    (hit,) = watched(policy(limits), [Asked(T, ACME), Asked(T + 59_000, ACME), Asked(T + 5 * HOUR, ACME)]).hits
    assert hit.blocked_ms == 2_000
    later = [*each(T, 2), *each(T + 5 * HOUR, 3, 10_000)]
    (hit,) = watched(policy(limits), later).hits
    assert hit.blocked_ms == 61_000 - 100


def test_what_can_never_pass() -> None:
    """A limit of 0 blocks for no time that could be told, and any part of it is more than all."""
    found = watched(policy('{ name = "closed", rate = "0/minute" }'), each(T, 2))
    assert found.hits[0].blocked_ms == 0
    assert found.limits["basic", "closed"].shares == {float("inf"): 1}


def test_two_limits_that_deny() -> None:
    """Each denial is of the limit with the longest wait; a caller is told with the one that denied it most often."""
    limits = '{ name = "a second", rate = "2/second" }, { name = "a day", quota = "5/day" }'
    found = watched(policy(limits), each(T, 3) + each(T + 2_000, 3) + each(T + 4_000, 4))
    assert (found.limits["basic", "a second"].denied, found.limits["basic", "a day"].denied) == (2, 3)
    assert found.hits[0].limit == "a day"
    assert found.hits[0].needs == 10


def test_in_shadow() -> None:
    """What a limit in shadow would deny is counted apart, and its peak goes on to count it."""
    found = watched(
        policy('{ name = "soon", rate = "2/minute", mode = "shadow" }'), [*each(T, 5), *each(T, 1, whose=BETA)]
    )
    assert (found.denied, found.would_deny, found.hits) == (0, 3, [])
    limit = found.limits["basic", "soon"]
    assert (limit.would_deny, limit.denied, limit.peaks) == (3, 0, {5: 1, 1: 1})


def test_by_status() -> None:
    """What goes back by its status is in no peak, where the log has the status, and in the peak of who waits for it."""
    limits = '{ name = "failed", rate = "2/minute", charge_on = ["404"] }'
    fine = watched(policy(limits), each(T, 5, status=200))
    assert fine.limits["basic", "failed"].peaks == {1: 1}
    failed = watched(policy(limits), each(T, 5, status=404))
    assert failed.limits["basic", "failed"].peaks == {5: 1}
    unknown = watched(policy(limits), each(T, 5, status=0))
    assert unknown.limits["basic", "failed"].peaks == {5: 1}
    both = watched(policy(limits), [*each(T, 3, status=404), *each(T + 1_000, 2, status=200)])
    assert both.limits["basic", "failed"].peaks == {3: 1}


def test_what_is_free() -> None:
    """A request that costs nothing is in no peak, also of a caller that is denied."""
    limits = '{ name = "writes", rate = "2/minute", cost = { search = 0 } }, { name = "all", rate = "4/minute" }'
    found = watched(policy(limits), each(T, 6))
    assert found.limits["basic", "writes"].peaks == {0: 1}
    assert found.limits["basic", "writes"].points == [0] * 12


def test_a_max_that_changes() -> None:
    """The part of the max goes by the one in force: a caller within a raised max was above the one after it."""
    override = '[[overrides]]\norganization = "acme"\nlimits = { requests = "10/minute" }\nuntil = 2026-03-01T10:00:30Z'
    found = watched(policy('{ name = "requests", rate = "4/minute" }', override), [*each(T, 5), *each(T + 40_000, 1)])
    limit = found.limits["basic", "requests"]
    assert limit.peaks == {6: 1}
    assert limit.shares == {1.5: 1}
    assert limit.maxes == {4: 1}
    early = watched(policy('{ name = "requests", rate = "4/minute" }', override), [*each(T, 12), *each(T + 40_000, 1)])
    assert early.limits["basic", "requests"].points[-1] == 1  # of three times the max: 12 of 12, as it is 13 then


def test_in_flight() -> None:
    """Where the log has durations, the most requests that a caller has at a time."""
    asked = [*each(T, 4, 100, took=1_000), *each(T + 5_000, 2, 2_000, took=10), *each(T, 1, whose=BETA, took=5)]
    found = watched(policy(THREE.replace("3", "99")), asked)
    assert found.in_flight == {4: 1, 1: 1}
    assert found.timed


def test_a_busy_hour() -> None:
    """A caller with more requests in an hour than a byte holds has them counted all the same."""
    found = watched(policy('{ name = "requests", rate = "299/hour" }'), each(T + 86_400_000, 300, 10))
    assert sum(found.week) == 300
    assert found.week[10] == 300  # Monday at ten
    assert found.week_denied[10] == 1
    assert found.hits[0].week[10] == 300
    sunday = watched(policy(THREE), each(T, 1))
    assert sunday.week[6 * 24 + 10] == 1


def test_a_limit_of_an_endpoint() -> None:
    """One that the policy does not have is counted under the tier of its caller."""
    of = policy(THREE)
    watch = watching.Watching(of)
    watch._places.clear()
    counted = watched_by(watch, of, each(T, 2))
    assert counted.limits["basic", "requests"].peaks == {2: 1}


def watched_by(watch: watching.Watching, of: object, asked: list[Asked]) -> Found:
    from ratelimit.simulate.deciding.replay import Replay
    from tests.simulate.analysis import _Operations

    replay = Replay(of, {repr(one.who): one.who for one in asked}.__getitem__, _Operations(), watch.saw)  # type: ignore[arg-type]
    for line, one in enumerate(asked, 1):
        replay.step((one.at, 0, line, one.took, one.call, one.status, repr(one.who), (one.operation, 1)))
    return watch.result()


def test_processes_add_up() -> None:
    """What two have found of other callers comes to what one finds of all; it can be pickled."""
    of = policy(f'{THREE}, {{ name = "at once", concurrency = 2 }}')
    first = [*each(T, 9, took=500), *each(T + 3 * HOUR, 2)]
    second = [*each(T - 1_000, 5, whose=BETA), *each(T + HOUR, 2, whose=who("gamma"))]
    parts = [pickle.loads(pickle.dumps(watched(of, part))) for part in (first, second)]  # noqa: S301 - our own
    assert asdict(together(parts)) == asdict(watched(of, [*first, *second]))
    assert together([]).first is None


def test_too_many_to_keep_all_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound denied callers are only counted, with their first denial and their longest stretch."""
    monkeypatch.setattr(watching, "MOST_DETAILED", 1)
    found = watched(policy(THREE), [*each(T, 9), *each(T + 1, 9, whose=BETA), *each(T + HOUR, 1, whose=BETA)])
    assert found.callers_denied == 2
    assert [(hit.name, hit.pattern, len(hit.week_denied)) for hit in found.hits] == [
        ("organization=acme", "one burst", 168),
        ("organization=beta", "not looked at", 0),
    ]
    assert found.patterns == {"one burst": 1, "not looked at": 1}
    assert hits.MOST_DETAILED == 10_000


def test_the_most_denied() -> None:
    """Of more than are told one by one those with the most denials, then the earliest."""
    made = [Hit(str(n), "t", 9, n % 50, n, "l", 1, 1, 0, "", (), ()) for n in range(2 * MOST_HIT)]
    kept = most_denied(made)
    assert len(kept) == MOST_HIT
    assert [hit.denied for hit in kept[:3]] == [49, 49, 49]
    assert kept[0].name == "49"


@pytest.mark.parametrize("kind", ['rate = "20/minute"', 'quota = "20/day"', "concurrency = 20"])
def test_forks_are_swept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of callers for the points is let go when nothing of it counts any more, and what it said stays."""
    monkeypatch.setattr(watching, "SWEPT", 2)
    of, day = policy(f'{{ name = "requests", {kind} }}'), 86_400_000
    asked = [one for n in range(6) for one in each(T + n * day, 5, 1_000, whose=who(f"c{n}"), took=6_000)]
    swept = watched(of, [*asked, *each(T + 9 * day, 5, 1_000, whose=who("c0"), took=6_000)])
    monkeypatch.setattr(watching, "SWEPT", 2_048)
    assert swept == watched(of, [*asked, *each(T + 9 * day, 5, 1_000, whose=who("c0"), took=6_000)])
    assert swept.limits["basic", "requests"].points[:3] == [28, 21, 7]
    assert swept.limits["basic", "requests"].uncounted == 0


@pytest.mark.parametrize("kind", ['rate = "20/minute"', "concurrency = 20"])
def test_too_many_forks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many callers are high at a time, points are not counted of the others, which is said; peaks are."""
    monkeypatch.setattr(watching, "MOST_FORKED", 1)
    monkeypatch.setattr(watching, "SWEPT", 1)
    asked = [one for n in range(4) for one in each(T + n, 5, whose=who(f"c{n}"), took=60_000)]
    limit = watched(policy(f'{{ name = "requests", {kind} }}'), asked).limits["basic", "requests"]
    assert limit.uncounted == 3
    assert limit.peaks == {5: 4}


def test_a_max_that_changes_while_too_many_are_high(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was not counted at the points stays so."""
    monkeypatch.setattr(watching, "MOST_FORKED", 0)
    monkeypatch.setattr(watching, "SWEPT", 0)
    override = '[[overrides]]\norganization = "acme"\nlimits = { requests = "10/minute" }\nuntil = 2026-03-01T10:00:30Z'
    found = watched(policy('{ name = "requests", rate = "4/minute" }', override), [*each(T, 5), *each(T + 40_000, 2)])
    assert found.limits["basic", "requests"].uncounted == 1
    assert found.limits["basic", "requests"].points == [0] * 12


@pytest.mark.parametrize(
    ("peak", "maximum", "share"),
    [
        (0, 0, 0.0),
        (1, 3, 0.3334),
        (2, 3, 0.6667),
        (3, 3, 1.0),
        (10_001, 10_000, 1.001),
        (1, 0, float("inf")),
        (1, 10**9, 1e-9),
        *((99_999, 1, 100_000.0), (123_456, 100, 1_235.0), (9_999, 1_000, 9.999)),
    ],
)
def test_share(peak: int, maximum: int, share: float) -> None:
    """Rounded up to four digits, so that it is above a number of four digits if and only if the part itself is."""
    assert share_of(peak, maximum) == share


def test_thresholds_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Formulas may give maxes without number."""
    from ratelimit.simulate.analysis import found

    monkeypatch.setattr(found, "MANY", 2)
    found._thresholds.clear()
    for maximum in (100, 101, 102):
        assert thresholds_of(maximum)[7] == maximum
    assert len(found._thresholds) == 1


def test_a_limit_adds_up() -> None:
    """Requests that were not counted at the points make the sum one that is not."""
    first, second = OfLimit(uncounted=1, points=[1] * 12), OfLimit(uncounted=2, points=[2] * 12, would_deny=3)
    first.add(second)
    assert (first.uncounted, first.points, first.would_deny) == (3, [3] * 12, 3)
