"""One call of lua/acquire for many callers: what is sent, and what its reply says to each.

The script says what its arguments and its reply are made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from itertools import chain, repeat
from typing import NamedTuple

from ratelimit.model import Decision, Lease, State, StoreUnavailable
from ratelimit.stores.callers import Caller, Charges, Tariff
from ratelimit.stores.fate import Fates
from ratelimit.stores.local import Local
from ratelimit.stores.reserve import Block, new
from ratelimit.stores.scripts import Scripts
from ratelimit.stores.tickets import NOT
from ratelimit.stores.wire import Demoted, Refused, Reply, bulk, error_of

OUTSIDE, FAILED, DENIED, PLAIN = -1, -2, 0, 1  # 2 is allowed with something to say


NO, ZERO = repeat(False), repeat(0)


class Again(Enum):
    """Why a request is to ask once more."""

    CLOCK = "the store's clock was in another period than ours"
    HERE = "a denial has arrived, or units ahead"
    ELSEWHERE = "another node of the cluster has the slot, or this one has it soon; nothing was done"


Outcome = Decision | Again | Refused


class Call(NamedTuple):
    """A request that waits for its decision until `deadline`, by the loop's clock."""

    result: asyncio.Future[Outcome]
    caller: Caller
    leases: tuple[Lease, ...]
    deadline: float


class Batch:
    """`sent` is by `time.monotonic`, `now_ms` what the store's clock is thought to be. `importing` if the node
    does not have the slot yet, `apart` if it is of one caller, whose slot is on its way. `local` goes on by itself
    where there is no reply."""

    def __init__(
        self,
        sent: float,
        now_ms: int,
        tariff_at: Callable[[Charges, int], Tariff],
        importing: bool = False,
        local: Local | None = None,
    ) -> None:
        self.importing = importing
        self.apart = False
        self.fates = Fates(local) if local else None
        self.calls: list[Call] = []
        self.blocks: dict[Caller, Block] = {}  # who was given units ahead
        self._asking: set[Caller] = set()
        self.demoted: Demoted | None = None
        self.sent = sent
        self._now_ms = now_ms
        self._tariff_at = tariff_at
        self._tariffs: dict[Tariff, bytes] = {}
        self._keys: list[bytes] = []
        self._callers: list[bytes] = []
        self._promised: dict[Caller, int] = {}
        self._count = 0  # of keys
        self._arguments = 1  # ARGV without the callers

    def spares(self, caller: Caller) -> bool:
        """Whether one more request of this caller need not be sent: it was denied meanwhile, or a unit that was taken
        ahead is promised to it."""
        if caller.refusal and caller.refusal_at(self.sent):
            return True
        block = caller.block
        if block is None or not block.alive(self.sent):
            return False
        promised = self._promised.get(caller, 0)
        self._promised[caller] = promised + 1
        return promised < block.left

    def add(self, call: Call) -> None:
        _, caller, leases, _ = call
        tariff = caller.tariff
        if not tariff.since_ms <= self._now_ms < tariff.until_ms:
            tariff = caller.tariff = self._tariff_at(caller.charges, self._now_ms)
        self.calls.append(call)
        number = self._tariffs.get(tariff)
        if number is None:
            number = self._tariffs[tariff] = bulk(len(self._tariffs) + 1)
            self._arguments += tariff.parts
        self._keys.append(caller.keys)
        self._count += tariff.size
        self._callers.append(number)
        if tariff.reserves:
            self._callers.append(bulk(self._wanted(caller)))
        for lease in leases:
            self._callers.append(bulk(lease.id))

    def command(self, scripts: Scripts, *, text: bool) -> bytes:
        tariffs = [tariff.wire for tariff in self._tariffs]
        arguments = self._arguments + len(self._callers)
        ticket = self.fates.ticket if self.fates else None
        if ticket is None:
            head = scripts.acquire.head(self._count, arguments, text=text)
            return b"".join([head, *self._keys, bulk(len(tariffs)), *tariffs, *self._callers])
        marker, number = bulk(ticket.marker), bulk(ticket.number)
        head = scripts.acquire_once.head(self._count + 1, arguments + 2, text=text)
        parts = [head, *self._keys, marker, bulk(len(tariffs)), *tariffs, *self._callers, bulk(len(self.calls)), number]
        return b"".join(parts)

    def resolve(self, reply: Reply, now: float) -> None:  # noqa: C901 - a table of verdicts, in one loop for speed
        """Tell each caller what the reply says to it. Raises what comes of reading it if it is no such reply."""
        now_ms, at, fates = reply[0], 1, self.fates
        for call in self.calls:
            result, caller, leases, _ = call
            tariff = caller.tariff
            verdict, at = reply[at], at + 1
            outcome: Outcome
            if verdict == PLAIN:
                outcome = _plain(caller, tariff, leases, now_ms, reply[at : at + tariff.size])
                at += tariff.size
            elif verdict == OUTSIDE:
                outcome = Again.CLOCK
            elif verdict == FAILED:
                self._failed(call, reply[at])
                at += 1
                continue
            else:
                outcome = _full(call, now_ms, verdict != DENIED, reply[at : at + 4 * tariff.size])
                at += 4 * tariff.size
                if verdict == DENIED:
                    caller.refused(outcome, self.sent, now)
            if fates:
                fates.saw(call, outcome, now_ms)
            if tariff.reserves and isinstance(outcome, Decision) and outcome.allowed:
                outcome = self._charged(caller, outcome, reply[at], reply[at + 1], now)
                at += 2
            if at > len(reply):
                break
            if not result.done():
                result.set_result(outcome)
        if at != len(reply):
            raise ValueError("the reply has another length")

    def fail(self, why: str) -> None:
        """Nothing was done for any of them."""
        for call in self.calls:
            fail(call, why)

    def give_up(self, why: str, deadline: float = float("inf")) -> None:
        """There is no reply for those who wait no longer than until then."""
        for call in self.calls:
            if call.deadline <= deadline and not call.result.done():
                call.result.set_exception(self.fates.give_up(call, why) if self.fates else StoreUnavailable(why))

    def _failed(self, call: Call, message: object) -> None:
        error = error_of(message)
        if isinstance(error, Demoted):
            self.demoted = error
            settle([call], error)
        else:
            fail(call, str(error))
        if self.fates:
            self.fates.tell(call, NOT)

    def _wanted(self, caller: Caller) -> int:
        """Units to take ahead with this request: only the first of a caller in a call asks, and when there are none."""
        pace, block = caller.pace, caller.block
        if pace is None or caller in self._asking or (block and block.alive(self.sent)):
            return 0
        self._asking.add(caller)
        return pace.wanted(self.sent)

    def _charged(self, caller: Caller, decision: Decision, units: int, for_ms: int, now: float) -> Decision:
        """The store has taken units ahead with a request, or none; it says for how long that sub-window goes on."""
        if not for_ms:
            return decision
        block = Block(units, decision, for_ms, sent=self.sent, arrived=now)
        if self.fates and self.fates.ticket:
            block.number = self.fates.ticket.number
        assert caller.pace  # noqa: S101 - that of a tariff that reserves
        caller.pace.charged(decision.now_ms + for_ms, block.deadline)
        if units:
            caller.block = self.blocks[caller] = block
        elif caller in self.blocks:
            block = self.blocks[caller]
            block.counts_in(decision)
        else:
            return decision
        return block.decision(now)


