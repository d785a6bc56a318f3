"""As much of asyncio's event loop as the limiter asks for, on trio. Nothing here is reached where trio does not run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any

logger = logging.getLogger("ratelimit")


@dataclass(frozen=True, slots=True)
class TrioLoop:
    """One run of trio, by its token. Its methods are those of asyncio's loop, with the arguments that are used."""

    token: Any

    def time(self) -> float:
        import trio

        return trio.current_time()

    def is_closed(self) -> bool:
        try:
            self.token.run_sync_soon(_nothing, idempotent=True)
        except RuntimeError:  # trio.RunFinishedError: there is no other way to ask
            return True
        return False

    def call_soon_threadsafe(self, callback: Callable[..., None], *arguments: object) -> None:
        self.token.run_sync_soon(callback, *arguments)

    def call_at(
        self, when: float, callback: Callable[..., None], *arguments: object, context: Context | None = None
    ) -> TrioTask:
        return TrioTask(_later(when, partial(callback, *arguments)), context, when)

    def call_later(
        self, delay: float, callback: Callable[..., None], *arguments: object, context: Context | None = None
    ) -> TrioTask:
        return self.call_at(self.time() + delay, callback, *arguments, context=context)

    def create_task(self, coroutine: Coroutine[Any, Any, None], *, context: Context | None = None) -> TrioTask:
        return TrioTask(coroutine, context)


class TrioTask:
    """A coroutine of the limiter's own, beside the server's tasks. What it raises is logged: it would end the run."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], context: Context | None = None, when: float = 0.0) -> None:
        import trio

        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._when = when
        trio.lowlevel.spawn_system_task(self._run, coroutine, context=context)

    def when(self) -> float:
        return self._when

    def done(self) -> bool:
        return self._ended.is_set()

    def cancel(self) -> None:
        self._scope.cancel()

    async def wait(self) -> None:
        await self._ended.wait()

    async def wait_shielded(self) -> None:
        import trio

        with trio.CancelScope(shield=True):
            await self._ended.wait()

    async def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            with self._scope:
                await coroutine
        except Exception:
            logger.exception("a task of the limiter's failed")
        finally:
            self._ended.set()


async def _later(when: float, callback: Callable[[], None]) -> None:
    import trio

    await trio.sleep_until(when)
    callback()


def _nothing() -> None:
    """It could be called: the run goes on."""
