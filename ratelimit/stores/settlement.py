"""After an outage: what became of lost calls is asked, and what was admitted meanwhile is charged, each exactly once.

A script call carries a number (`tickets.py`); one whose reply was lost is asked about before anything is sent that
could pass its number. Calls of `lua/settle.lua` carry numbers as well: one that is lost is not charged twice either.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ratelimit.model import StoreUnavailable
from ratelimit.stores.breaker import Breaker
from ratelimit.stores.journal import Item
from ratelimit.stores.local import Local
from ratelimit.stores.scripts import Script, Scripts
from ratelimit.stores.tickets import LIFE, Ticket, Tickets, mark_of, told_by
from ratelimit.stores.wire import Elsewhere, NoScript, Part, Refused, Reply, bulk, command, error_of

if TYPE_CHECKING:
    from ratelimit.stores.batch import Batch
    from ratelimit.stores.group import Group

logger = logging.getLogger("ratelimit")

RETRY = 0.25  # seconds until what could not be settled is tried again
ITEMS = 512  # a call: a millisecond of the server's time
TOGETHER = 64  # calls to different slots of a node that are under way at a time
OVER, DONE, EARLY, FAILED = range(4)
DAMAGED = "WRONGTYPE"  # what else keeps a counter from being charged goes away: no memory, a replica, a full disk


class _Lost(NamedTuple):
    """A call without a reply. `tell` takes what its marker says of it: None, it was not applied."""

    ticket: Ticket
    slot: int
    sent: float  # by time.monotonic
    tell: Callable[[list[bytes] | None], None]


class Settlement:
    """Of one event loop. `groups` gives all nodes, `group_of` the one that has a slot, if one is known."""

    def __init__(
        self,
        local: Local,
        tickets: Tickets,
        scripts: Scripts,
        timeout: float,
        groups: Callable[[], Iterable[Group]],
        group_of: Callable[[int], Group | None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.local = local
        self.tickets = tickets
        self._journal = local.journal
        self._scripts = scripts
        self._patience = Breaker(timeout).stall  # by then the connection is given up
        self._groups = groups
        self._group_of = group_of
        self._lost: list[_Lost] = []
        self._running: dict[Group, asyncio.Task[bool]] = {}
        self._connections: dict[Group, int] = {}  # the number of the one over which was settled last
        self._timer: asyncio.TimerHandle | None = None
        local.on_owed = self._wake

    def lose_batch(self, batch: Batch, why: str) -> None:
        """A call that decides has ended without a reply."""
        batch.give_up(why)
        if batch.ticket:
            slot = batch.calls[0].caller.slot
            self.lose(batch.ticket, slot, batch.sent, lambda told: batch.learn(mark_of(told)))
        else:
            batch.learn(mark_of([]))

    def lose(self, ticket: Ticket, slot: int, sent: float, tell: Callable[[list[bytes] | None], None]) -> None:
        """A call has ended without a reply."""
        self._lost.append(_Lost(ticket, slot, sent, tell))
        self._wake()

    def blocks(self, group: Group) -> bool:
        """Whether a node that was just connected to is not to decide yet: it is being settled with."""
        if not (self._lost_at(group) or self._journal):
            return False
        self._begin(group)
        return True

    async def close(self, patience: float) -> None:
        """Settle what is left within so many seconds. What can't be is lost, and said."""
        if self._journal or self._lost:
            settling = [self._begin(group) for group in self._groups()]
            await asyncio.wait(settling, timeout=patience)
        if self._timer:
            self._timer.cancel()
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._journal.report()
        if units := self._journal.open_units:
            logger.error(
                "closed before the store was back: %d units that were admitted without it are lost, their callers are "
                "charged too little",
                units,
            )
        for lost in self._lost:
            lost.tell([])
        self._lost.clear()

    def _wake(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(RETRY, self._look, context=Context())

    def _look(self) -> None:
        """Settle with the nodes that are there, and look for those that are not."""
        self._timer = None
        for group in self._groups():
            if group.link.ready:
                self._begin(group)
            elif self._journal or self._lost_at(group):
                group.link.connect()
        if self._journal or self._lost:
            self._wake()

    def _begin(self, group: Group) -> asyncio.Task[bool]:
        """Settle with a node what there is by now; one at a time. True where that was all done."""
        task = self._running.get(group)
        if task is None:
            task = self._running[group] = self._loop.create_task(self._settle(group), context=Context())
        return task

    async def _settle(self, group: Group) -> bool:
        done = False
        try:
            await self._check(group)
            for lost in self._lost_at(group):
                await self._resolve(group, lost)
            done = await self._charge(group)
        except StoreUnavailable as error:
            logger.info("what was admitted without the store is not charged yet: %s", error)
        finally:
            del self._running[group]
        if not self._lost_at(group):
            group.open()
        if done:
            self._journal.report()
        else:
            self._wake()
        return done

    async def _check(self, group: Group) -> None:
        """Over a new connection nothing is given back unless what was charged is known to be there still."""
        if self._connections.get(group) == group.link.number or not group.link.ready:
            return
        what = command("GET", self.tickets.marker("calls"))
        marker = None if self.tickets.cluster else await group.link.call(what, self._patience)
        self._journal.drop_refunds(lambda slot: self._group_of(slot) is group, after=marker or b"")
        self._connections[group] = group.link.number

    async def _resolve(self, group: Group, lost: _Lost) -> None:
        told: list[bytes] | None = []  # nobody knows any more
        if time.monotonic() < lost.sent + LIFE - 60:
            marker, number = lost.ticket
            reply = await self._call(group, lost.slot, self._scripts.resolve, [marker], [number])
            if not (reply is None or isinstance(reply, bytes)):
                raise _unreadable(group)
            told = told_by(reply, lost.ticket)
        self._lost.remove(lost)
        lost.tell(told)

    async def _charge(self, group: Group) -> bool:
        by_slot: defaultdict[int, list[Item]] = defaultdict(list)
        for slot, item in self._journal.take(lambda slot: self._group_of(slot) is group):
            by_slot[slot].append(item)
        chunks = [(slot, items[n : n + ITEMS]) for slot, items in by_slot.items() for n in range(0, len(items), ITEMS)]
        together = TOGETHER if self.tickets.cluster else 1  # with one marker, one call at a time
        done = True
        for n in range(0, len(chunks), together):
            charging = [self._charge_chunk(group, slot, items, go=done) for slot, items in chunks[n : n + together]]
            done = all(await asyncio.gather(*charging)) and done
        return done

    async def _charge_chunk(self, group: Group, slot: int, items: Sequence[Item], *, go: bool) -> bool:
        if not go:  # the call before was lost
            self._owe(items)
            return False
        prefix = self.tickets.prefix
        ticket = self.tickets.next("settled", items[0].key)
        keys = [*[prefix + item.key for item in items], ticket.marker]
        arguments: list[Part] = []
        for item in items:
            letter, first, second, sub_window = item.place
            arguments += (letter, b"%d" % item.units, first, second, sub_window)
        sent = time.monotonic()
        try:
            reply = await self._call(group, slot, self._scripts.settle, keys, [*arguments, ticket.number])
            if not (isinstance(reply, list) and len(reply) == 1 + len(items)):
                raise _unreadable(group)
        except Refused:  # nothing was done
            self._owe(items)
            return False
        except StoreUnavailable:
            self.lose(ticket, slot, sent, partial(self._told, items))
            return False
        group.used(ticket)
        return self._charged(items, reply[1:])

    def _told(self, items: Sequence[Item], told: list[bytes] | None) -> None:
        """What became of a lost call of settle.lua."""
        if told is None:
            self._owe(items)
        elif told:
            self._charged(items, [int(digit) for digit in told[0].decode()])
        else:
            self.local.settled(items)

    def _charged(self, items: Sequence[Item], outcomes: Sequence[int | bytes]) -> bool:
        again = []
        for item, outcome in zip(items, outcomes, strict=True):
            why = "" if isinstance(outcome, int) else str(error_of(outcome))
            if outcome in (DONE, OVER):
                self.local.settled([item])
            elif why.startswith(DAMAGED):
                logger.error(
                    "%d units are not charged: the counter %s is of another type: %s", item.units, item.key, why
                )
                self.local.settled([item])
            else:
                again.append(item)
        self._owe(again)
        return not again

    def _owe(self, items: Iterable[Item]) -> None:
        for item in items:
            self._journal.owe(item)

    def _lost_at(self, group: Group) -> list[_Lost]:
        return [lost for lost in self._lost if self._group_of(lost.slot) is group]

    async def _call(
        self, group: Group, slot: int, script: Script, keys: Sequence[str], arguments: Sequence[Part]
    ) -> Reply:
        body = b"".join(map(bulk, [*keys, *arguments]))
        try:
            return await group.link.call(script.head(len(keys), len(arguments)) + body, self._patience)
        except NoScript:  # nothing was done
            return await group.link.call(script.head(len(keys), len(arguments), text=True) + body, self._patience)
        except Elsewhere as reply:  # nothing was done; the next look finds who has the slot by then
            group.follow(slot, reply)
            raise


def _unreadable(group: Group) -> StoreUnavailable:
    group.link.drop("its replies can't be read")
    return StoreUnavailable("what the server sent is no reply to the script")
