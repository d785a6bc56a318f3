"""The decision on nearly every request: all was charged, and there is nothing to say.

It keeps what the reply said, and makes States of that where somebody asks for them: a style with headers, or the app.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

from ratelimit.model import Charge, Decision, Lease, State
from ratelimit.stores.callers import Tariff
from ratelimit.stores.reserve import new

NO, ZERO = repeat(False), repeat(0)


class Plain(Decision):
    """What is used of each charge is in `reply` from `at` on."""

    __slots__ = ("_at", "_charges", "_reply", "_tariff")

    exceeded = False

    def __init__(
        self,
        charges: tuple[Charge, ...],
        tariff: Tariff,
        now_ms: int,
        leases: tuple[Lease, ...],
        reply: Sequence[int],
        at: int,
    ) -> None:
        self.allowed = True
        self.now_ms = now_ms
        self.leases = leases
        self.unavailable = False
        self._charges = charges
        self._tariff = tariff
        self._reply = reply
        self._at = at

    @property
    def states(self) -> tuple[State, ...]:  # type: ignore[override]
        tariff, at = self._tariff, self._at
        useds, resets = self._reply[at : at + tariff.size], tariff.resets(self.now_ms)
        # What State(charge, max, used, reset_after, length, False, 0, shadow) makes of each, in a third of the time.
        rows = zip(self._charges, tariff.maxes, useds, resets, tariff.lengths, NO, ZERO, tariff.shadows)  # noqa: B905
        return tuple(map(new, repeat(State), rows))
