"""Leases: renewed and given back where their slots are, in slices and in one write a node."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import NamedTuple

from ratelimit.model import Lease, StoreUnavailable
from ratelimit.stores.batching.queue import DecisionQueue
from ratelimit.stores.connection.errors import AskRedirect, Moved, Redirected, Refused, Replied, Unwritable
from ratelimit.stores.connection.inflight import Done, heard, unheard
from ratelimit.stores.connection.socket import ASKING, Reply, command
from ratelimit.stores.counting.terms import new
from ratelimit.stores.lua.scripts import Scripts, rooms_of
from ratelimit.stores.routing.router import FOLLOWED, SLICE, Router

POSTS = 10_000  # leases that wait to be given back, the newest
POST_LIFE = 60.0  # seconds; a lease that is released later than that has ended by itself
RETRY = 0.5  # seconds until leases that could not be given back are tried again


class _Return(NamedTuple):
    """Leases of one counter on their way back: given back twice is as good as once."""

    slot: int
    command: bytes
    until: float
    sent_away: int = 0
    importing: DecisionQueue | None = None  # the node that has the counter, but not its slot yet


class LeaseWrites:
    """Of one event loop. `prefix` is of every key, `timeout` in seconds; `gave_back` is told of leases that end."""

    def __init__(self, router: Router, scripts: Scripts, prefix: str, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._router = router
        self._nodes = router.nodes
        self._scripts = scripts
        self._prefix = prefix
        self._timeout = timeout
        self._waiting: deque[_Return] = deque(maxlen=POSTS)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._renewals = 0  # that are under way
        self._gone: set[str] = set()  # ids of leases that were given back meanwhile: renewed they would be taken again
        self.gave_back: Callable[[Sequence[Lease]], None] = lambda _: None

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """Slots that are above their max, and units that are gone from every counter. Renews what can be reached also
        where a node is gone; then raises StoreUnavailable."""
        kept: dict[str, int] = {}  # by id, whether any of it is

        async def renewed(slot: int, some: Sequence[Lease]) -> None:
            if self._gone.issuperset([lease.id for lease in some]):
                return
            asked: list[Lease] = []

            def written(*, text: bool = False) -> bytes:
                asked[:] = [lease for lease in some if lease.id not in self._gone]
                return self._scripts.renewal(self._prefix, asked, text=text)

            rooms = rooms_of(await self._router.call(slot, written), len(asked))
            for lease, room in zip(asked, rooms, strict=True):
                kept[lease.id] = room or kept.get(lease.id, 0)

        self._renewals += 1
        try:
            await self._router.in_slices([(one.key, one) for lease in leases for one in _of_each(lease)], renewed)
        finally:
            self._renewals -= 1
            self._gone = self._gone if self._renewals else set()
        return [lease for lease in leases if kept.get(lease.id) == 0]

    async def release(self, leases: Sequence[Lease]) -> None:
        """Raises StoreUnavailable where a node does not take it from the wire in time."""
        deadline = self._loop.time() + self._timeout
        for queue in self._post([lease for lease in leases if lease.counters is None]):
            await queue.link.wait_until_sent(deadline)

    def post_release(self, leases: Sequence[Lease]) -> None:
        """Give leases back, now or when their nodes can be told."""
        self._post(leases)

    def _post(self, leases: Sequence[Lease]) -> Iterable[DecisionQueue]:
        self.gave_back(leases)
        if self._renewals:
            self._gone.update([lease.id for lease in leases])
        until = self._loop.time() + POST_LIFE
        if len(leases) == 1:  # nearly always
            return self._send([self._return(leases[0].key, [leases[0].id], until)])
        told: set[DecisionQueue] = set()
        for first in range(0, len(leases), SLICE):
            ids: dict[str, list[str]] = {}
            for lease in leases[first : first + SLICE]:
                ids.setdefault(lease.key, []).append(lease.id)
            told.update(self._send([self._return(key, some, until) for key, some in ids.items()]))
        return told

    def _return(self, key: str, ids: Sequence[str], until: float) -> _Return:
        what = command("ZREM", self._prefix + key, *ids)
        return new(_Return, (self._nodes.slot_of(key), what, until, 0, None))

    def waits(self) -> bool:
        """Whether a connection is wanted."""
        return bool(self._waiting)

    def flush(self) -> None:
        """A node can be told of what waits."""
        if self._waiting:
            waiting, self._waiting = [*self._waiting], deque(maxlen=POSTS)
            for first in range(0, len(waiting), SLICE):
                self._send(waiting[first : first + SLICE])

    def close(self) -> None:
        """What waits goes with the connections, if there are any in time."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        for what in self._waiting:
            if queue := self._nodes.masters[what.slot]:
                queue.link.submit(what.command).add_done_callback(heard)
        self._waiting.clear()

    def _send(self, returns: Sequence[_Return]) -> Iterable[DecisionQueue]:
        lines: dict[DecisionQueue, list[_Return]] = {}
        for what in returns:
            queue = what.importing or self._nodes.masters[what.slot]
            if queue is None:
                self._nodes.refresh()
                self._wait(what)
            elif queue in lines:
                lines[queue].append(what)
            else:
                lines[queue] = [what]
        for queue, line in lines.items():
            self._write(queue, line)
        return lines

    def _write(self, queue: DecisionQueue, line: Sequence[_Return]) -> None:
        if not queue.link.ready:
            for what in line:
                self._wait(what)
            queue.link.connect()
            return
        commands, done = b"", list[Done]()
        for what in line:
            if what.importing:
                commands += ASKING
                done.append(unheard)
            commands += what.command
            done.append(partial(self._answered, what, queue))
        queue.link.flush()  # a renewal of one of these would take it again behind this
        queue.link.send(commands, *done)

    def _answered(self, what: _Return, queue: DecisionQueue, reply: Reply) -> None:
        there = None
        if isinstance(reply, Moved | AskRedirect):
            with suppress(Redirected):  # of a single server, where there is no other
                there = self._nodes.follow(queue, what.slot, reply)
        if there and what.sent_away < FOLLOWED:
            importing = there if isinstance(reply, AskRedirect) else None
            self._send([what._replace(sent_away=what.sent_away + 1, importing=importing)])
        elif isinstance(reply, StoreUnavailable) and (
            isinstance(reply, Refused | Unwritable | Redirected) or not isinstance(reply, Replied)
        ):  # for now, or nobody knows: the connection has ended
            self._nodes.refresh()
            self._wait(what._replace(sent_away=0, importing=None))

    def _wait(self, what: _Return) -> None:
        if self._loop.time() < what.until and not self._closed:
            self._waiting.append(what)
            if self._timer is None:
                self._timer = self._loop.call_later(RETRY, self._retry, context=Context())

    def _retry(self) -> None:
        self._timer = None
        self._waiting = deque([what._replace(importing=None) for what in self._waiting], POSTS)
        self.flush()


def _of_each(lease: Lease) -> Sequence[Lease]:
    """Of units that are held a lease for each counter: what has gone back from one is kept in another."""
    return [lease] if lease.counters is None else [lease._replace(key=key) for key in lease.counters]
