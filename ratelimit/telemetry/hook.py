"""What is told: whole numbers, once a second at the latest, and never a caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from ratelimit.model import Decision

Kind = Literal["request", "message", "hold"]
Outcome = Literal["allowed", "denied", "shadow", "degraded", "exempt", "refused"]

OTHER = "other"  # in the place of an operation that the policy does not declare
SEVERAL = "several"  # of a request that may be read as any of several
THRESHOLDS = (0.8, 0.95)  # parts of a max


class Decided(NamedTuple):
    """What a decision is counted as. Each is a name of the policy's or of an endpoint's own, or empty.

    `kind` is "request" (also a handshake), "message" of a WebSocket, or "hold" of units by hand. `limit` is the one
    that denies, of a shadow the one that would: of several the longest wait. `outcome` is

    allowed   by the store, and no limit is exceeded
    denied    by the store
    shadow    allowed, and a limit in shadow would have denied it
    degraded  the store was out of reach: `on_failure` let it through, refused it or decided here
    exempt    from every limit; then there is neither operation, tier nor limit
    refused   a 400, as it can't be said who asks, or for how much; neither is there
    """

    kind: Kind
    operation: str
    tier: str
    limit: str
    outcome: Outcome


class Near(NamedTuple):
    """An allowed decision that left a limit with `threshold` of its max used, or more."""

    tier: str
    limit: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Counts:
    """What has happened since the Counts before, all of it to be added up."""

    decisions: Mapping[Decided, int] = field(default_factory=dict)
    near: Mapping[Near, int] = field(default_factory=dict)  # who is at 0.95 is in 0.8 too
    shadow_denials: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by tier and limit: all of them
    without_store: Mapping[str, int] = field(default_factory=dict)  # the degraded: "allowed", "refused", "local"
    store_seconds: Sequence[float] = ()  # of a sample of the times that it was asked, also in vain
    slots_reclaimed: Mapping[str, int] = field(default_factory=dict)  # by limit: their callers had hung up a lease ago
    beyond_max: Mapping[str, int] = field(default_factory=dict)  # as MemoryStore.beyond_max: "dropped" are forgotten
    reloads: Mapping[str, int] = field(default_factory=dict)  # edits of policy files: "taken", "refused", "invalid"
    stores_down: int = 0  # connections over which nobody is decided for: how many more, or fewer, than before


Watcher = Callable[[Decided, Decision], object]


class Telemetry(Protocol):
    """Given as `RateLimitMiddleware(…, telemetry=…)`. It may have one method more, `watcher(self) -> Watcher | None`,
    which is asked at each decision, in the context of its request, before the app or the answer: who is to hear of it
    at once, or None. That is the time of a request, so be quick.

    Called on the event loop, or on the thread that ends the process; by one thread at a time, but for `watcher`. What
    it raises is logged once, and goes no further.
    """

    def count(self, counts: Counts) -> None:
        """Add these up: each second, with each 256 decisions where there are more, and the rest at the end."""
