"""The calendar periods of quotas, as instants."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from ratelimit.model import Quota

_current: dict[Quota, tuple[int, int]] = {}  # one entry a quota of the policy: its period changes once a day at most


def period(quota: Quota, now_ms: int) -> tuple[int, int]:
    """The start and the end of the period around `now_ms`, in milliseconds since 1970: start <= now < end.

    A period starts at local midnight. Where daylight saving skips midnight it starts with the first instant of that
    day, where midnight comes twice with the first of the two.
    """
    start, end = _current.get(quota, (0, 0))
    if not start <= now_ms < end:
        zone = ZoneInfo(quota.timezone)
        today = datetime.fromtimestamp(now_ms // 1000, UTC).astimezone(zone).date()
        first = _first_day(quota, today)
        start, end = _midnight(first, zone), _midnight(_next_first_day(quota, first), zone)
        _current[quota] = start, end
    return start, end


def _first_day(quota: Quota, day: date) -> date:
    match quota.period:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "year":
            return date(day.year, 1, 1)
        case _:  # month
            anchor = _anchor(day.year, day.month, quota.anchor_day)
            if day >= anchor:
                return anchor
            year, month = (day.year, day.month - 1) if day.month > 1 else (day.year - 1, 12)
            return _anchor(year, month, quota.anchor_day)


def _next_first_day(quota: Quota, first: date) -> date:
    match quota.period:
        case "day":
            return first + timedelta(days=1)
        case "week":
            return first + timedelta(days=7)
        case "year":
            return date(first.year + 1, 1, 1)
        case _:  # month
            year, month = (first.year, first.month + 1) if first.month < 12 else (first.year + 1, 1)
            return _anchor(year, month, quota.anchor_day)


def _anchor(year: int, month: int, anchor_day: int) -> date:
    """The anchor day of a month: the 31st of February is its last day."""
    return date(year, month, min(anchor_day, monthrange(year, month)[1]))


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000
