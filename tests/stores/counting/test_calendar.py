"""Calendar periods: month ends, anchor days, leap years, daylight saving; as instants that anyone can check."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.model import Quota
from ratelimit.stores.counting import calendar
from tests.stores import Subject, quota

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # skipped midnight until 2018
    "Africa/Cairo",  # skips midnight, and has it twice
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "Pacific/Apia",  # had no 30 December 2011
    "Pacific/Kiritimati",
]


def ms(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("limit", "now", "start", "end"),
    [
        (Quota("day"), "2026-03-10T23:59:59.999", "2026-03-10", "2026-03-11"),
        (Quota("day"), "2026-03-11", "2026-03-11", "2026-03-12"),
        (Quota("week"), "2026-03-15T23:59:59", "2026-03-09", "2026-03-16"),  # a Sunday
        (Quota("week"), "2026-03-16", "2026-03-16", "2026-03-23"),
        (Quota("week"), "2027-01-01", "2026-12-28", "2027-01-04"),
        (Quota("year"), "2026-12-31T23:59:59", "2026-01-01", "2027-01-01"),
        (Quota("month"), "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        (Quota("month"), "2027-01-01", "2027-01-01", "2027-02-01"),
        (Quota("month", anchor_day=15), "2026-01-14", "2025-12-15", "2026-01-15"),
        (Quota("month", anchor_day=15), "2026-01-15", "2026-01-15", "2026-02-15"),
        (Quota("month", anchor_day=15), "2026-12-20", "2026-12-15", "2027-01-15"),
        (Quota("month", anchor_day=31), "2026-02-27T23:59:59", "2026-01-31", "2026-02-28"),
        (Quota("month", anchor_day=31), "2026-02-28", "2026-02-28", "2026-03-31"),
        (Quota("month", anchor_day=31), "2028-02-28", "2028-01-31", "2028-02-29"),  # a leap year
        (Quota("month", anchor_day=31), "2028-02-29", "2028-02-29", "2028-03-31"),
        (Quota("month", anchor_day=30), "2028-02-29", "2028-02-29", "2028-03-30"),
        (Quota("month", anchor_day=29), "2027-02-28", "2027-02-28", "2027-03-29"),
        (Quota("month", anchor_day=31), "2026-04-30", "2026-04-30", "2026-05-31"),
    ],
)
def test_periods(limit: Quota, now: str, start: str, end: str) -> None:
    """Start and end of the period around an instant, in UTC."""
    assert calendar.period(limit, ms(now)) == (ms(start), ms(end))


@pytest.mark.parametrize(
    ("zone", "now", "start", "end", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00Z", "2026-03-29T22:00Z", 23),
        ("Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00Z", "2026-10-25T23:00Z", 25),
        ("America/New_York", "2026-11-01T12:00", "2026-11-01T04:00Z", "2026-11-02T05:00Z", 25),
        ("America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00Z", "2018-11-05T02:00Z", 23),  # began at 01:00
        ("Africa/Cairo", "2026-04-24T12:00", "2026-04-23T22:00Z", "2026-04-24T21:00Z", 23),  # began at 01:00
        ("Africa/Cairo", "2026-10-29T12:00", "2026-10-28T21:00Z", "2026-10-29T22:00Z", 25),  # 23:00 came twice
        ("Pacific/Apia", "2011-12-29T12:00", "2011-12-29T10:00Z", "2011-12-30T10:00Z", 24),  # then the 31st
        ("Australia/Lord_Howe", "2026-04-05T12:00", "2026-04-04T13:00Z", "2026-04-05T13:30Z", 24.5),
    ],
)
def test_daylight_saving(zone: str, now: str, start: str, end: str, hours: float) -> None:
    """A local day is as long as it is: from its first instant to the first of the next."""
    seen = calendar.period(Quota("day", zone), ms(now, zone))
    assert seen == tuple(int(datetime.fromisoformat(text).timestamp() * 1000) for text in (start, end))
    assert seen[1] - seen[0] == hours * 3_600_000


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(["day", "week", "month", "year"]),
    st.sampled_from(ZONES),
    st.integers(1, 31),
    st.integers(ms("2000-01-01"), ms("2040-01-01")),
)
def test_periods_are_gapless(name: str, zone: str, anchor_day: int, now: int) -> None:
    """Every instant is in exactly one period, and the next one begins where it ends."""
    calendar._current.clear()
    limit = Quota(name, zone, anchor_day if name == "month" else 1)
    start, end = calendar.period(limit, now)
    assert start <= now < end
    for inside in (start, end - 1):
        calendar._current.clear()
        assert calendar.period(limit, inside) == (start, end)
    assert calendar.period(limit, end)[0] == end
    calendar._current.clear()
    assert calendar.period(limit, start - 1)[1] == start
    first = datetime.fromtimestamp(start // 1000, UTC).astimezone(ZoneInfo(zone))
    if name == "month":
        following = first.date() + timedelta(days=1)  # not 24 hours later: a day may have 25
        assert first.day == anchor_day or (first.day < anchor_day and following.month != first.month)
    if name == "week":
        assert first.weekday() == 0


@pytest.mark.parametrize(
    ("limit", "last", "first"),
    [
        (quota(2, anchor_day=31), "2026-02-27T23:59:59.999+00:00", "2026-02-28T00:00:00+00:00"),
        (quota(2, anchor_day=31), "2028-02-28T23:59:59.999+00:00", "2028-02-29T00:00:00+00:00"),
        (quota(2, "day", "Europe/Berlin"), "2026-03-29T23:59:59.999+02:00", "2026-03-30T00:00:00+02:00"),
        (quota(2, "month", "America/New_York"), "2026-10-31T23:59:59.999-04:00", "2026-11-01T00:00:00-04:00"),
        (quota(2, "year", "Asia/Kathmandu"), "2026-12-31T23:59:59.999+05:45", "2027-01-01T00:00:00+05:45"),
        (quota(2, "week"), "2026-03-15T23:59:59.999+00:00", "2026-03-16T00:00:00+00:00"),
    ],
)
def test_a_quota_ends_to_the_millisecond(subject: Subject, limit: object, last: str, first: str) -> None:
    """In its period's last millisecond a spent quota denies, and says 1 ms; in the first of the next it admits."""
    before, after = (int(datetime.fromisoformat(text).timestamp() * 1000) for text in (last, first))
    assert after - before == 1

    async def test() -> None:
        for _ in range(2):
            assert (await subject.at(before).acquire(limit)).allowed
        denied = await subject.acquire(limit)
        assert (denied.allowed, denied.states[0].retry_after_ms) == (False, 1)
        assert (await subject.at(after).acquire(limit)).states[0].used == 1

    subject.run(test())
