"""One call of lua/acquire for many callers: what is sent, and what its reply says to each.

The script says what its arguments and its reply are made of.
"""

from __future__ import annotations

from asyncio import InvalidStateError
from collections.abc import Sequence
from typing import Protocol

from ratelimit.model import FOREVER, Decision, State, StoreUnavailable
from ratelimit.stores.batching.allotments import Allotment
from ratelimit.stores.batching.callers import BEHIND_MS, Caller, SentTerms
from ratelimit.stores.batching.pending import Again, Extras, Outcome, Pending, fail
from ratelimit.stores.connection.errors import error_of, of_all
from ratelimit.stores.connection.socket import Reply, bulk
from ratelimit.stores.counting.allowed import AllowedDecision
from ratelimit.stores.lua.scripts import FAILED, UNDECIDED, Scripts, time_of

OUTSIDE, DENIED, PLAIN, TOLD = -1, 0, 1, 2  # the last is allowed with something to say


class Witness(Protocol):
    """Who goes on without the store where there is no reply, and wants to know what became of each request of a call.
    `receipt` is the marker of the call and its number, by which it can be asked about."""

    @property
    def receipt(self) -> tuple[str, bytes] | None: ...

    def saw(self, call: Pending, outcome: Outcome, now_ms: int) -> None:
        """The reply has come, perhaps too late."""

    def gave_up(self, call: Pending, why: str) -> StoreUnavailable:
        """There is none for somebody who waits no longer. What is raised there."""

    def failed(self, call: Pending, *, in_doubt: bool) -> None:
        """An error came of it: nothing was charged, or nobody will ever know."""


