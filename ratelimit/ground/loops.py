"""The event loop that runs, asyncio's or trio's; one of something for each, as timers and connections belong to it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Generator
from types import FrameType, coroutine
from typing import Any, TypeVar

from ratelimit.ground.trio_loop import TrioLoop, TrioTask

Loop = asyncio.AbstractEventLoop | TrioLoop
Task = asyncio.Task[None] | TrioTask
T = TypeVar("T")


class PerLoop(dict[Loop, T]):
    """Makes what a loop asks for and does not have yet. Of loops that have ended, none is kept beyond the next one.

    Not a WeakKeyDictionary: what belongs to a loop refers to it, so that a loop would never be dropped.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, loop: Loop) -> T:
        made = self._make()  # may look at what the ended ones have left
        for ended in [other for other in list(self) if other.is_closed()]:  # another thread may add one meanwhile
            self.pop(ended, None)
        self[loop] = made
        return made


def running() -> Loop:
    """Raises RuntimeError where no event loop runs in this thread."""
    trio: Any = sys.modules.get("trio")  # only who runs trio needs it
    if trio and trio.lowlevel.in_trio_run():
        return TrioLoop(trio.lowlevel.current_trio_token())
    return asyncio.get_running_loop()


def runs(loop: Loop) -> bool:
    """Whether it is the one that runs in this thread."""
    try:
        return running() == loop
    except RuntimeError:
        return False


def ends() -> bool:
    """Whether the task that runs was cancelled. A loop that ends cancels all its tasks, once: of one that is made by
    them meanwhile nothing is heard but that it was destroyed, and its connection is left behind."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@coroutine
def others_first() -> Generator[None]:
    """Have all else that is ready run before: on asyncio, as trio takes no bare `yield`, nor does who runs a coroutine
    by hand.

    So of requests that came at once the limiter decides one after the other, and then the app answers one after the
    other: what was just run is in the processor's caches. In turns each was cold to the other, and a Starlette app on
    the memory store kept 0.58 of its throughput, now 0.67.

    Who is cancelled meanwhile is so at its next wait, and goes on until then: what was charged is for an app that runs.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return
    if task is not None:
        try:
            yield
        except asyncio.CancelledError as error:
            task.uncancel()  # counted once, for who cancelled it and takes that back
            task.cancel(*error.args)


async def pause(seconds: float) -> None:
    """On either loop. Tests have it move a clock."""
    trio: Any = sys.modules.get("trio")
    if trio and trio.lowlevel.in_trio_run():
        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


def interrupted(frame: FrameType | None) -> bool:
    """Whether something of the limiter's is under way in this thread, by the frames that led to this one: the garbage
    collector may have come in the middle of it, with a lock held or a line half written."""
    while frame:
        if frame.f_globals.get("__name__", "").startswith("ratelimit."):
            return True
        frame = frame.f_back
    return False


def hand_over(loop: Loop, callback: Callable[..., None], *arguments: object) -> bool:
    """Have a loop call it when it is next at it: from another thread, or from the garbage collector, which may have
    come in the middle of anything. False where the loop has ended."""
    try:
        loop.call_soon_threadsafe(callback, *arguments)
    except RuntimeError:
        return False
    return True


async def ended(task: Task) -> None:
    """Wait until it has, whatever came of it."""
    if isinstance(task, TrioTask):
        await task.wait()
    else:
        await asyncio.wait([task])


async def stopped(task: Task) -> None:
    """The same for one that was cancelled, also where who waits is cancelled too."""
    if isinstance(task, TrioTask):
        await task.wait_shielded()
    else:
        await asyncio.wait([task])


def needs_asyncio(store: object) -> RuntimeError:
    """What a store says that can't be used on the loop that runs."""
    return RuntimeError(
        f"{type(store).__name__} runs on asyncio, and this server runs trio: have it run asyncio (hypercorn "
        "--worker-class asyncio, or uvloop), or take the store memory://, which counts in one process"
    )


def in_children(forked: Callable[[], None]) -> None:
    """Have it called in each process that is forked from this one. Where there is no fork, as on Windows, it is not."""
    getattr(os, "register_at_fork", dict)(after_in_child=forked)
