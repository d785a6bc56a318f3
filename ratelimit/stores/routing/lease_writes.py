"""Leases on a cluster: renewed and given back where their slots are, in one write a node."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ratelimit.model import Lease, StoreUnavailable
from ratelimit.stores.connection.errors import AskRedirect, Moved, NoScript, Redirected
from ratelimit.stores.connection.inflight import POST_LIFE, POSTS
from ratelimit.stores.connection.link import Link
from ratelimit.stores.connection.socket import ASKING, Reply, command
from ratelimit.stores.lua.scripts import Scripts, without_room
from ratelimit.stores.routing.slotmap import slot_of

if TYPE_CHECKING:
    from ratelimit.stores.batching.queue import DecisionQueue
    from ratelimit.stores.routing.cluster import ClusterRouter

RETRY = 0.5  # seconds until a lease that could not be given back is tried again
AT_MOST = 4  # times that it is sent on at once

Submit = Callable[[Link, bytes], "asyncio.Future[Reply]"]


class _Return(NamedTuple):
    """A lease on its way back: given back twice is as good as once."""

    slot: int
    command: bytes
    until: float
    sent_away: int = 0


class LeaseWrites:
    """Of one event loop. `prefix` is of every key, `timeout` in seconds."""

    def __init__(self, router: ClusterRouter, scripts: Scripts, prefix: str, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._router = router
        self._scripts = scripts
        self._prefix = prefix
        self._timeout = timeout
        self._waiting: deque[_Return] = deque(maxlen=POSTS)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """Renew what can be reached also where a node is gone; then raises StoreUnavailable."""
        by_slot: defaultdict[int, list[Lease]] = defaultdict(list)
        for lease in leases:
            by_slot[slot_of(self._prefix + lease.key)].append(lease)
        deadline = self._loop.time() + self._timeout
        renewals = [self._renew(slot, held, deadline) for slot, held in by_slot.items()]
        crowding: list[Lease] = []
        for outcome in await asyncio.gather(*renewals, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            crowding += outcome
        return crowding

    async def _renew(self, slot: int, leases: Sequence[Lease], deadline: float) -> list[Lease]:
        call = self._scripts.renewal(self._prefix, leases)
        queue, asking, sent_away = await self._router.found(slot, deadline), False, 0
        while True:
            if asking:
                queue.link.cork(ASKING).add_done_callback(_heard)
            try:
                kept = await queue.link.call(call, deadline - self._loop.time())
            except NoScript:  # nothing was done
                call = self._scripts.renewal(self._prefix, leases, text=True)
            except Redirected as reply:  # nothing was done
                there = self._router.follow(queue, slot, reply)
                asking = isinstance(reply, AskRedirect) and there is not None
                if there and asking:
                    queue = there
                else:
                    sent_away += 1
                    queue = await self._router.again(slot, sent_away, deadline)
            else:
                return without_room(leases, kept)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Raises StoreUnavailable where a node does not take it from the wire in time."""
        deadline = self._loop.time() + self._timeout
        for queue in self.post_release(leases):
            await queue.link.wait_until_sent(deadline)

    def post_release(self, leases: Sequence[Lease]) -> set[DecisionQueue]:
        """Give leases back; these nodes were told."""
        until = self._loop.time() + POST_LIFE
        if self._router.gates:
            self._router.gates.gave_back(leases)
        told = set()
        submit = Link.cork if len(leases) > 1 else Link.submit  # one by itself has nothing to wait for
        for lease in leases:
            key = self._prefix + lease.key
            if queue := self._post(_Return(slot_of(key), command("ZREM", key, lease.id), until), submit):
                told.add(queue)
        for queue in told:
            queue.link.flush()
        return told

    def close(self) -> None:
        self._closed = True
        if self._timer:
            self._timer.cancel()

    def _post(self, what: _Return, submit: Submit, there: DecisionQueue | None = None) -> DecisionQueue | None:
        queue = there or self._router.of(what.slot)
        if queue is None:
            self._wait(what)
            return None
        if there:
            submit(queue.link, ASKING).add_done_callback(_heard)
        submit(queue.link, what.command).add_done_callback(partial(self._posted, what, queue))
        return queue

    def _posted(self, what: _Return, queue: DecisionQueue, reply: asyncio.Future[Reply]) -> None:
        error = reply.exception()
        there = self._router.follow(queue, what.slot, error) if isinstance(error, Moved | AskRedirect) else None
        if there and what.sent_away < AT_MOST:
            what = what._replace(sent_away=what.sent_away + 1)
            self._post(what, Link.cork, there if isinstance(error, AskRedirect) else None)
        elif isinstance(error, StoreUnavailable):
            self._wait(what._replace(sent_away=0))

    def _wait(self, what: _Return) -> None:
        """Until there is a node that takes it."""
        if self._loop.time() < what.until and not self._closed:
            self._router.refresh()
            self._waiting.append(what)
            if self._timer is None:
                self._timer = self._loop.call_later(RETRY, self._post_again, context=Context())

    def _post_again(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, deque(maxlen=POSTS)
        for what in waiting:
            self._post(what, Link.cork)


def _heard(reply: asyncio.Future[Reply]) -> None:
    """What ASKING came to, the command behind it says."""
    reply.exception()
