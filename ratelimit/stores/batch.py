"""One call of lua/acquire for many callers: what is sent, and what its reply says to each.

The script says what its arguments and its reply are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ratelimit.model import FOREVER, Decision, State, StoreUnavailable
from ratelimit.stores.call import Again, Call, Outcome, fail, settle
from ratelimit.stores.callers import BEHIND_MS, Caller, Charges, Tariff
from ratelimit.stores.fate import Fates
from ratelimit.stores.plain import Plain
from ratelimit.stores.reserve import Block
from ratelimit.stores.scripts import FAILED, Scripts, time_of
from ratelimit.stores.tickets import NOT
from ratelimit.stores.wire import Demoted, Reply, bulk, error_of

if TYPE_CHECKING:
    from ratelimit.stores.account import Account

OUTSIDE, DENIED, PLAIN, TOLD = -1, 0, 1, 2  # the last is allowed with something to say


class Batch:
    """`sent` is by `time.monotonic`, `now_ms` what the store's clock is thought to be. `importing` if the node
    does not have the slot yet, `apart` if it is of one caller, whose slot is on its way. With an `account` this
    process goes on by itself where there is no reply."""

    def __init__(
        self,
        sent: float,
        now_ms: int,
        tariff_at: Callable[[Charges, int], Tariff],
        importing: bool = False,
        account: Account | None = None,
    ) -> None:
        self.importing = importing
        self.apart = False
        self.fates = Fates(account.local) if account else None
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
        if caller.refusal_at(self.sent):
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
        now_ms, at, fates = time_of(reply), 1, self.fates
        for call in self.calls:
            result, caller, leases, _ = call
            tariff = caller.tariff
            verdict, at = reply[at], at + 1
            outcome: Outcome
            if verdict == PLAIN:
                outcome = Plain(caller.charges, tariff, now_ms, leases, reply[at : at + tariff.size])
                at += tariff.size
            elif verdict == OUTSIDE:
                outcome = Again.CLOCK
            elif verdict == FAILED:
                self._failed(call, reply[at])
                at += 1
                continue
            else:
                outcome = _full(call, now_ms, verdict, reply[at : at + 4 * tariff.size])
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

    def read(self, reply: Reply, now: float) -> StoreUnavailable | None:
        """Tell what the reply says; an error if it can't be read."""
        try:
            if not isinstance(reply, list):
                raise TypeError(f"{type(reply).__name__} instead of a list")  # noqa: TRY301 - as of what is in a list
            self.resolve(reply, now)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            unreadable = StoreUnavailable(f"what the server sent is no reply to the script: {error!r}")
            self.give_up(str(unreadable))
            return unreadable
        return None

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
        if units < 0 or not 0 < for_ms <= BEHIND_MS:
            raise ValueError(f"{units} units for {for_ms} ms")
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


def _full(call: Call, now_ms: int, verdict: int, said: Sequence[int]) -> Decision:
    """Denied, or allowed with something to say: four numbers a charge."""
    allowed = verdict == TOLD
    if verdict not in (DENIED, TOLD) or min(said) < -1 or max(said) > FOREVER:
        raise ValueError("a number that is none of ours")
    states = []
    for c, (charge, term) in enumerate(zip(call.caller.charges, call.caller.tariff.terms, strict=True)):
        exceeded, used, reset_after, retry_after = said[4 * c : 4 * c + 4]
        wait = None if retry_after < 0 else retry_after
        states.append(State(charge, term.max, used, reset_after, term.length_ms, exceeded == 1, wait, term.shadow))
    if allowed is any(state.exceeded and not state.shadow for state in states):
        raise ValueError("a denial by no limit, or none by one that is exceeded")
    over = {state.charge.key for state in states if state.exceeded}
    held = tuple([lease for lease in call.leases if allowed and lease.key not in over])
    return Decision(allowed, now_ms, tuple(states), held)
