"""What passes between the parts of a simulation: a line of a log as an Event, who it is of, and what came of all."""

from __future__ import annotations

from typing import Any, Protocol

from ratelimit.model import Decision
from ratelimit.stores.replay import Counter, Row

# A request as a line of a log tells it. A plain tuple, as there are millions, in order by their first three: instant
# of its arrival in ms, the number of the file, the line in it from 1; how long it took in ms (0: not known); a call, as
# `b"GET /v2/x"`, without a query; its status (0: not known); who asks, as the log has it (see deciding/callers.py); and
# what else a log of our own says: None, or a Said.
Event = tuple[int, int, int, int, bytes, int, Any, Any]
AT, FILE, LINE, TOOK, CALL, STATUS, WHO, SAID = range(8)
Said = tuple[str | None, int]  # the operation, None is exempt; the units


class Caller:
    """Who is counted together: the root of identities. `name` is as the log of the middleware has it,
    `organization=acme`, escaped and without API keys. `tier` is the one of its first request. `notes` is for the
    observer."""

    __slots__ = ("counters", "denied", "name", "notes", "parted", "tier")

    def __init__(self, name: str, tier: str) -> None:
        self.name = name
        self.tier = tier
        self.counters: tuple[Counter, ...] = ()  # those of its own
        self.parted: dict[str, Counter] | None = None  # those of its users, addresses and so on, by their keys
        self.denied = False  # at least once, by an enforced limit
        self.notes: Any = None


class Observer(Protocol):
    """Who watches a simulation. One is made in each process, of `observer_of(policy)`."""

    def saw(self, event: Event, caller: Caller, row: Row, decision: Decision | None) -> None:
        """A request that is not exempt, in order of arrival. None: it was allowed, and nothing is exceeded."""

    def result(self) -> Any:
        """What it found; can be pickled. Asked once, at the end."""


class PairObserver(Protocol):
    """Who compares two policies over one log. The callers are those of each policy."""

    def saw(self, event: Event, caller: Caller, denied: bool, other: Caller, other_denied: bool) -> None:
        """A request that is exempt under neither."""

    def result(self) -> Any:
        """What it found; can be pickled."""
