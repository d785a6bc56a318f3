"""A request's hand on its own limits: what is left, what it used besides, what it gives back, what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from ratelimit.answers.headers import Told
from ratelimit.answers.inside import DeniedInside, Inside
from ratelimit.checks import values as checks
from ratelimit.control.account import Account
from ratelimit.control.hold import Holding, lease_ms
from ratelimit.control.outcomes import Waiting
from ratelimit.control.taken import Taken
from ratelimit.model import Charge, Decision, Identity, Scope, State, StoreUnavailable
from ratelimit.nesting import Level
from ratelimit.who import completed

Limits = str | Sequence[str]
new = tuple.__new__


class _Of(NamedTuple):
    """What a control is made of: with `new`, for the class itself goes through Python, which is twice as much."""

    account: Account
    decision: Decision
    identity: Identity


class Control(_Of):
    """Of one request, in `scope["ratelimit.control"]`.

    `limit` is the name of a limit of the caller's tier, whatever operations it is for, or of one that the request was
    charged to; or several, in one atomic step. Units by hand are units: `cost` does not multiply them. LookupError,
    with the names that there are, for any other. Where the store is out of reach nothing is raised: it is logged.
    """

    # Of the class, as they are the same for nearly all: to make a control has to cost next to nothing.
    inside: Inside | None = None
    raises: Callable[[str], Exception] = DeniedInside
    outer: tuple[Level, ...] = ()
    around: Control | None = None  # of the policy around this one
    told: Told | None = None  # what a policy within has told in the response; not None of one that has another around
    _taken: Taken | None = None
    _given_back = False
    _later: Mapping[str, State] = {}  # by counter, what was seen since the decision; not to be changed
    holding: tuple[Holding, ...] = ()  # that are open
    operation = log_id = ""
    waiting: Waiting | None = None  # for its status, where units may go back by it
    alone = False  # a hold of it went without the store: a request is counted once as such

    __eq__, __hash__ = object.__eq__, object.__hash__

    def left(self) -> dict[str, int]:
        """The units that remain, by limit: of those that the decision tells, and of those that were charged or held by
        hand. As of when each was last seen; other requests may have used some since."""
        states = {state.charge.key: state for state in self.decision.states} | dict(self._later)
        return {state.limit.name: state.remaining for state in states.values() if not state.shadow}

    async def charge(self, units: int, *, limit: Limits) -> None:
        """Count what was used already, also above the max, which the next requests pay for."""
        charges = self.charges(limit)
        store = self.account.store("charge")
        decision = await self.account.told("charge", charges, partial(store.charge, charges, units))
        if decision is not None:
            self.saw(decision.states)

    async def refund(self, units: int | None = None) -> None:
        """Give back what the request took, of each rate and quota so many units or all. RuntimeError for the second
        time. What is held is settled, and what was charged by hand stays."""
        try:
            checks.units(0 if units is None else units)
        except ValueError as error:
            raise ValueError(f"refund: units: {error}") from None
        if self._given_back:
            raise RuntimeError("refund: what this request took was given back already; that is done once")
        self.account.store("refund")
        self._given_back = True
        await self.give_back(units, lambda _: True)

    def hold(self, units: int, *, limit: Limits, deny: bool = True, lease: str = "60s") -> Holding:
        """`async with control.hold(4096, limit="tokens") as held`, of limits with `hold = true`: so many units are
        taken, what `held.settle(used)` says last was used, and the rest goes back at the end of the block. Never
        settled, all of it was used; nothing of it where the block raises before, or the request ends while it is open.

        Where they do not fit, the request is denied: this raises, and the client gets the style's whole 429 whatever
        the app makes of that. With `deny=False`, or once the response has begun, nothing is raised: see `held.allowed`
        and `held.retry_after`. Units of a process that dies are back within a `lease`, which is renewed meanwhile.
        """
        charges = self.charges(limit)
        return Holding(self.account, self, charges, units, lease_ms(lease), deny=deny)

    async def decide(self, identity: Identity | None) -> None:
        """Say who is calling, where the limiter was made with `identify=deferred()`: the request is decided as its own,
        and what the address gave at the door goes back; so by the limiters around that were made so. Once: what is said
        later changes nothing, as None does. Raises where that denies it, as a hold that does not fit; TypeError for
        what is no Identity."""
        raise RuntimeError("decide: this limiter asks who is calling at the door; make it with identify=deferred()")

    # What the rest of this room asks for.

    def charges(self, limit: Limits) -> tuple[Charge, ...]:
        names = (limit,) if isinstance(limit, str) else tuple(limit)
        return self.account.charges(names, self.identity, self.decision, self.outer)

    async def give_back(self, units: int | None, of: Callable[[State], bool]) -> None:
        """Of those limits, what the request took and has not given back."""
        if (spent := self.spent(units, of)) is not None:
            await self.account.give_back(spent)

    def spent(self, units: int | None, of: Callable[[State], bool]) -> Decision | None:
        """The same as what is to be refunded: nothing else gives it back any more."""
        if self._taken is None:
            self._taken = Taken(self.decision)
        if (spent := self._taken.give_back(units, of)) is not None:
            self.less({state.charge.key: state.charge.cost for state in spent.states}, spent.states)
        return spent

    def saw(self, states: Sequence[State]) -> None:
        """What the store says of counters now. What did not fit is said to who asked; it exceeds nothing afterwards."""
        seen = [state._replace(exceeded=False, retry_after_ms=0) if state.exceeded else state for state in states]
        self._later = {**self._later, **{state.charge.key: state for state in seen}}

    def less(self, units: Mapping[str, int], states: Sequence[State]) -> None:
        """So many units less are used by now; `states` are of where they were counted."""
        seen = []
        for state in states:
            now = self._later.get(state.charge.key, state)
            used = max(0, now.used - units[state.charge.key])
            seen.append(now._replace(used=used, reset_after_ms=now.reset_after_ms if used else 0))
        self.saw(seen)

    def now(self) -> Decision:
        """The decision as of what was seen since."""
        then, later = self.decision, self._later
        states = [later.get(state.charge.key, state)._replace(charge=state.charge) for state in then.states]
        return Decision(then.allowed, then.now_ms, tuple(states), then.leases, then.unavailable)

    def deny(self, decision: Decision, why: str, failure: StoreUnavailable | None) -> None:
        """Raises, unless the response has begun."""
        if self.inside is None:
            return
        error = self.raises(why)
        try:
            if self.inside.deny(decision, error, failure):
                raise error
        finally:
            del error  # it refers to this frame, and all that led here would be garbage

    def denied(self, by: Decision, units: int) -> Decision:
        """As a denial at the door would be: with the request's other limits; of what it costs, these units."""
        if not by.states:
            return by
        states = {state.charge.key: state for state in self.now().states}
        states |= {state.charge.key: state._replace(charge=replace(state.charge, cost=units)) for state in by.states}
        return Decision(False, by.now_ms, tuple(states.values()))

    def later(self, denied: Decision) -> Decision:
        """The same denial, with the request's other limits as of what was seen since."""
        now = {state.charge.key: state for state in self.now().states}
        states = [s if s.exceeded else now.get(s.charge.key, s)._replace(charge=s.charge) for s in denied.states]
        return Decision(False, denied.now_ms, tuple(states))

    def took(self, decision: Decision) -> None:
        """Of a hold, or tried to. What limits in shadow would deny is told in the log, as at the door."""
        self.saw(decision.states)
        if self.account.telling:
            self.account.telling.decided_as("hold", self.identity, self.operation, decision)
        if decision.allowed and decision.exceeded:
            of = self.operation, self.identity, self.log_id or os.urandom(12).hex()
            self.account.denials.report(decision, None, *of)

    @property
    def changed(self) -> bool:
        """Whether anything was seen since the decision."""
        return bool(self._later)


