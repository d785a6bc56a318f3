"""Leases on a cluster: renewed and given back where their slots are, in one pipeline a node."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ratelimit.model import Lease, StoreUnavailable
from ratelimit.stores.scripts import Scripts
from ratelimit.stores.slots import ASKING
from ratelimit.stores.topology import slot_of
from ratelimit.stores.unsent import POST_LIFE, POSTS
from ratelimit.stores.wire import Asked, Elsewhere, Moved, NoScript, Reply, command

if TYPE_CHECKING:
    from ratelimit.stores.group import Group
    from ratelimit.stores.nodes import Nodes

RETRY = 0.5  # seconds until a lease that could not be given back is tried again
AT_MOST = 4  # times that it is sent on at once


class _Return(NamedTuple):
    """A lease on its way back: given back twice is as good as once."""

    slot: int
    command: bytes
    until: float
    sent_away: int = 0


class Leasing:
    """Of one event loop. `prefix` is of every key, `timeout` in seconds."""

    def __init__(self, nodes: Nodes, scripts: Scripts, prefix: str, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._nodes = nodes
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
        lost: list[Lease] = []
        for outcome in await asyncio.gather(*renewals, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            lost += outcome
        return lost

    async def _renew(self, slot: int, leases: Sequence[Lease], deadline: float) -> list[Lease]:
        call = self._scripts.renewal(self._prefix, leases)
        group, asking, sent_away = await self._nodes.found(slot, deadline), False, 0
        while True:
            if asking:
                group.link.post(ASKING)
            try:
                kept = await group.link.call(call, deadline - self._loop.time())
            except NoScript:  # nothing was done
                call = self._scripts.renewal(self._prefix, leases, text=True)
            except Elsewhere as reply:  # nothing was done
                there = self._nodes.follow(group, slot, reply)
                asking = isinstance(reply, Asked) and there is not None
                if there and asking:
                    group = there
                else:
                    sent_away += 1
                    group = await self._nodes.again(slot, sent_away, deadline)
            else:
                return [lease for lease, still_held in zip(leases, kept, strict=True) if not still_held]

    async def release(self, leases: Sequence[Lease]) -> None:
        """Raises StoreUnavailable where a node does not take it from the wire in time."""
        groups = self.post_release(leases)
        for group in groups:
            await group.link.wait_until_sent()

    def post_release(self, leases: Sequence[Lease]) -> set[Group]:
        """Give leases back; these nodes were told."""
        until = self._loop.time() + POST_LIFE
        self._nodes.gave_back(leases)
        told = set()
        for lease in leases:
            key = self._prefix + lease.key
            if group := self._post(_Return(slot_of(key), command("ZREM", key, lease.id), until)):
                told.add(group)
        return told

    def close(self) -> None:
        self._closed = True
        if self._timer:
            self._timer.cancel()

    def _post(self, what: _Return, there: Group | None = None) -> Group | None:
        group = there or self._nodes.of(what.slot)
        if group is None:
            self._wait(what)
            return None
        if there:
            there.link.post(ASKING)
        group.link.submit(what.command).add_done_callback(partial(self._posted, what, group))
        return group

    def _posted(self, what: _Return, group: Group, reply: asyncio.Future[Reply]) -> None:
        error = reply.exception()
        there = self._nodes.follow(group, what.slot, error) if isinstance(error, Moved | Asked) else None
        if there and what.sent_away < AT_MOST:
            what = what._replace(sent_away=what.sent_away + 1)
            self._post(what, there if isinstance(error, Asked) else None)
        elif isinstance(error, StoreUnavailable):
            self._wait(what._replace(sent_away=0))

    def _wait(self, what: _Return) -> None:
        """Until there is a node that takes it."""
        if self._loop.time() < what.until and not self._closed:
            self._nodes.refresh()
            self._waiting.append(what)
            if self._timer is None:
                self._timer = self._loop.call_later(RETRY, self._post_again, context=Context())

    def _post_again(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, deque(maxlen=POSTS)
        for what in waiting:
            self._post(what)
