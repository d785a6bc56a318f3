"""One call of lua/acquire for many callers: who is in it, and what becomes of each."""

from __future__ import annotations

from typing import Protocol

from ratelimit.model import Decision, StoreUnavailable
from ratelimit.stores.batching.allotments import Allotment
from ratelimit.stores.batching.callers import BEHIND_MS, Caller, SentTerms
from ratelimit.stores.batching.pending import Again, Extras, Outcome, Pending, fail
from ratelimit.stores.batching.wire import DENIED, FEW, OUTSIDE, PLAIN, Arguments, all_plain, full, tell_plain
from ratelimit.stores.connection.errors import error_of, of_all
from ratelimit.stores.connection.socket import Reply, bulk
from ratelimit.stores.counting.allowed import admitted
from ratelimit.stores.lua.scripts import FAILED, UNDECIDED, Scripts, time_of


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
    does not have the slot yet, `apart` if it is of one caller, whose slot is on its way. `calls` are the requests,
    `keys` their keys and `terms` their terms as they are sent: a reply is read by these, as a caller may have others
    by then."""

    def __init__(self, sent: float, now_ms: int, importing: bool = False, witness: Witness | None = None) -> None:
        self.importing = importing
        self.apart = False
        self.witness = witness
        self.as_text = False  # it was sent with the script's text
        self.calls: list[Pending] = []
        self.terms: list[SentTerms] = []
        self.allotments: dict[Caller, Allotment] = {}  # who was given units ahead
        self._asking: set[Caller] = set()
        self.refused: StoreUnavailable | None = None  # why the server would refuse all
        self.sent = sent
        self._now_ms = now_ms
        self._arguments = Arguments()
        self.keys = self._arguments.keys
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
        only be put into `calls`, `keys` and `terms`."""
        _, caller, _, extras = call
        term_set = caller.term_set
        if not term_set.since_ms <= self._now_ms < term_set.until_ms:
            term_set = caller.refreshed(self._now_ms)
        if term_set is not self._arguments.term_set:
            self._arguments.begin(term_set)
        self.calls.append(call)
        self.keys.append(caller.keys)
        self.terms.append(term_set)
        if extras or caller.special:
            self._arguments.add(self._more(caller, extras))
        return term_set

    def command(self, scripts: Scripts) -> bytes:
        return self._arguments.command(scripts, self.witness.receipt if self.witness else None, text=self.as_text)

    def resolve(self, reply: Reply, now: float) -> None:  # noqa: C901 - a table of verdicts, in one loop for speed
        """Tell each caller what the reply says to it. Raises what comes of reading it if it is no such reply."""
        now_ms, at, witness = time_of(reply), 1, self.witness
        size = None if witness else self._arguments.size
        if size and len(self.calls) > FEW and all_plain(reply, len(self.calls), size):
            tell_plain(self.calls, self.terms, reply, size, now_ms)
            return
        for call, term_set in zip(self.calls, self.terms, strict=True):
            result, caller, _, extras = call
            verdict, at = reply[at], at + 1
            outcome: Outcome
            if verdict == PLAIN:
                held = tuple(extras.leases) if extras else ()
                outcome = admitted(caller.charges, term_set, now_ms, held, reply[at : at + term_set.size])
                at += term_set.size
            elif verdict == OUTSIDE:
                outcome = Again.CLOCK
            elif verdict in {FAILED, UNDECIDED}:
                self._failed(call, reply[at], in_doubt=verdict == UNDECIDED)
                at += 1
                continue
            else:
                outcome = full(call, term_set, now_ms, verdict, reply[at : at + 4 * term_set.size])
                at += 4 * term_set.size
                if verdict == DENIED:
                    caller.refused(outcome, term_set.until_ms, self.sent, now)
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

    def _more(self, caller: Caller, extras: Extras | None) -> list[bytes]:
        """What is sent of a request beside its keys."""
        more = list(extras.asked) if extras else []
        if caller.term_set.reserves:
            more.append(bulk(self._wanted(caller)))
        if extras and caller.caps:
            extras.leases.extend(caller.new_leases())
            more += [bulk(lease.id) for lease in extras.leases]
        return more

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
