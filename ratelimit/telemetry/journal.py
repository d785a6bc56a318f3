"""What was told and is not counted yet. Any thread may write; one at a time takes what there is."""

from __future__ import annotations

from typing import Any

from ratelimit.model import Decision, Identity
from ratelimit.telemetry.hook import Decided
from ratelimit.telemetry.tally import Names, Tally
from ratelimit.telemetry.timed import Seconds

BATCH = 256  # decisions that are kept, at most: what they refer to is less than the garbage collector waits for
WHOLE = 3 * BATCH  # entries of `requests`
MOST = 256 * WHOLE  # of a telemetry that does not come to an end, no more are kept: some 20 MB


class Journal:
    """`requests` are an operation, an identity, a decision, and so on, flat: no object more for each of them. `put` has
    them written in one step, whatever other threads do."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.put = self.requests.extend
        self.others: list[tuple[Decided, Decision | None]] = []
        self.seconds = Seconds()

    def request(self, identity: Identity, operation: str, decision: Decision) -> None:
        self.put((operation, identity, decision))

    def clear(self) -> None:
        for written in (self.requests, self.others, self.seconds.measured):
            written.clear()

    @property
    def is_full(self) -> bool:
        return len(self.requests) >= WHOLE or len(self.others) >= BATCH

    @property
    def is_too_long(self) -> bool:
        return max(len(self.requests), len(self.others)) >= MOST

    def taken(self, names: Names) -> tuple[Tally, list[float]]:
        """What there is by now, counted, and the times in the store."""
        tally = Tally(names)
        each = iter(_taken(self.requests, 3))
        tally.requests(zip(each, each, each, strict=True))
        for decided, decision in _taken(self.others):
            if decision is None:
                tally.decisions[decided] += 1
            else:
                tally.one(decided, decision)
        return tally, self.seconds.taken()


def _taken(entries: list[Any], step: int = 1) -> list[Any]:
    """Of what is there no more than whole steps: others may add to it meanwhile."""
    number = len(entries) // step * step
    taken = entries[:number]
    del entries[:number]
    return taken
