"""Charges what is owed to a node, with calls of lua/settle.lua."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ratelimit.ground.words import fields
from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.errors import AskRedirect, Replied, TryAgain, error_of, of_all
from ratelimit.stores.counting.terms import Item
from ratelimit.stores.fallback.gate import NodeGate
from ratelimit.stores.fallback.idempotency import IdempotencyKey, IdempotencyKeys
from ratelimit.stores.fallback.local import LocalLimiter
from ratelimit.stores.lua.scripts import DONE, OVER, Scripts, outcomes_of

logger = logging.getLogger("ratelimit")

ITEMS = 512  # a call: a millisecond or two of the server's time
TOGETHER = 64  # calls to different slots of a node that are under way at a time
DAMAGED = "WRONGTYPE"  # what else keeps a counter from being charged goes away: no memory, a replica, a full disk


class DebtWriter:
    """Of one event loop. `patience` in seconds; `lose` is told of a call that has ended without a reply."""

    def __init__(
        self,
        local: LocalLimiter,
        keys: IdempotencyKeys,
        scripts: Scripts,
        patience: float,
        lose: Callable[[IdempotencyKey, int, float, Callable[[list[bytes] | None], None]], None],
    ) -> None:
        self._local = local
        self._keys = keys
        self._scripts = scripts
        self._patience = patience
        self._lose = lose

    async def charge(self, gate: NodeGate, wanted: Callable[[int], bool]) -> bool:
        """What is owed in slots that are wanted. True where all of it was charged. Raises why the node would refuse
        all."""
        by_slot: defaultdict[int, list[Item]] = defaultdict(list)
        for slot, item in self._local.journal.take(wanted):
            by_slot[slot].append(item)
        chunks = [(slot, items[n : n + ITEMS]) for slot, items in by_slot.items() for n in range(0, len(items), ITEMS)]
        together = TOGETHER if self._keys.cluster else 1  # with one marker, one call at a time
        lost, done, why = False, True, list[StoreUnavailable]()
        for n in range(0, len(chunks), together):
            # With one marker, no number may pass that of a call in doubt. And who refuses one call refuses all: it is
            # told at once to those who wait, however much is owed.
            if lost or why:
                done = False
                for _, items in chunks[n : n + together]:
                    self._owe(items)
            else:
                calls = [self._charge(gate, slot, items, why) for slot, items in chunks[n : n + together]]
                outcomes = await asyncio.gather(*calls)
                lost, done = None in outcomes, done and all(outcomes)
        if why:
            raise why[0]
        return done

    async def _charge(
        self, gate: NodeGate, slot: int, items: Sequence[Item], refusals: list[StoreUnavailable]
    ) -> bool | None:
        """Whether all of it was charged; None: nobody knows yet."""
        call = self._keys.next("settled", items[0].key)
        written = partial(self._scripts.settlement, self._keys.prefix, items, call)
        sent = time.monotonic()
        try:
            reply = await gate.call(slot, written, self._patience)
            if not (isinstance(reply, list) and len(reply) == 1 + len(items)):
                raise gate.unreadable()
        except (AskRedirect, TryAgain):  # with its marker it is in no one place until the slot has come
            return await self._charge_there(gate, slot, items)
        except Replied as error:  # nothing was done
            self._owe(items)
            refusals += filter(of_all, [error])
            return False
        except StoreUnavailable:
            self._lose(call, slot, sent, partial(self._told, items))
            return None
        gate.answered(call)
        refusals += filter(of_all, [error_of(outcome) for outcome in reply[1:] if not isinstance(outcome, int)])
        return self._charged(items, reply[1:])

    async def _charge_there(self, gate: NodeGate, slot: int, items: Sequence[Item]) -> bool:
        """Each counter by itself, wherever it is by now, and without a number. Whether all of it was charged."""
        by_key: defaultdict[str, list[Item]] = defaultdict(list)
        for item in items:
            by_key[item.key].append(item)
        return all(await asyncio.gather(*[self._charge_one(gate, slot, some) for some in by_key.values()]))

    async def _charge_one(self, gate: NodeGate, slot: int, items: Sequence[Item]) -> bool:
        written = partial(self._scripts.settlement, self._keys.prefix, items)
        try:
            _, outcomes = outcomes_of(await gate.call_there(slot, written, self._patience), len(items))
        except Replied:  # nothing was done
            self._owe(items)
            return False
        except StoreUnavailable:  # nobody knows: then it counts as charged
            outcomes = [DONE] * len(items)
        return self._charged(items, outcomes)

    def _told(self, items: Sequence[Item], told: list[bytes] | None) -> None:
        """What became of a lost call."""
        if told is None:
            self._owe(items)
        else:  # nobody knows: then it counts as charged
            self._charged(items, [int(digit) for digit in told[0].decode()] if told else [DONE] * len(items))

    def _charged(self, items: Sequence[Item], outcomes: Sequence[int | bytes]) -> bool:
        again = []
        for item, outcome in zip(items, outcomes, strict=True):
            why = "" if isinstance(outcome, int) else str(error_of(outcome))
            if outcome == DONE:
                self._local.settled(item)
            elif outcome == OVER:
                self._local.journal.forget(item)
            elif why.startswith(DAMAGED):
                extra = fields("counter_damaged", units=item.units, counter=item.key, reason=why)
                what = "%d units are not charged, the counter %s is damaged: %s"
                logger.error(what, item.units, item.key, why, extra=extra)
                self._local.journal.forget(item)
            else:
                again.append(item)
        self._owe(again)
        return not again

    def _owe(self, items: Iterable[Item]) -> None:
        for item in items:
            self._local.journal.owe(item)
