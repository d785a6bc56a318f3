"""Who was limited of late, and how near to their limits they came: what a new policy is held against."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic

from ratelimit.model import Charge, Decision, Identity

SLOT = 30.0  # seconds
SLOTS = 10  # 5 minutes
MOST = 4_096  # callers and operations; half of them at most of callers that are known by their address alone

Demands = tuple[int, ...]
Key = tuple[tuple[str, str], int, str]


class Note:
    """One caller and one operation. A demand is the least max with which the caller was not denied: what was used of a
    limit, by whatever process, with the request that was let through."""

    __slots__ = ("_demands", "charges", "denied", "identity", "operation")

    def __init__(self, identity: Identity, operation: str, charges: Sequence[Charge]) -> None:
        self.identity = identity
        self.operation = operation
        self.charges = charges
        self.denied = -SLOTS  # the slot of the last denial
        self._demands: dict[int, Demands] = {}  # by slot

    def demand(self, slot: int, demands: Demands) -> None:
        known = self._demands.get(slot)
        self._demands[slot] = tuple(map(max, known, demands)) if known else demands

    def demands(self, since: int) -> Demands:
        """The highest from a slot on; () where there are none."""
        return tuple(map(max, zip(*[d for slot, d in self._demands.items() if slot >= since], strict=False)))

    def is_of_late(self, since: int) -> bool:
        """It forgets what was before."""
        self._demands = {slot: demands for slot, demands in self._demands.items() if slot >= since}
        return bool(self._demands) or self.denied >= since


class Callers:
    """Of one policy file. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = monotonic, most: int = MOST) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._most = most
        self._known: dict[Key, Note] = {}
        self._by_address: dict[Key, Note] = {}
        self._swept = self._slot()
        self.now_ms = 0  # by the store's clock, as last seen

    def note(self, identity: Identity, operation: str, charges: Sequence[Charge], decision: Decision) -> None:
        if decision.unavailable:
            return
        root = identity.root
        anonymous = root[0] == "ip"
        notes = self._by_address if anonymous else self._known
        key = root, id(charges), operation  # the note holds the charges: their id is not others' meanwhile
        with self._lock:
            slot = self._slot()
            self.now_ms = max(self.now_ms, decision.now_ms)
            note = notes.get(key)
            if note is None:
                if len(self) >= self._most or (anonymous and len(notes) >= self._most // 2):
                    return
                note = notes[key] = Note(identity, operation, charges)
            if decision.allowed:
                note.demand(slot, _demands(decision))
            else:
                note.denied = slot

    def of_late(self) -> list[tuple[Note, Demands, bool]]:
        """With the demands of each, and whether it was denied."""
        with self._lock:
            since = self._since()
            notes = [*self._known.values(), *self._by_address.values()]
            return [(n, n.demands(since), n.denied >= since) for n in notes if n.is_of_late(since)]

    def forget(self) -> None:
        """Who has not come for 5 minutes; looked for twice a minute."""
        with self._lock:
            if self._swept == self._slot():
                return
            self._swept, since = self._slot(), self._since()
            for notes in (self._known, self._by_address):
                for key in [key for key, note in notes.items() if not note.is_of_late(since)]:
                    del notes[key]

    def __len__(self) -> int:
        return len(self._known) + len(self._by_address)

    def _slot(self) -> int:
        return int(self._clock() / SLOT)

    def _since(self) -> int:
        return self._slot() - SLOTS + 1


def _demands(decision: Decision) -> Demands:
    """What a limit in shadow would deny was not charged."""
    if (numbers := decision.numbers) is not None:
        return tuple(numbers[2])
    return tuple([state.used + (state.charge.cost if state.exceeded else 0) for state in decision.states])
