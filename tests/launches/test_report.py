"""Whom a launch would have denied: counts that are never too low, and a max that would have been enough."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ratelimit.launches import report as report_module
from ratelimit.launches.report import KEPT, LIMITS, Report, merged
from ratelimit.model import FOREVER, Charge, Concurrency, Decision, Identity, Launch, Limit, Quota, Rate, State
from ratelimit.stores.memory import MemoryStore

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
EVER = ((FOREVER, False),)


def charge(who: str = "acme", kind: Any = None, maximum: int = 3, name: str = "requests", **fields: Any) -> Charge:
    fields = {"launch": Launch(), **fields}
    limit = Limit(name, kind or Rate(60_000), lambda _: maximum, **fields)
    return Charge(limit, f"{{organization={who}}}:{name}", 1, ((FOREVER, maximum),), EVER)


def would_deny(of: Charge, used: int = 3, now_ms: int = T, reset_ms: int = 1_000) -> Decision:
    return Decision(True, now_ms, (State(of, used, used, reset_ms, 60_000, True, 5, True),))


def shown(*reports: Report, most: int = 100) -> list[Any]:
    """As they are written, and read again."""
    return [list(one) for one in merged(json.loads(json.dumps([one.written() for one in reports])), most)]


def test_what_is_noted() -> None:
    """A would-be denial of a limit that is launched, and nothing else: not what is enforced, nor another shadow."""
    report = Report()
    other = charge(name="other", launch=None, mode="shadow")
    for state in (
        would_deny(charge()).states[0]._replace(shadow=False),
        would_deny(charge()).states[0]._replace(exceeded=False),
        would_deny(other).states[0],
    ):
        report.note(Decision(True, T, (state,)), Identity("acme"))
    assert (shown(report), report.changed) == ([], False)
    report.note(would_deny(charge()), Identity("acme"))
    assert shown(report) == [["requests", "60000/60", 1, [("organization=acme", 1, 1, 4, T)], 0]]
    assert report.changed


def test_no_key_is_in_clear() -> None:
    """Who is known by an API key alone is there by a hash of its hash."""
    report = Report()
    report.note(would_deny(charge()), Identity(api_key="5e" * 32))
    assert "5e5e" not in json.dumps(report.written())
    assert '"api_key=#' in json.dumps(report.written())


def test_a_caller_of_each_counter() -> None:
    """A limit by user has a counter, and needs a max, for each user of an organization."""
    report, limit = Report(), Limit("requests", Rate(60_000), lambda _: 3, per=("user",), launch=Launch())
    for user in ("ana", "ben", "ana"):
        of = Charge(limit, f"{{organization=acme}}:requests:60000/60:user={user}", 1, ((FOREVER, 3),), EVER)
        report.note(would_deny(of), Identity("acme", user))
    ((*_, rows, _),) = shown(report)
    assert [row[:4] for row in rows] == [
        ("organization=acme user=ana", 2, 2, 5),
        ("organization=acme user=ben", 1, 1, 4),
    ]


def test_a_slot_says_nothing_of_a_max() -> None:
    """How long a request takes that got none is not known."""
    report = Report()
    report.note(would_deny(charge(kind=Concurrency())), Identity("acme"))
    assert shown(report) == [["requests", "c", 1, [("organization=acme", 1, 1, None, T)], 0]]


def test_a_quota_is_added_up_by_its_period() -> None:
    """What was over in the last period does not count in this one."""
    report = Report()
    for now_ms, reset_ms in ((T, 5_000), (T + 1, 4_999), (T + 6_000, 9_000)):
        report.note(would_deny(charge(kind=Quota("day")), 3, now_ms, reset_ms), Identity("acme"))
    ((_, _, _, [row], _),) = shown(report)
    assert row == ("organization=acme", 3, 3, 5, T + 6_000)


@given(
    st.lists(st.tuples(st.integers(0, 700), st.integers(1, 3)), min_size=1, max_size=80),
    st.integers(0, 6),
    st.integers(1, 3),
    st.sampled_from((1, 3, 10, 60, 100)),
)
@example([(700, 1)] * 40, 2, 1, 1)
def test_what_it_needs_is_enough(steps: list[tuple[int, int]], maximum: int, processes: int, precision: int) -> None:
    """With a max of so many none of the same requests is over, whichever process saw them, in however few sub-windows
    they count; and where one saw all of them, as many are used at a time, unless there are more than 60."""
    now, clock = T, [T]
    store, again = MemoryStore(lambda: clock[0]), MemoryStore(lambda: clock[0])
    reports = [Report() for _ in range(processes)]
    kind = Rate(10_000, precision)
    tight = (charge(kind=kind, maximum=maximum),)

    async def walk() -> tuple[int, int]:
        nonlocal now
        over = 0
        for number, (advance, _) in enumerate(steps):
            now = clock[0] = now + advance
            decision = await store.acquire(tight)
            over += decision.exceeded
            reports[number % processes].note(decision, Identity("acme"))
        ((_, _, denials, rows, _),) = shown(*reports) or [[0, 0, 0, [], 0]]
        assert denials == over
        needs = rows[0][3] if rows else maximum
        assert maximum <= needs <= maximum + over
        wide = (charge(kind=kind, maximum=needs),)
        now, most = T, 0
        for advance, _ in steps:
            now = clock[0] = now + advance
            decision = await again.acquire(wide)
            assert not decision.exceeded
            most = max(most, decision.states[0].used)
        assert needs == most or not over or processes > 1 or precision > 60
        return denials, over

    coroutine = walk()
    with pytest.raises(StopIteration):
        coroutine.send(None)


@given(st.data())
def test_counts_are_never_too_low(data: st.DataObject) -> None:
    """Each caller in the report has at most its count and at least what is sure, and who is not there at most the
    floor, in one process and over several of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "KEPT", 4)
        reports, truth = [Report() for _ in range(data.draw(st.integers(1, 3)))], Counter[str]()
        skewed = st.integers(0, 30).map(lambda n: f"c{n * n // 30}")
        for number, who in enumerate(data.draw(st.lists(skewed, max_size=200))):
            reports[number % len(reports)].note(would_deny(charge(who)), Identity(who))
            truth[f"organization={who}"] += 1
        assert all(len(tally.callers) <= 8 for one in reports for tally in one._tallies.values())
        written = [one.written(data.draw(st.integers(1, 8))) for one in reports]
        for one in merged(written, data.draw(st.integers(1, 9))):
            assert one.denials == truth.total()
            for row in one.rows:
                assert row.surely <= truth[row.caller] <= row.denials
            counts = [row.denials for row in one.rows]
            assert counts == sorted(counts, reverse=True)
            absent = [count for who, count in truth.items() if who not in {row.caller for row in one.rows}]
            assert max(absent, default=0) <= one.floor


