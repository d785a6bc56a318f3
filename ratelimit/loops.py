"""One of something for each event loop: connections and timers belong to the loop that made them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class PerLoop(dict[asyncio.AbstractEventLoop, T]):
    """Makes what a loop asks for and does not have yet. Of loops that have ended, none is kept beyond the next one.

    Not a WeakKeyDictionary: what belongs to a loop refers to it, so that a loop would never be dropped.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, loop: asyncio.AbstractEventLoop) -> T:
        for ended in [other for other in list(self) if other.is_closed()]:  # another thread may add one meanwhile
            self.pop(ended, None)
        self[loop] = made = self._make()
        return made
