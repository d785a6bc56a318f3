"""Gives back what was taken ahead and not spent when its sub-window ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple

from ratelimit.model import Charge
from ratelimit.stores.batching.allotments import Allotment
from ratelimit.stores.batching.callers import Caller
from ratelimit.stores.connection.inflight import unheard
from ratelimit.stores.connection.link import Link
from ratelimit.stores.counting.allowed import TermSet
from ratelimit.stores.counting.terms import Item, Place
from ratelimit.stores.lua.scripts import Scripts

# Charges, how often they were charged, at which instant (ms, by the store's clock), and by the call of which number.
Owe = Callable[[Sequence[Charge], int, int, bytes], None]


class _Held(NamedTuple):
    caller: Caller
    term_set: TermSet
    connection: int
    timer: asyncio.TimerHandle


class Refunds:
    """Of one event loop.

    A refund is sent at most once, and over the connection over which the units were charged: behind a reconnect there
    may be a server that never heard of them.
    """

    def __init__(self, link: Link, scripts: Scripts) -> None:
        self._owe: Owe | None = None
        self._by_marker = False
        self._link = link
        self._scripts = scripts
        self._held: dict[Allotment, _Held] = {}

    def keep_account(self, owe: Owe, *, by_marker: bool) -> None:
        """What goes back is owed like anything else, and lost with no reply. Behind a reconnect it is dropped, unless a
        marker tells whether what was charged is still there."""
        self._owe, self._by_marker = owe, by_marker

    @property
    def by_marker(self) -> bool:
        """Whether a marker has to tell of something."""
        return self._by_marker and bool(self._held)

    def drop(self, after: bytes) -> None:
        """Of calls later than that what was charged is gone."""
        for allotment in self._held:
            if allotment.number > after:
                allotment.number = b""  # it can still be spent

    def expect(self, allotments: Mapping[Caller, Allotment]) -> None:
        """These were just given units. What came too late goes back at once."""
        loop = asyncio.get_running_loop()
        for caller, allotment in allotments.items():
            timer = loop.call_later(max(0.0, allotment.deadline - time.monotonic()), self._give_back, allotment)
            self._held[allotment] = _Held(caller, caller.term_set, self._link.number, timer)

    def forget(self, keys: Container[str]) -> None:
        """These counters were reset: what would go back to them is somebody else's by now."""
        for allotment, held in self._held.items():
            if any(charge.key in keys for charge in held.caller.charges):
                allotment.take_back()

    def give_all_back(self) -> None:
        for allotment in list(self._held):
            self._give_back(allotment)

    def _give_back(self, allotment: Allotment) -> None:
        held = self._held.pop(allotment)
        held.timer.cancel()
        units = allotment.take_back()  # first: what was sent back must never be spent
        same = self._link.number == held.connection
        if units and self._owe and allotment.number and (same or self._by_marker):
            self._owe(held.caller.charges, units, allotment.charged_at_ms, allotment.number)
        elif units and same and self._link.ready:
            self._link.send(self._command(held, allotment, units), unheard)

    def _command(self, held: _Held, allotment: Allotment, units: int) -> bytes:
        """With the script's text: after EVALSHA it would have to be sent a second time where the cache lost it."""
        caller, at_ms = held.caller, allotment.charged_at_ms
        charged = [one for one in zip(caller.charges, held.term_set.terms, strict=True) if one[0].cost]
        items = [Item(charge.key, Place.at(terms, at_ms), -units * charge.cost) for charge, terms in charged]
        return self._scripts.settlement(caller.prefix, items, text=True)