class Batch:
    """`sent` is by `time.monotonic`, `now_ms` what the store's clock is thought to be. `importing` if the node
    does not have the slot yet, `apart` if it is of one caller, whose slot is on its way. `calls` are the requests, and
    `keys` their keys as they are sent."""

    def __init__(self, sent: float, now_ms: int, importing: bool = False, witness: Witness | None = None) -> None:
        self.importing = importing
        self.apart = False
        self.witness = witness
        self.as_text = False  # it was sent with the script's text
        self.calls: list[Pending] = []
        self.keys: list[bytes] = []
        self.allotments: dict[Caller, Allotment] = {}  # who was given units ahead
        self._asking: set[Caller] = set()
        self.refused: StoreUnavailable | None = None  # why the server would refuse all
        self.sent = sent
        self._now_ms = now_ms
        self._term_sets: dict[bytes, bytes] = {}  # its number in the call, by what is sent of it
        self._term_set: SentTerms | None = None  # of the latest, and its number
        self._number = b""
        self._sizes = set[int]()  # how many charges a request has; 0 where more may be said of it than what is used
        self._listed = 0  # requests that are in what follows
        self._callers: list[bytes] = []
        self._count = 0  # of keys
        self._arguments = 2  # ARGV
        self._promised: dict[Caller, int] = {}

    @property
    def caller(self) -> Caller:
        """Of the first request."""
        return self.calls[0][1]

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

    def add(self, call: Pending) -> SentTerms:
        """Returns the terms by which it is sent. Who has the same and comes next, and has nothing else to send, need
        only be put into `calls` and `keys`."""
        _, caller, _, extras = call
        term_set = caller.term_set
        if not term_set.since_ms <= self._now_ms < term_set.until_ms:
            term_set = caller.refreshed(self._now_ms)
        if term_set is not self._term_set:
            self._list()
            self._begin(term_set)
        self.calls.append(call)
        self.keys.append(caller.keys)
        if extras or caller.special:
            self._list()
            self._add_more(caller, extras)
        return term_set

    def _begin(self, term_set: SentTerms) -> None:
        number = self._term_sets.get(term_set.wire)
        if number is None:
            number = self._term_sets[term_set.wire] = bulk(len(self._term_sets) + 1)
            self._arguments += term_set.parts
        self._term_set, self._number = term_set, number
        self._sizes.add(term_set.size)

    def _list(self) -> None:
        """The requests that have come since: all have the same terms."""
        if self._term_set and (more := len(self.calls) - self._listed):
            self._callers.append(self._number * more)
            self._count += self._term_set.keys * more
            self._arguments += more
            self._listed += more

    def _add_more(self, caller: Caller, extras: Extras | None) -> None:
        """What is sent of the latest behind its number."""
        more = list(extras.asked) if extras else []
        if caller.term_set.reserves:
            more.append(bulk(self._wanted(caller)))
        if extras and caller.caps:
            extras.leases.extend(caller.new_leases())
            more += [bulk(lease.id) for lease in extras.leases]
        self._callers += more
        self._arguments += len(more)
        self._sizes.add(0)

    def command(self, scripts: Scripts) -> bytes:
        self._list()
        receipt = self.witness.receipt if self.witness else None
        marker, number = ([bulk(receipt[0])], receipt[1]) if receipt else ([], b"")
        head = scripts.acquire.head(self._count + len(marker), self._arguments, text=self.as_text)
        term_sets = [bulk(len(self._term_sets)), *self._term_sets]
        return b"".join([head, *self.keys, *marker, bulk(number), *term_sets, *self._callers])

    def resolve(self, reply: Reply, now: float) -> None:  # noqa: C901 - a table of verdicts, in one loop for speed
        """Tell each caller what the reply says to it. Raises what comes of reading it if it is no such reply."""
        now_ms, at, witness = time_of(reply), 1, self.witness
        if witness is None and self._all_plain(reply):
            self._resolve_plain(reply, now_ms)
            return
        for call in self.calls:
            result, caller, _, extras = call
            term_set = caller.term_set
            verdict, at = reply[at], at + 1
            outcome: Outcome
            if verdict == PLAIN:
                held = tuple(extras.leases) if extras else ()
                outcome = AllowedDecision(caller.charges, term_set, now_ms, held, reply[at : at + term_set.size])
                at += term_set.size
            elif verdict == OUTSIDE:
                outcome = Again.CLOCK
            elif verdict in {FAILED, UNDECIDED}:
                self._failed(call, reply[at], in_doubt=verdict == UNDECIDED)
                at += 1
                continue
            else:
                outcome = _full(call, now_ms, verdict, reply[at : at + 4 * term_set.size])
                at += 4 * term_set.size
                if verdict == DENIED:
                    caller.refused(outcome, self.sent, now)
            if witness:
                witness.saw(call, outcome, now_ms)
            if term_set.reserves and isinstance(outcome, Decision) and outcome.allowed:
                outcome = self._charged(caller, outcome, reply[at], reply[at + 1], now)
                at += 2
            if at > len(reply):
                break
            if not result.done():
                result.set_result(outcome)
        if at != len(reply):
            raise ValueError("the reply has another length")

    def _all_plain(self, reply: Sequence[int]) -> bool:
        """Whether each was let through and there is nothing else to say of it, and all have as many charges: the usual
        reply, which can be read by columns."""
        if len(self._sizes) != 1 or 0 in self._sizes:
            return False
        (size,) = self._sizes
        number, step = len(self.calls), 1 + size
        return len(reply) == 1 + number * step and reply[1::step].count(PLAIN) == number

    def _resolve_plain(self, reply: Sequence[int], now_ms: int) -> None:
        (size,) = self._sizes
        columns = [reply[2 + c :: 1 + size] for c in range(size)]
        for (result, caller, _, _), used in zip(self.calls, zip(*columns, strict=True), strict=True):
            try:  # noqa: SIM105 - costs nothing, and to ask whether somebody waits a sixth of the loop
                result.set_result(AllowedDecision(caller.charges, caller.term_set, now_ms, (), used))
            except InvalidStateError:
                pass

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
            result, _, until, _ = call
            if until <= deadline and not result.done():
                result.set_exception(self.witness.gave_up(call, why) if self.witness else StoreUnavailable(why))

    def _failed(self, call: Pending, message: object, *, in_doubt: bool) -> None:
        error = error_of(message)
        if of_all(error):
            self.refused = error
        result = call[0]
        if in_doubt and self.witness and not result.done():
            result.set_exception(self.witness.gave_up(call, str(error)))
        else:
            fail(result, str(error))
        if self.witness:
            self.witness.failed(call, in_doubt=in_doubt)

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
        if self.witness and self.witness.receipt:
            _, allotment.number = self.witness.receipt
        assert caller.demand  # noqa: S101 - a term set that reserves has one
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
    _, caller, _, extras = call
    states = list[State]()
    counted_ms: tuple[int, ...] = ()
    for c, (charge, term) in enumerate(zip(caller.charges, caller.term_set.terms, strict=True)):
        exceeded, used, reset_after, later = said[4 * c : 4 * c + 4]
        wait = (None if later < 0 else later) if exceeded else 0
        counted_ms += (now_ms if exceeded else now_ms + later,)
        states.append(State(charge, term.max, used, reset_after, term.length_ms, exceeded == 1, wait, term.shadow))
    if allowed is any(state.exceeded and not state.shadow for state in states):
        raise ValueError("a denial by no limit, or none by one that is exceeded")
    over = {state.charge.key for state in states if state.exceeded}
    leases = extras.leases if extras and allowed else ()
    held = tuple([lease for lease in leases if lease.key not in over])
    now = (now_ms,) * len(states)
    return Decision(allowed, now_ms, tuple(states), held, counted_ms=counted_ms if counted_ms != now else ())
