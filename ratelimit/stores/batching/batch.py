"""One call of lua/acquire for many callers: what is sent, and what its reply says to each.

The script says what its arguments and its reply are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ratelimit.model import FOREVER, Decision, State, StoreUnavailable
from ratelimit.stores.batching.allotments import Allotment
from ratelimit.stores.batching.callers import BEHIND_MS, Caller, Charges, TermSet
from ratelimit.stores.batching.pending import Again, Outcome, Pending, fail, settle
from ratelimit.stores.batching.replies import AllowedDecision
from ratelimit.stores.connection.errors import NotMaster, error_of
from ratelimit.stores.connection.socket import Reply, bulk
from ratelimit.stores.fallback.doubt import CallDoubts
from ratelimit.stores.fallback.idempotency import NEVER_KNOWN, NOT
from ratelimit.stores.lua.scripts import FAILED, UNDECIDED, Scripts, time_of

if TYPE_CHECKING:
    from ratelimit.stores.fallback.gate import NodeGate

OUTSIDE, DENIED, PLAIN, TOLD = -1, 0, 1, 2  # the last is allowed with something to say


class Batch:
    """`sent` is by `time.monotonic`, `now_ms` what the store's clock is thought to be. `importing` if the node
    does not have the slot yet, `apart` if it is of one caller, whose slot is on its way. With an `account` this
    process goes on by itself where there is no reply."""

    def __init__(
        self,
        sent: float,
        now_ms: int,
        tariff_at: Callable[[Charges, int], TermSet],
        importing: bool = False,
        gate: NodeGate | None = None,
    ) -> None:
        self.importing = importing
        self.apart = False
        self.doubts = CallDoubts(gate.local) if gate else None
        self.calls: list[Pending] = []
        self.allotments: dict[Caller, Allotment] = {}  # who was given units ahead
        self._asking: set[Caller] = set()
        self.demoted: NotMaster | None = None
        self.sent = sent
        self._now_ms = now_ms
        self._tariff_at = tariff_at
        self._term_sets: dict[TermSet, bytes] = {}
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
        allotment = caller.allotment
        if allotment is None or not allotment.alive(self.sent):
            return False
        promised = self._promised.get(caller, 0)
        self._promised[caller] = promised + 1
        return promised < allotment.left

    def add(self, call: Pending) -> None:
        _, caller, leases, _ = call
        term_set = caller.term_set
        if not term_set.since_ms <= self._now_ms < term_set.until_ms:
            term_set = caller.term_set = self._tariff_at(caller.charges, self._now_ms)
        self.calls.append(call)
        number = self._term_sets.get(term_set)
        if number is None:
            number = self._term_sets[term_set] = bulk(len(self._term_sets) + 1)
            self._arguments += term_set.parts
        self._keys.append(caller.keys)
        self._count += term_set.size
        self._callers.append(number)
        if term_set.reserves:
            self._callers.append(bulk(self._wanted(caller)))
        for lease in leases:
            self._callers.append(bulk(lease.id))

    def command(self, scripts: Scripts, *, text: bool) -> bytes:
        term_sets = [term_set.wire for term_set in self._term_sets]
        ticket = self.doubts.ticket if self.doubts else None
        marker, number = ([bulk(ticket.marker)], ticket.number) if ticket else ([], b"")
        arguments = 1 + self._arguments + len(self._callers)
        head = scripts.acquire.head(self._count + len(marker), arguments, text=text)
        return b"".join([head, *self._keys, *marker, bulk(number), bulk(len(term_sets)), *term_sets, *self._callers])

    def resolve(self, reply: Reply, now: float) -> None:  # noqa: C901 - a table of verdicts, in one loop for speed
        """Tell each caller what the reply says to it. Raises what comes of reading it if it is no such reply."""
        now_ms, at, doubts = time_of(reply), 1, self.doubts
        for call in self.calls:
            result, caller, leases, _ = call
            term_set = caller.term_set
            verdict, at = reply[at], at + 1
            outcome: Outcome
            if verdict == PLAIN:
                outcome = AllowedDecision(caller.charges, term_set, now_ms, leases, reply[at : at + term_set.size])
                at += term_set.size
            elif verdict == OUTSIDE:
                outcome = Again.CLOCK
            elif verdict in {FAILED, UNDECIDED}:
                self._failed(call, reply[at], NOT if verdict == FAILED else NEVER_KNOWN)
                at += 1
                continue
            else:
                outcome = _full(call, now_ms, verdict, reply[at : at + 4 * term_set.size])
                at += 4 * term_set.size
                if verdict == DENIED:
                    caller.refused(outcome, self.sent, now)
            if doubts:
                doubts.saw(call, outcome, now_ms)
            if term_set.reserves and isinstance(outcome, Decision) and outcome.allowed:
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
                call.result.set_exception(self.doubts.give_up(call, why) if self.doubts else StoreUnavailable(why))

    def _failed(self, call: Pending, message: object, charged_at: int) -> None:
        error = error_of(message)
        if isinstance(error, NotMaster):
            self.demoted = error
            settle([call], error)
        elif charged_at and self.doubts and not call.result.done():
            call.result.set_exception(self.doubts.give_up(call, str(error)))
        else:
            fail(call, str(error))
        if self.doubts:
            self.doubts.tell(call, charged_at)

    def _wanted(self, caller: Caller) -> int:
        """Units to take ahead with this request: only the first of a caller in a call asks, and when there are none."""
        demand, allotment = caller.demand, caller.allotment
        if demand is None or caller in self._asking or (allotment and allotment.alive(self.sent)):
            return 0
        self._asking.add(caller)
        return demand.wanted(self.sent)

    def _charged(self, caller: Caller, decision: Decision, units: int, for_ms: int, now: float) -> Decision:
        """The store has taken units ahead with a request, or none; it says for how long that sub-window goes on."""
        if not for_ms:
            return decision
        if units < 0 or not 0 < for_ms <= BEHIND_MS:
            raise ValueError(f"{units} units for {for_ms} ms")
        allotment = Allotment(units, decision, for_ms, sent=self.sent, arrived=now)
        if self.doubts and self.doubts.ticket:
            allotment.number = self.doubts.ticket.number
        assert caller.demand  # noqa: S101 - that of a tariff that reserves
        caller.demand.charged(decision.now_ms + for_ms, allotment.deadline)
        if units:
            caller.allotment = self.allotments[caller] = allotment
        elif caller in self.allotments:
            allotment = self.allotments[caller]
            allotment.counts_in(decision)
        else:
            return decision
        return allotment.decision(now)


def _full(call: Pending, now_ms: int, verdict: int, said: Sequence[int]) -> Decision:
    """Denied, or allowed with something to say: four numbers a charge."""
    allowed = verdict == TOLD
    if verdict not in (DENIED, TOLD) or min(said) < -1 or max(said) > FOREVER:
        raise ValueError("a number that is none of ours")
    states = []
    for c, (charge, term) in enumerate(zip(call.caller.charges, call.caller.term_set.terms, strict=True)):
        exceeded, used, reset_after, retry_after = said[4 * c : 4 * c + 4]
        wait = None if retry_after < 0 else retry_after
        states.append(State(charge, term.max, used, reset_after, term.length_ms, exceeded == 1, wait, term.shadow))
    if allowed is any(state.exceeded and not state.shadow for state in states):
        raise ValueError("a denial by no limit, or none by one that is exceeded")
    over = {state.charge.key for state in states if state.exceeded}
    held = tuple([lease for lease in call.leases if allowed and lease.key not in over])
    return Decision(allowed, now_ms, tuple(states), held)
