"""The verbs that count units of one quota, on a timeline, also over the end of its period."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratelimit.testing.contract.subject import Subject
from ratelimit.testing.contract.timelines import DAY, MIDNIGHT, Row, monthly, play

QUOTA: list[Row] = [
    (0, "hold a", 6, True, 6),
    (0, "hold b", 5, False, 6),
    (1_000, "settle a", 2, None, 2),
    (1_000, "settle a", 0, None, 2),
    (2_000, "hold b", 4, True, 6),
    (3_000, "charge c", 7, True, 13),
    (4_000, "refund c", 5, None, 8),
    (12_000, "acquire", None, True, 5),  # b went back
    (13_000, "settle b", 9, None, 14),
    (14_000, "acquire", None, False, 14),
    (15_000, "reset", None, True, 0),
]
QUOTA_THAT_ENDS: list[Row] = [
    (0, "hold a", 6, True, 6),
    (0, "hold b", 2, True, 8),
    (0, "charge c", 2, True, 10),
    (MIDNIGHT, "charge", 3, True, 3),
    (MIDNIGHT, "settle b", 1, None, 4),  # it expired: charged in the new day
    (MIDNIGHT, "refund c", None, None, 4),  # of yesterday
    (MIDNIGHT, "renew a", None, False, 4),
]
QUOTA_RENEWED_OVER_ITS_END: list[Row] = [
    (MIDNIGHT - 5_000, "hold a", 6, True, 6),
    (MIDNIGHT - 1, "charge c", 1, True, 7),
    (MIDNIGHT, "renew a", None, True, 0),
    (MIDNIGHT, "settle a", 2, None, 0),  # counted yesterday, as they were held
    (MIDNIGHT + 1, "hold b", 2, True, 2),
    (MIDNIGHT + 1, "refund c", None, None, 2),
    (MIDNIGHT + 1, "settle b", 5, None, 5),
]
QUOTA_CLOCK_BACK: list[Row] = [
    (MIDNIGHT, "charge", 1, True, 1),
    (MIDNIGHT - 1, "hold a", 4, True, 5),  # the new day's count goes on
    (MIDNIGHT - 1, "charge b", 3, True, 8),
    (MIDNIGHT - 1, "refund b", 1, None, 7),
    (MIDNIGHT + 1, "refund b", 1, None, 6),
    (MIDNIGHT + 1, "settle a", 1, None, 3),
    (MIDNIGHT + 2, "charge c", 2, True, 5),
    (MIDNIGHT - 1, "refund c", None, None, 3),
]
# Over midnight and back again: yesterday's count is gone, and nothing of yesterday goes back into today's.
QUOTA_CLOCK_BACK_BEHIND_ITS_END: list[Row] = [
    (MIDNIGHT - 2_000, "hold a", 4, True, 4),
    (MIDNIGHT - 2_000, "charge b", 3, True, 7),
    (MIDNIGHT, "charge", 5, True, 5),
    (MIDNIGHT - 1, "refund b", None, None, 5),
    (MIDNIGHT - 1, "settle a", 0, None, 5),
]
QUOTA_CLOCK_FAR_BACK: list[Row] = [
    (365 * DAY, "hold a", 4, True, 4),
    (365 * DAY, "charge b", 2, True, 6),
    (0, "acquire", None, True, 7),
    (0, "settle a", 0, None, 7),
    (0, "refund b", None, None, 7),
    (MIDNIGHT, "acquire", None, True, 1),
]


@pytest.mark.parametrize(
    "rows",
    [
        QUOTA, QUOTA_THAT_ENDS, QUOTA_RENEWED_OVER_ITS_END, QUOTA_CLOCK_BACK, QUOTA_CLOCK_BACK_BEHIND_ITS_END,
        QUOTA_CLOCK_FAR_BACK,
    ],
)  # fmt: skip
def test_a_quota(subject: Subject, rows: Sequence[Row]) -> None:
    """The same of a quota, also over the end of its period in either direction."""
    subject.run(play(subject, monthly(period="day"), rows))
