"""Gives back what was taken ahead and not spent when its sub-window ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

from ratelimit.stores.callers import Caller, Tariff
from ratelimit.stores.link import Link
from ratelimit.stores.local import Local
from ratelimit.stores.reserve import Block
from ratelimit.stores.scripts import Scripts
from ratelimit.stores.terms import LETTERS
from ratelimit.stores.unanswered import unheard
from ratelimit.stores.wire import bulk


class _Held(NamedTuple):
    caller: Caller
    tariff: Tariff
    connection: int
    timer: asyncio.TimerHandle


class Refunds:
    """Of one event loop.

    A refund is sent at most once, and over the connection over which the units were charged: behind a reconnect there
    may be a server that never heard of them.
    """

    def __init__(self, link: Link, scripts: Scripts) -> None:
        self._local: Local | None = None
        self._by_marker = False
        self._link = link
        self._scripts = scripts
        self._held: dict[Block, _Held] = {}

    def keep_account(self, local: Local, *, by_marker: bool) -> None:
        """What goes back is owed like anything else, and lost with no reply. Behind a reconnect it is dropped, unless a
        marker tells whether what was charged is still there."""
        self._local, self._by_marker = local, by_marker

    @property
    def by_marker(self) -> bool:
        """Whether a marker has to tell of something."""
        return self._by_marker and bool(self._held)

    def drop(self, after: bytes) -> None:
        """Of calls later than that what was charged is gone."""
        for block in self._held:
            if block.number > after:
                block.number = b""  # it can still be spent

    def expect(self, blocks: Mapping[Caller, Block]) -> None:
        """These were just given units. What came too late goes back at once."""
        loop = asyncio.get_running_loop()
        for caller, block in blocks.items():
            timer = loop.call_later(max(0.0, block.deadline - time.monotonic()), self._give_back, block)
            self._held[block] = _Held(caller, caller.tariff, self._link.number, timer)

    def give_all_back(self) -> None:
        for block in list(self._held):
            self._give_back(block)

    def _give_back(self, block: Block) -> None:
        held = self._held.pop(block)
        held.timer.cancel()
        units = block.take_back()  # first: what was sent back must never be spent
        same = self._link.number == held.connection
        if units and self._local and block.number and (same or self._by_marker):
            self._local.give_back(held.caller.charges, units, block.charged_at_ms, block.number)
        elif units and same and self._link.ready:
            self._link.send(self._command(held, block, units), unheard)

    def _command(self, held: _Held, block: Block, units: int) -> bytes:
        """With the script's text: after EVALSHA it would have to be sent a second time where the cache lost it."""
        arguments = [bulk(block.charged_at_ms)]
        for charge, term in zip(held.caller.charges, held.tariff.terms, strict=True):
            letter = LETTERS[term.kind]
            arguments += (bulk(letter), bulk(units * charge.cost), bulk(term.first), bulk(term.second))
        head = self._scripts.refund.head(held.tariff.size, len(arguments), text=True)
        return b"".join([head, held.caller.keys, *arguments])
