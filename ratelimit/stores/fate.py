"""What became of a call that was not answered in time: known later."""

from __future__ import annotations

from collections.abc import Callable

from ratelimit.model import StoreUnavailable

NOT = 0  # not applied, and it never will be
NEVER_KNOWN = -1  # counts as applied: nothing is ever charged twice


class Fate:
    """Of one request in the call of a number. `charged_at` is told once: the instant (ms, by the store's clock) when
    the request was charged, NOT or NEVER_KNOWN."""

    __slots__ = ("_listener", "charged_at", "number")

    def __init__(self, number: bytes) -> None:
        self.number = number
        self.charged_at: int | None = None
        self._listener: Callable[[int], None] | None = None

    def tell(self, charged_at: int) -> None:
        self.charged_at = charged_at
        if listener := self._listener:
            self._listener = None
            listener(charged_at)

    def then(self, listener: Callable[[int], None]) -> None:
        """Call `listener` when it is known, or now if it is."""
        if self.charged_at is None:
            self._listener = listener
        else:
            listener(self.charged_at)


class InDoubt(StoreUnavailable):
    """The store may have decided, and may still do so: `fate` tells it later. Of a plain StoreUnavailable it is known
    that nothing was charged."""

    def __init__(self, why: str, fate: Fate) -> None:
        super().__init__(why)
        self.fate = fate