def everyone(batches: Iterable[Batch], waiting: Iterable[Call]) -> Iterable[Call]:
    """Who waits for a decision, under way or not."""
    return chain(*[batch.calls for batch in batches], waiting)


def earliest(batches: Iterable[Batch], waiting: Iterable[Call]) -> float | None:
    """When the first of them has waited for long enough."""
    # Not the first of the line: who asks twice has less time left than those who came in between.
    return min((call.deadline for call in everyone(batches, waiting) if not call.result.done()), default=None)


def fail(call: Call, why: str) -> None:
    if not call.result.done():
        call.result.set_exception(StoreUnavailable(why))  # an own one each: a traceback is added to where it is raised


def settle(calls: Iterable[Call], outcome: Again | Refused = Again.ELSEWHERE) -> None:
    """Nothing was done: each is to ask again, as it was told, and where its slot is by then."""
    for call in calls:
        if not call.result.done():
            call.result.set_result(outcome)


def _plain(caller: Caller, tariff: Tariff, leases: tuple[Lease, ...], now_ms: int, useds: Sequence[int]) -> Decision:
    """All was charged, and what else there is to say follows from the time: a number a charge."""
    # What State(charge, max, used, reset_after, length, False, 0, shadow) makes of each charge, in a third of the time.
    resets = tariff.resets(now_ms)
    rows = zip(caller.charges, tariff.maxes, useds, resets, tariff.lengths, NO, ZERO, tariff.shadows)  # noqa: B905
    return new(Decision, (True, now_ms, tuple(map(new, repeat(State), rows)), leases, False))


def _full(call: Call, now_ms: int, allowed: bool, said: Sequence[int]) -> Decision:
    """Denied, or allowed with something to say: four numbers a charge."""
    states = []
    for c, (charge, term) in enumerate(zip(call.caller.charges, call.caller.tariff.terms, strict=True)):
        exceeded, used, reset_after, retry_after = said[4 * c : 4 * c + 4]
        wait = None if retry_after < 0 else retry_after
        states.append(State(charge, term.max, used, reset_after, term.length_ms, exceeded == 1, wait, term.shadow))
    over = {state.charge.key for state in states if state.exceeded}
    held = tuple([lease for lease in call.leases if allowed and lease.key not in over])
    return Decision(allowed, now_ms, tuple(states), held)
