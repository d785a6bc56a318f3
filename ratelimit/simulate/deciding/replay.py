"""The requests of a log against one policy, in order of arrival: `Replay.step` is the path of a request, as the
middleware has it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from ratelimit.control.outcomes import SOON_MS, counts
from ratelimit.model import FOREVER, Decision, Limit, State
from ratelimit.policy import Policy
from ratelimit.simulate.deciding.callers import Identities, called
from ratelimit.simulate.deciding.calls import Operations
from ratelimit.simulate.deciding.rows import Asker, Rows
from ratelimit.simulate.events import Caller, Event
from ratelimit.stores.replay import Counter, InFlight, Ledger, Row

MOST_CALLERS = 250_000  # unless it is told: with all that is found of them some 2.5 kB each
_NOT_KNOWN = frozenset({0, 499})  # a status that the log does not have; a client who has hung up: nothing goes back

# What ends with a request: when it began, its slots, and of counters the units that go back, if they do.
_Ending = tuple[int, tuple[InFlight, ...], tuple[tuple[Counter, int, bool], ...]]


class Replay:
    """Of one policy. `saw` is called with each request that is decided, `exempt` with each that is exempt. `caller` is
    who asked for the last that was decided."""

    caller: Caller

    def __init__(
        self,
        policy: Policy,
        identities: Identities,
        operations: Operations,
        saw: Callable[[Event, Caller, Row, Decision | None], None],
        exempt: Callable[[Event], None] | None = None,
        most_callers: int = MOST_CALLERS,
    ) -> None:
        self.exempt = self.requests = self.denied = self.beyond = 0
        self.callers: dict[str, Caller] = {}
        self._policy = policy
        self._identities = identities
        self._operations = operations
        self._saw = saw
        self._exempted = exempt
        self._most = most_callers
        self._askers: dict[Any, Asker] = {}
        self._ledger = Ledger()
        self._rows = Rows(policy, self._ledger)
        self._ending: list[tuple[int, int, Any]] = []  # a heap: when a request is over, a number, its _Ending
        self._ends_at = FOREVER
        self._number = 0

    def step(self, event: Event) -> bool | None:
        """Whether the request is denied; None where it is exempt, or of a caller above the bound."""
        at, _, _, took, call, status, who, said = event
        if at >= self._ends_at:
            self._end(at)
        operation = self._operations.of(call, status) if said is None else self._operations.said(said)
        if operation is None:
            self.exempt += 1
            if self._exempted is not None:
                self._exempted(event)
            return None
        asker = self._askers.get(who)
        if asker is None:
            asker = self._asker(who)
            if asker is None:
                self.beyond += 1
                return None
        try:
            row = asker.rows[asker.operations.index(operation)]
        except ValueError:
            row = self._rows.of(asker, operation, at)
        decision = None
        self.requests += 1
        self.caller = caller = asker.caller
        if self._ledger.admit(row, at):
            allowed = True
        else:
            decision = self._decided(asker, operation, row, at)
            allowed = decision.allowed
            if not allowed:
                self.denied += 1
                caller.denied = True
        if allowed and row.plan.late:
            self._later(row, at, took, status, decision)
        self._saw(event, caller, row, decision)
        return not allowed

    def _asker(self, who: Any) -> Asker | None:
        """Whoever that is; None where there are as many callers as there may be."""
        identity = self._identities(who)
        name = called(identity)
        caller = self.callers.get(name)
        if caller is None:
            if len(self.callers) >= self._most:
                return None
            caller = self.callers[name] = Caller(name, identity.tier or self._policy.default_tier or "")
        asker = self._askers[who] = Asker(caller, identity)
        return asker

    def _decided(self, asker: Asker, operation: str, row: Row, at: int) -> Decision:
        """Something is exceeded: with all that the store says of it. A denial is told as the middleware tells it, where
        units may come back."""
        decision = self._ledger.decide(row, self._policy.charges(asker.identity, operation), at)
        if decision.allowed or not any(counter.pending for counter in row.counters):
            return decision
        states = [_soon(state, counter) for state, counter in zip(decision.states, row.counters, strict=True)]
        return Decision(False, at, tuple(states))

    def _later(self, row: Row, at: int, took: int, status: int, decision: Decision | None) -> None:
        """What ends with an admitted request: its slots, and what does not count with its status. What it exceeds in
        shadow was not taken."""
        plan, counters = row
        taken = [True] * len(counters) if decision is None else [not state.exceeded for state in decision.states]
        slots = tuple([counters[n] for n in plan.slots if taken[n]])
        back = tuple([(counters[n], plan.costs[n], _goes_back(plan.limits[n], status)) for n in plan.back if taken[n]])
        for counter, _, _ in back:
            counter.pending += 1
        self._number += 1
        heappush(self._ending, (at + took, self._number, (at, slots, back)))
        self._ends_at = self._ending[0][0]

    def _end(self, now: int) -> None:
        ending = self._ending
        while ending and ending[0][0] <= now:
            over: _Ending = heappop(ending)[2]
            at, slots, back = over
            for slot in slots:
                slot.leave()
            for counter, cost, goes_back in back:
                counter.pending -= 1
                if goes_back:
                    counter.give_back(cost, at)
        self._ends_at = ending[0][0] if ending else FOREVER


def _goes_back(limit: Limit, status: int) -> bool:
    return status not in _NOT_KNOWN and not counts(limit, status)


def _soon(state: State, counter: Counter) -> State:
    wait = state.retry_after_ms
    if state.exceeded and wait is not None and wait > SOON_MS and counter.pending:
        return state._replace(retry_after_ms=SOON_MS)
    return state
