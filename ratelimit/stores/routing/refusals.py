"""What a server refuses to do for now: it did nothing, so it may be asked again; and for how long that is worth it.

LOADING, BUSY, CLUSTERDOWN   The command was refused before the script began.
READONLY, MASTERDOWN         Said to the script by its first write. Redis lets a script that has written once write on
                             (scriptVerifyWriteCommandAllow in its script.c), so that nothing was written.

OOM, MISCONF and NOREPLICAS come by the first write too, and nothing was done; but they do not end within a timeout, and
NOPERM may come after a write. These are told at once, and never asked again.
"""

from __future__ import annotations

import asyncio

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.errors import Refused

PAUSE = 0.001  # seconds before a second attempt, more before each later one
LONGEST_PAUSE = 0.02


async def pause(tries: int, deadline: float) -> bool:
    """Before it is asked again after so many tries. Whether there is time for that."""
    now = asyncio.get_running_loop().time
    await asyncio.sleep(max(0.0, min(PAUSE * tries, LONGEST_PAUSE, deadline - now())))
    return now() < deadline


class Refusals:
    """Of one node. `slots` are those for which a request was refused for its whole time, without a decision since: who
    comes next is told after one trip, and waits no longer."""

    def __init__(self) -> None:
        self.slots: set[int] = set()

    async def wait(self, refused: Refused, slot: int, tries: int, deadline: float) -> None:
        """Until it is to be asked again. Raises StoreUnavailable where that is not worth it."""
        if slot in self.slots or not await pause(tries, deadline):
            self.slots.add(slot)
            raise StoreUnavailable(str(refused))