class OfExempt(Control):
    """Of a request that is exempt from every limit: nothing is left, nothing goes back, no limit has a name."""

    _said: Identity | None = None

    @property
    def identity(self) -> Identity:
        return self._said or self[2]

    async def refund(self, units: int | None = None) -> None:
        """It took nothing."""

    async def decide(self, identity: Identity | None) -> None:
        """It stays exempt, whoever asks; the app, which asks this control who that is, hears what it said."""
        if self._said is None and isinstance(identity, Identity):
            self._said = completed(identity, self[2].ip, self.account.policy) if self.account else identity

    def charges(self, limit: Limits) -> tuple[Charge, ...]:
        raise LookupError(f"there is no limit {limit!r}: this request is exempt from every limit")


def control_of(scope: Scope) -> Control:
    """The control of a request; without limits of one that is exempt. RuntimeError where no limiter saw it."""
    found = scope.get("ratelimit.control")
    if isinstance(found, Control):
        return found
    if "ratelimit.policies" in scope:
        return new(OfExempt, (None, Decision(True, now_ms=0), None))
    kind = "WebSocket" if scope["type"] == "websocket" else "request"
    raise RuntimeError(
        f"no limiter saw this {kind}, so that there is nothing to charge or hold: put RateLimitMiddleware around the"
        " app, app.add_middleware(RateLimitMiddleware, policy=…), or leave RateLimit out of the endpoint"
    )
