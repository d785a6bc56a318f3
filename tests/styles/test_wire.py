"""Numbers and dates as they go over the wire."""

from __future__ import annotations

import pytest

from ratelimit.model import FOREVER
from ratelimit.styles import wire
from tests.styles import millis


@pytest.mark.parametrize(
    ("duration_ms", "seconds"),
    [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (44_200, 45), (86_400_000, 86_400)],
)
def test_a_duration_is_rounded_up_and_at_least_a_second(duration_ms, seconds):
    """A client that waits that long is let through, and none is sent back at once."""
    assert wire.seconds(duration_ms) == seconds
    assert wire.retry_after(duration_ms) == [(b"retry-after", str(seconds).encode())]


@pytest.mark.parametrize(
    ("instant", "http_date", "rfc3339"),
    [
        ("2020-07-15T15:04:05Z", "Wed, 15 Jul 2020 15:04:05 GMT", "2020-07-15T15:04:05Z"),
        ("2020-07-15T15:04:04.001Z", "Wed, 15 Jul 2020 15:04:05 GMT", "2020-07-15T15:04:05Z"),
        ("2024-02-28T23:59:59.999Z", "Thu, 29 Feb 2024 00:00:00 GMT", "2024-02-29T00:00:00Z"),
        ("2025-12-31T23:59:59.001Z", "Thu, 01 Jan 2026 00:00:00 GMT", "2026-01-01T00:00:00Z"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00Z"),
        (FOREVER, "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59Z"),
    ],
)
def test_an_instant_is_the_first_whole_second_that_is_not_before_it(instant, http_date, rfc3339):
    """Both formats round up, over the ends of minutes, months and years, and stop at the last date they can say."""
    assert wire.http_date(millis(instant)) == http_date
    assert wire.rfc3339(millis(instant)) == rfc3339
