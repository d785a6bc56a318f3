"""For how long a denied request may be held instead of answered, by tier."""

from __future__ import annotations

from dataclasses import dataclass

from ratelimit.checks import made


@dataclass(frozen=True, slots=True)
class Wait:
    """A denied request that could be admitted within `up_to_ms` of its arrival waits for that, `queue` of a tier at a
    time in each process, and a tenth of them of one caller."""

    up_to_ms: int
    queue: int = 100

    def __post_init__(self) -> None:
        made.wait(self.up_to_ms, self.queue)
