"""Counters by themselves, where the clock does what it should not."""

from __future__ import annotations

from ratelimit.model import Lease
from ratelimit.stores.counting.counters import Slots
from ratelimit.stores.counting.terms import terms_at
from tests.stores import concurrency


def test_a_lease_that_had_ended() -> None:
    """A clock that goes back has not ended it yet: its slot is held again, until its end comes a second time."""
    slots, terms = Slots(), terms_at(concurrency(9), 0)
    slots.give(Lease("c", "a/60000", 60_000), 0)
    assert [slots.used(now_ms, terms) for now_ms in (59_999, 60_000, 30_000, 60_000)] == [1, 0, 1, 0]
