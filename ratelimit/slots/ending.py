"""The end of a process that nobody told the app of: a server without a lifespan, a script, a thread of a server's."""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from ratelimit.ground.words import fields

logger = logging.getLogger("ratelimit")

PATIENCE = 2.0  # seconds that the end of a process waits for a store, at most


class Holding(Protocol):
    def holds(self) -> bool:
        """Whether there is anything to give back."""

    async def give_all_back(self) -> None:
        """On an event loop that was made for it."""


class Closing(Protocol):
    async def close(self) -> None:
        """Drop connections."""


_holding: WeakKeyDictionary[Holding, Closing] = WeakKeyDictionary()


def at_exit(holding: Holding, store: Closing) -> None:
    """Have it give back what it still holds when the process ends in order, if it is there by then; then close that."""
    _holding[holding] = store


@atexit.register
def _end() -> None:
    for holding, store in list(_holding.items()):
        if not holding.holds():
            continue
        try:
            with asyncio.Runner(loop_factory=_LastLoop) as runner:
                runner.run(asyncio.wait_for(_give_back(holding, store), PATIENCE))
        except Exception as error:  # noqa: BLE001 - a traceback at the end of a process helps nobody
            why = error if str(error) else f"no answer within {PATIENCE:.0f} s"
            what = "slots were not given back at the end of the process, each frees with its lease: %s"
            logger.warning(what, why, extra=fields("slots_not_given_back", reason=str(why)))


async def _give_back(holding: Holding, store: Closing) -> None:
    await holding.give_all_back()
    await store.close()


class _LastLoop(asyncio.SelectorEventLoop):
    """No thread can be started any more (Python 3.12): what is done in one, the look-up of a name, is done at once."""

    def run_in_executor(self, _: object, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it goes to who waits for it
            done.set_exception(error)
        return done