def test_memory_is_bounded() -> None:
    """Neither callers that somebody makes up nor limits without number fill it, and who comes often is still seen."""
    report = Report()
    for number in range(5 * KEPT):
        report.note(would_deny(charge(f"made-up-{number}")), Identity(f"made-up-{number}"))
        report.note(would_deny(charge()), Identity("acme"))
    (tally,) = report._tallies.values()
    assert len(tally.callers) <= 2 * KEPT
    (one,) = merged([report.written(10)], 3)
    assert one.rows[0][:3] == ("organization=acme", 5 * KEPT, 5 * KEPT)
    assert (len(one.rows), one.denials) == (3, 10 * KEPT)
    assert one.floor < 10
    for number in range(LIMITS + 5):
        report.note(would_deny(charge(name=f"limit {number}")), Identity("acme"))
    assert len(report._tallies) == LIMITS


@pytest.mark.parametrize(
    "part",
    [
        None,
        5,
        ["x"],
        [[]],
        [["a", "b", 1, 2, [["c"]]]],
        [["a", "b", "x", 2, []]],
        [["a", "b", 1, 2, 3]],
        {"a": 1},
        [["a", "b", 1, 2, [["c", 1, 1, None, 1, 1]]]],
    ],
)
def test_what_is_no_report(part: Any) -> None:
    """What somebody else has written is refused as a whole."""
    with pytest.raises(ValueError, match="it is no report of a launch"):
        merged([part], 5)
