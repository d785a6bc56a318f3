"""Commands of one turn of the loop, in one write a node."""

from __future__ import annotations

import asyncio
from contextvars import Context
from functools import partial

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.deadline import in_time
from ratelimit.stores.connection.link import Link
from ratelimit.stores.connection.outbox import resolve
from ratelimit.stores.connection.socket import Reply

Line = list[tuple[bytes, asyncio.Future[Reply]]]


class Pipeline:
    """Of one event loop. What is submitted goes with `flush`; for who waits in `call` that is the end of the turn."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: dict[Link, Line] = {}
        self._due = False

    def submit(self, link: Link, command: bytes) -> asyncio.Future[Reply]:
        """Its reply or an error. Commands for one node stay in their order, with nothing in between."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._lines.setdefault(link, []).append((command, reply))
        return reply

    async def call(self, link: Link, command: bytes, patience: float) -> Reply:
        """Submit a command and wait for its reply. Raises StoreUnavailable."""
        if why := link.breaker.refusal:
            raise StoreUnavailable(why)
        reply = self.submit(link, command)
        if not self._due:
            self._due = True
            self._loop.call_soon(self._end_turn, context=Context())
        return await in_time(reply, patience, partial(_give_up, link, reply))

    def _end_turn(self) -> None:
        self._due = False
        self.flush()

    def flush(self) -> None:
        lines, self._lines = self._lines, {}
        for link, line in lines.items():
            if link.ready:
                link.send(b"".join([command for command, _ in line]), *[partial(resolve, reply) for _, reply in line])
            else:
                for command, reply in line:
                    link.submit(command).add_done_callback(partial(_pass_on, reply))


def _pass_on(reply: asyncio.Future[Reply], source: asyncio.Future[Reply]) -> None:
    resolve(reply, source.exception() or source.result())


def _give_up(link: Link, reply: asyncio.Future[Reply]) -> None:
    reply.set_exception(StoreUnavailable(link.too_late()))
    link.notice_silence()
