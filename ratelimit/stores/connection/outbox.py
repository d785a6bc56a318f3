"""Commands that wait until a connection takes them, in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.socket import Reply

POSTS = 10_000  # commands without a reply that are kept while there is no connection, the newest
POST_LIFE = 60.0  # seconds; a lease that is released later than that has ended by itself


class Command(NamedTuple):
    text: bytes
    reply: asyncio.Future[Reply] | None  # None: nobody waits for it
    submitted_at: float


class Outbox:
    """Of one link. `now` is the loop's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._line: deque[Command] = deque()

    def __bool__(self) -> bool:
        return bool(self._line)

    def add(self, command: Command) -> None:
        if command.reply or command.submitted_at > self._now() - POST_LIFE:
            self._line.append(command)

    def next(self) -> Command | None:
        """The first of the line. What nobody waits for any more is left out: it would be done for nothing."""
        while self._line:
            command = self._line.popleft()
            if command.reply is None or not command.reply.done():
                return command
        return None

    def fail(self, why: str) -> None:
        """There is no connection. Leases that wait to be given back are kept for when there is one."""
        line, self._line = self._line, deque()
        for command in line:
            resolve(command.reply, StoreUnavailable(why))
        for command in [command for command in line if command.reply is None][-POSTS:]:
            self.add(command)

    def drop(self) -> None:
        """There never will be one."""
        self.fail("the connection was closed")
        self._line.clear()


def resolve(future: asyncio.Future[Reply] | None, reply: Reply) -> None:
    """Tell who waits for a reply; a StoreUnavailable is raised there."""
    if future and not future.done():
        settle = future.set_exception if isinstance(reply, StoreUnavailable) else future.set_result
        settle(reply)
