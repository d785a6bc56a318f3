"""A connection that was not used for a while: whether a decision that is asked for over it would still arrive.

An event loop that runs only during a request (adapters for functions, `run_until_complete`) does not see that a server
has closed the connection in between, and no loop sees that a firewall has forgotten it. A decision that is lost on it
is not asked for again, as it may have been made. So before the first one after a pause the loop reads what has come
meanwhile, perhaps the end; and after a long pause the connection is made anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context

PAUSE = 0.1  # seconds without a command and without a reply. It costs the next decision some turns of the loop
TURNS = 6  # what came, the end behind it, and what TLS makes of both; fewer than the turns after which an alarm rings
LONG = 30.0  # seconds after which it is made anew: hardly anything forgets connections sooner without a word


class Rest:
    """Of one link: `drop` ends its connection with a reason, `on_end` is told when it may send."""

    def __init__(self, drop: Callable[[str], None], on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._drop = drop
        self._on_end = on_end
        self._used = float("-inf")  # when it was last used, by the loop's clock
        self._look: asyncio.Handle | None = None  # that is under way

    def begin(self) -> None:
        """The connection is there: it has been made, or what came in the pause was read."""
        if self._look:
            self._look.cancel()
            self._look = None
        self._used = self._loop.time()

    def used(self, now: float) -> None:
        """Something was sent, or has come. After a pause that proves nothing: the end may come behind it."""
        if now - self._used < PAUSE:
            self._used = now

    def over(self) -> bool:
        """Whether to send now. Else `on_end` is called in time, unless the connection ends before."""
        pause = self._loop.time() - self._used
        if pause < PAUSE:
            return True
        if pause > LONG:
            self._drop(f"it was not used for {pause:.0f} s")
        elif self._look is None:
            self._turn(TURNS)
        return False

    def _turn(self, turns: int) -> None:
        if turns:
            self._look = self._loop.call_soon(self._turn, turns - 1, context=Context())
        else:
            self.begin()
            self._on_end()
