"""Numbers of script calls, so that a call whose reply was lost can be asked about: applied once, or never.

The script writes the number of a call that charged anybody into a marker, a key in the slot of the call, and refuses a
call whose number the marker has passed. `lua/resolve.lua` reads the marker, or passes the number: then the call, should
it still come out of some buffer, finds itself refused.
"""

from __future__ import annotations

import re
import secrets
from itertools import count
from typing import NamedTuple

from ratelimit.stores.routing.slotmap import tag_of

NOT = 0  # not applied, and it never will be
NEVER_KNOWN = -1  # counts as applied: nothing is ever charged twice
LIFE = 86_400.0  # seconds that a marker is kept, in the scripts too: longer than an outage

MARKER = re.compile(rb"\d{16}( \d+(:\d+)?)*")  # what is in one


class IdempotencyKey(NamedTuple):
    """The number of one call, and its marker."""

    marker: str
    number: bytes  # in 16 digits: texts compare as numbers do


class Receipt(NamedTuple):
    """What a marker says of a call that charged somebody: when, and of whom, by the keys before the caller's in the
    call, and how often ahead; `everybody` with nothing ahead."""

    at_ms: int
    everybody: bool
    ahead: dict[int, int]

    def charged_at(self, before: int) -> int:
        return self.at_ms if self.everybody or before in self.ahead else 0


NOTHING = Receipt(NOT, True, {})


class IdempotencyKeys:
    """Of one event loop. On a single node, where one call of a kind is under way at a time, there is one marker a kind,
    written over and over; on a cluster each call has its own, in its slot, until the next write to its node."""

    def __init__(self, prefix: str, *, cluster: bool) -> None:
        self.prefix = prefix
        self.cluster = cluster
        self._id = secrets.token_hex(8)
        self._numbers = count(1)

    def next(self, kind: str, key: str) -> IdempotencyKey:
        """For a call with `key` among its keys, which is without the prefix."""
        number = next(self._numbers)
        marker = self.marker(kind)
        if self.cluster:
            marker = f"{self.prefix}{{{tag_of(self.prefix + key)}}}:{kind}:{self._id}:{number}"
        return IdempotencyKey(marker, b"%016d" % number)

    def leave(self, key: IdempotencyKey) -> None:
        """It can't be asked about for now: further calls go by other markers, so that none passes it."""
        if self._id in key.marker:
            self._id = secrets.token_hex(8)

    def marker(self, kind: str) -> str:
        """On a single node."""
        return f"{self.prefix}{kind}:{self._id}"


def told_by(marker: bytes | None, key: IdempotencyKey) -> list[bytes] | None:
    """What the marker of a lost call says of it; None: it was not applied. An empty list: nobody knows, for a later
    call was."""
    number, *rest = (marker or b"-").split()
    return [] if number > key.number else rest if number == key.number and rest else None


def mark_of(told: list[bytes] | None) -> Receipt:
    """What `told_by` has told of a call that decides."""
    if not told:
        return NOTHING if told is None else Receipt(NEVER_KNOWN, True, {})
    at_ms, *charged = told
    ahead = [one.partition(b":") for one in charged]
    return Receipt(int(at_ms), not charged, {int(before): int(times or 0) for before, _, times in ahead})
