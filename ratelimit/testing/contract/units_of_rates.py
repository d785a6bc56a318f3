"""The verbs that count units of one rate, on a timeline."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratelimit.testing.contract.subject import Subject
from ratelimit.testing.contract.timelines import KNOWN, LEASE, Row, play, tokens

SETTLED: list[Row] = [
    (0, "hold a", 6, True, 6),
    (500, "hold b", 5, False, 6),  # there is room for four
    (500, "hold b", 4, True, 10),
    (600, "acquire", None, False, 10),
    (700, "settle a", 2, None, 6),  # fewer than were held
    (700, "settle a", 6, None, 6),  # twice: the first one counts
    (800, "hold c", 1, True, 7),
    (900, "settle c", 1, None, 7),  # as many
    (1_500, "settle b", 9, None, 12),  # more: five of them now, also above the max
    (1_500, "settle b", 0, None, 12),
    (1_600, "acquire", None, False, 12),
    (60_999, "peek", 1, False, 12),
    (61_000, "peek", 5, True, 5),  # what was held at 10:00:00 has left; what it took more was counted a second later
    (62_000, "peek", 10, True, 0),
]
# The rest of a hold goes back into its own second, and what stays leaves with that.
COUNTED_WHERE: list[Row] = [
    (0, "hold a", 6, True, 6),
    (5_000, "charge", 2, True, 8),
    (5_000, "settle a", 1, None, 3),
    (60_999, "peek", 8, False, 3),
    (61_000, "peek", 8, True, 2),
    (61_000, "settle a", 0, None, 2),
]
AFTER_THE_WINDOW: list[Row] = [
    (0, "hold a", 6, True, 6),
    (5_000, "renew a", None, True, 6),
    (14_999, "renew a", None, True, 6),
    (24_000, "renew a", None, True, 6),
    (33_000, "renew a", None, True, 6),
    (42_000, "renew a", None, True, 6),
    (51_000, "renew a", None, True, 6),
    (60_000, "renew a", None, True, 6),
    (61_000, "charge", 3, True, 3),  # the held units have left the window while their work goes on
    (62_000, "settle a", 1, None, 3),  # nothing goes back to it: it would be somebody else's
    (63_000, "hold b", 6, True, 9),
    (63_000, "settle b", 8, None, 11),
]
EXPIRED: list[Row] = [
    (0, "hold a", 6, True, 6),
    (1_000, "hold b", 4, True, 10),
    (9_999, "acquire", None, False, 10),
    (10_000, "acquire", None, True, 5),  # a went back first
    (10_000, "renew a", None, False, 5),  # and is not taken again
    (10_500, "settle a", 3, None, 8),  # after all: charged now
    (10_500, "settle a", 3, None, 8),
    (11_000, "acquire", None, True, 5),  # b went back too, once
    (11_000, "acquire", None, True, 6),
    (61_000, "peek", 1, True, 6),  # nothing was left at 10:00:00
    (71_000, "peek", 1, True, 2),
]
EXPIRED_AND_NOBODY_CAME: list[Row] = [
    (0, "hold a", 6, True, 6),
    (0, "hold b", 2, True, 8),
    (9_999, "peek", 2, True, 8),
    (10_000, "peek", 10, True, 0),  # as acquire would find it, and nothing is written:
    (10_000, "renew a", None, True, 6),  # ... a is held again, b is not
    (19_999, "peek", 5, False, 6),
    (30_000, "settle a", 5, None, 5),  # behind its lease: counted where it was held, as nobody gave it back
    (61_000, "peek", 10, True, 0),
]
A_DENIAL_GIVES_BACK: list[Row] = [
    (0, "hold a", 6, True, 6),
    (10_000, "hold b", 11, False, 0),  # above the max: denied, and what has expired went back
    (10_000, "renew a", None, False, 0),
    (10_000, "charge", 11, True, 11),
    (10_000, "settle a", 0, None, 11),
]
FORGOTTEN: list[Row] = [
    (0, "reset", None, False, 0),
    (0, "hold a", 6, True, 6),
    (0, "hold b", 4, True, 10),
    (0, "settle b", 4, None, 10),
    (1_000, "reset", None, True, 0),
    (1_000, "reset", None, False, 0),
    (1_000, "renew a", None, False, 0),
    (2_000, "settle a", 2, None, 2),  # as on a server that was flushed: charged now
    (2_000, "settle a", 2, None, 2),
    (3_000, "acquire", None, True, 3),
    (63_000, "peek", 1, True, 1),
]
REFUNDED: list[Row] = [
    (0, "acquire a", None, True, 1),
    (0, "charge b", 6, True, 7),
    (1_000, "charge c", 2, True, 9),
    (1_500, "refund b", 2, None, 7),
    (1_500, "refund b", 0, None, 7),
    (1_500, "refund b", None, None, 3),  # the rest of it
    (1_500, "refund b", None, None, 3),  # no more than it took
    (1_500, "refund b", 9, None, 3),
    (1_500, "refund a", 3, None, 2),
    (2_000, "charge e", 9, True, 11),
    (2_000, "acquire d", None, False, 11),
    (2_000, "refund d", None, None, 11),  # a denial took nothing
    (2_000, "peek f", 1, False, 11),
    (2_000, "refund f", None, None, 11),
    (61_000, "refund c", None, None, 9),
    (63_000, "charge g", 4, True, 4),  # e has left the window
    (63_000, "refund e", None, None, 4),
    (64_000, "refund g", 1, None, 3),
]
THE_OLDEST: list[Row] = [
    (0, "charge a", 2, True, 2),
    (60_000, "charge", 1, True, 3),
    (60_999, "refund a", 1, None, 2),  # it leaves in a millisecond
    (61_000, "refund a", 1, None, 1),
]
CLOCK_FAR_BACK_TO_THE_SAME_FIELD: list[Row] = [
    (0, "charge a", 2, True, 2),
    (-61 * 60_000, "acquire", None, True, 3),  # what was kept where 10:00:00 is, is of 08:59:00 now
    (-61 * 60_000, "refund a", None, None, 3),
]
CLOCK_BACK: list[Row] = [
    (5_000, "charge", 1, True, 1),
    (2_000, "hold a", 4, True, 5),  # a little back: counted into 10:00:05
    (2_000, "charge b", 3, True, 8),
    (6_000, "charge", 1, True, 9),
    (6_000, "refund b", 2, None, 7),
    (6_000, "settle a", 1, None, 4),
    (65_999, "peek", 1, True, 4),
    (66_000, "peek", 1, True, 1),  # nothing of it was at 10:00:02
]
CLOCK_FAR_BACK: list[Row] = [
    (0, "hold a", 4, True, 4),
    (0, "hold b", 2, True, 6),
    (0, "charge c", 2, True, 8),
    (-3_600_000, "peek", 2, True, 8),
    (-3_600_000, "acquire", None, True, 9),  # everything counts as of now, and nobody knows any more what was when
    (-3_600_000, "settle a", 1, None, 9),
    (-3_600_000, "settle b", 3, None, 10),
    (-3_600_000, "refund c", None, None, 10),
    (-3_539_001, "peek", 1, False, 10),
    (-3_539_000, "peek", 10, True, 0),
]
# Not even when the clock has come back: what is in that second now is somebody else's.
CLOCK_FAR_BACK_AND_FORTH: list[Row] = [
    (0, "hold a", 4, True, 4),
    (-70_000, "renew a", None, True, 4),
    (-70_000, "acquire", None, True, 5),
    (-61_000, "renew a", None, True, 5),
    (-52_000, "renew a", None, True, 5),
    (-43_000, "renew a", None, True, 5),
    (-34_000, "renew a", None, True, 5),
    (-25_000, "renew a", None, True, 5),
    (-16_000, "renew a", None, True, 5),
    (-7_000, "renew a", None, True, 0),
    (0, "charge", 9, True, 9),
    (0, "settle a", 0, None, 9),
]
CLOCK_FAR_BACK_AND_A_CRASH: list[Row] = [
    (0, "hold a", 4, True, 4),
    (-3_600_000, "acquire", None, True, 5),
    (-3_590_000, "acquire", None, True, 6),  # a lease later it is forgotten, and counts until it leaves
    (-3_590_000, "renew a", None, False, 6),
]
TOMBSTONE: list[Row] = [
    (0, "hold a", 4, True, 4),
    (1_000, "settle a", 4, None, 4),
    (1_000 + 3 * LEASE, "settle a", 4, None, 4),  # after three leases without the store
    (1_000 + KNOWN - 1, "settle a", 4, None, 0),
    (1_000 + KNOWN, "settle a", 4, None, 4),  # nobody knows it any more
]


@pytest.mark.parametrize(
    "rows",
    [
        SETTLED, COUNTED_WHERE, AFTER_THE_WINDOW, EXPIRED, EXPIRED_AND_NOBODY_CAME, A_DENIAL_GIVES_BACK, FORGOTTEN,
        REFUNDED, THE_OLDEST, CLOCK_FAR_BACK_TO_THE_SAME_FIELD,
        CLOCK_BACK, CLOCK_FAR_BACK, CLOCK_FAR_BACK_AND_FORTH, CLOCK_FAR_BACK_AND_A_CRASH, TOMBSTONE,
    ],
)  # fmt: skip
def test_a_rate(subject: Subject, rows: Sequence[Row]) -> None:
    """Each verb about one rate: what it answers, and what is used then."""
    subject.run(play(subject, tokens(), rows))
