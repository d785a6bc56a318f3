"""Who was limited of late, within a bound, and for five minutes."""

from __future__ import annotations

from typing import Any

from ratelimit.model import Decision, Identity
from ratelimit.reload.callers import SLOT, SLOTS, Callers
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import T, policy, run


class Noted:
    """Callers, by a clock that is moved."""

    def __init__(self, most: int = 8) -> None:
        self.now = 1_000_000.0
        self.callers = Callers(lambda: self.now, most)
        self.policy = policy(
            '{ name = "requests", rate = "3/minute" }, { name = "soon", rate = "2/minute", mode = "shadow" }'
        )
        self.store = MemoryStore(clock=lambda: T)

    def ask(self, **of: Any) -> Decision:
        identity = Identity(**{"tier": "basic", **of})
        charges = self.policy.charges(identity, "search")
        decisions = []

        async def test() -> None:
            decisions.append(await self.store.acquire(charges))

        run(test())
        self.callers.note(identity, "search", charges, decisions[0])
        return decisions[0]

    def seen(self) -> dict[str, tuple[tuple[int, ...], bool]]:
        return {note.identity.root[1]: (demands, denied) for note, demands, denied in self.callers.of_late()}


def test_demands() -> None:
    """The highest that was let through counts, with what a limit in shadow would have denied; and who was denied."""
    noted = Noted()
    noted.ask(user="ana")
    assert noted.seen() == {"ana": ((1, 1), False)}
    noted.now += SLOT
    noted.ask(user="ana")
    noted.ask(user="ana")
    assert noted.seen() == {"ana": ((3, 3), False)}
    assert not noted.ask(user="ana").allowed
    assert noted.seen() == {"ana": ((3, 3), True)}
    assert noted.callers.now_ms == T


def test_five_minutes() -> None:
    """Who was last seen longer ago is forgotten; of who comes again what was before does not count."""
    noted = Noted()
    for _ in range(3):
        noted.ask(user="ana")
    noted.ask(user="ben")
    noted.now += SLOT * (SLOTS - 1)
    noted.callers.forget()
    assert set(noted.seen()) == {"ana", "ben"}
    noted.store = MemoryStore(clock=lambda: T)
    noted.ask(user="ana")
    noted.now += SLOT
    assert noted.seen() == {"ana": ((1, 1), False)}
    noted.callers.forget()
    assert len(noted.callers) == 1
    noted.callers.forget()  # once a slot is enough
    noted.now += SLOT * SLOTS
    noted.callers.forget()
    assert len(noted.callers) == 0


def test_bound() -> None:
    """Half of the places at most are for callers that are known by an address alone: no flood of these takes all."""
    noted = Noted(most=4)
    for number in range(9):
        noted.ask(ip=f"192.0.2.{number}", tier="anonymous")
    assert len(noted.callers) == 2
    for number in range(9):
        noted.ask(user=f"ana{number}")
    assert set(noted.seen()) == {"192.0.2.0", "192.0.2.1", "ana0", "ana1"}


def test_without_the_store() -> None:
    """What was decided without the store says nothing of who asked how often."""
    callers = Callers()
    callers.note(Identity(user="ana"), "search", (), Decision(True, now_ms=0, unavailable=True))
    assert callers.of_late() == []
