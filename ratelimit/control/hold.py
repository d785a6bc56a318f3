"""Units that a request holds until it knows how many it used: taken, renewed while its work goes on, settled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from ratelimit.checks import durations
from ratelimit.checks import values as checks
from ratelimit.control.account import Account, names_of
from ratelimit.control.outcomes import Waiting
from ratelimit.ground.loops import Loop, hand_over, running
from ratelimit.model import Charge, Decision, Hold, State, StoreUnavailable


class Requesting(Protocol):
    """The request that holds: its Control."""

    holding: tuple[Holding, ...]
    waiting: Waiting | None
    alone: bool

    @property
    def decision(self) -> Decision: ...

    def took(self, decision: Decision) -> None: ...

    def less(self, units: Mapping[str, int], states: Sequence[State]) -> None: ...

    def denied(self, by: Decision, units: int) -> Decision: ...

    def deny(self, decision: Decision, why: str, failure: StoreUnavailable | None) -> None: ...


class Holding:
    """`async with control.hold(…) as held`, once."""

    __slots__ = (
        "_account", "_charges", "_counted", "_decision", "_deny", "_lease_ms", "_loop", "_of", "_state", "_told",
        "_units", "_used",
    )  # fmt: skip

    _loop: Loop

    def __init__(
        self, account: Account, of: Requesting, charges: tuple[Charge, ...], units: int, lease_ms: int, *, deny: bool
    ) -> None:
        self._account = account
        self._of = of
        self._charges = charges
        self._units = units
        self._lease_ms = lease_ms
        self._deny = deny
        self._decision: Decision | None = None
        self._counted = 0  # units that this process has counted by itself, without the store: they stay
        self._used: int | None = None
        self._state = "new"  # then "open", then "over"
        self._told = False

    @property
    def allowed(self) -> bool:
        """Whether the units fitted, or `on_failure` lets them pass without the store."""
        return self.decision.allowed

    @property
    def retry_after(self) -> int | None:
        """Seconds until they would, rounded up; 0 where they do, None where they never will."""
        decision = self.decision
        if decision.allowed:
            return 0
        denying = self._account.pending.soon(decision, self._of.waiting).denying
        wait_ms = 1_000 if denying is None else denying.retry_after_ms  # no store: it is found back within a second
        return None if wait_ms is None else max(1, -(-wait_ms // 1000))

    def settle(self, used: int) -> None:
        """So many units were used by now; the last word counts, at the end of the block. More than was held is charged
        then, also above the max; where nothing is held, as it did not fit, all of it is."""
        try:
            checks.units(used)
        except ValueError as error:
            raise ValueError(f"settle: used: {error}") from None
        if self._state == "over":
            raise RuntimeError("settle: this hold is over, and told to the store; settle it in its block")
        self._used = used

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise RuntimeError("a hold is entered once; ask control.hold(…) for another one")
        self._state = "open"
        self._loop = running()
        self._of.holding += (self,)
        try:
            await self._take()
        except BaseException as error:
            self._break_off()
            self._post(closed=isinstance(error, GeneratorExit))
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._state == "over":  # the request has ended before
            return
        if self._used is None and kind is None and self.allowed:
            self._used = self._units
        self._break_off()
        if kind is GeneratorExit:
            self._post(closed=True)
        else:
            self._renew_no_more()
            await self._settle()

    def end(self, *, closed: bool = False) -> None:
        """The request has ended, or was `closed`, and this is open: as if its block had been broken off then."""
        self._break_off()
        self._post(closed=closed)

    @property
    def decision(self) -> Decision:
        """Over the limits that are held. RuntimeError before it is known."""
        if self._decision is None:
            raise RuntimeError("it is not known yet whether this hold fits: enter it, `async with control.hold(…)`")
        return self._decision

    def _break_off(self) -> None:
        """What was not said to be used is not, from now on."""
        self._used = self._used or 0
        self._state = "over"
        self._of.holding = tuple([one for one in self._of.holding if one is not self])

    async def _take(self) -> None:
        if not self._charges:  # these limits are switched off
            self._decision = Decision(True, self._of.decision.now_ms)
            return
        failure = None
        try:
            await self._account.finished(self._ask)
        except StoreUnavailable as error:
            failure = error.with_traceback(None)  # which refers to this frame
            self._decision = self._without_store(error)
        if self._state == "over":
            raise RuntimeError("hold: the request has ended meanwhile; nothing is held for it any more")
        decision = self.decision
        self._of.took(decision)
        if decision.hold is not None:
            self._account.leases.hold([decision.hold.lease])
        elif not decision.allowed and self._deny:
            what = f"{self._units} units of {names_of(self._charges)} can't be held: the request is denied"
            self._of.deny(self._of.denied(decision, self._units), what, failure)

    async def _ask(self) -> None:
        self._decision = await self._account.store("hold").hold(self._charges, self._units, self._lease_ms)
        if self._state == "over":  # who asked was cancelled before it knew
            await self._settle()

    def _without_store(self, failure: StoreUnavailable) -> Decision:
        """What `on_failure` says. Units that this process counts by itself, with "local", are counted for good."""
        account = self._account
        account.untold.tell("hold", names_of(self._charges), failure)
        # Perhaps it is held in the store as well, until its lease ends: nobody settles that.
        known = StoreUnavailable(str(failure))
        again, self._of.alone = self._of.alone or self._of.decision.unavailable, True
        decision = account.without_store(self._charges, known, self._units, again=again)
        if account.local is not None and decision.allowed:
            self._counted = self._units
        return decision

    def _post(self, *, closed: bool) -> None:
        """Have it settled, and wait for nothing. What closes a generator may be in the middle of anything, on another
        thread: then the loop does it, when it is next at it."""
        if closed:
            hand_over(self._loop, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._renew_no_more()
        if self._decision is None:  # it is settled when the store has decided
            return
        if self._used or self._decision.hold is not None:
            self._account.begin(self._settle)

    def _renew_no_more(self) -> None:
        decision = self._decision
        if decision is not None and decision.hold is not None:
            self._account.leases.drop([decision.hold.lease])

    async def _settle(self) -> None:
        """Once. A store out of reach is logged."""
        decision, used = self.decision, self._used or 0
        if self._told:
            return
        self._told = True
        if decision.hold is not None:
            await self._account.told("settle", self._charges, partial(self._tell, decision.hold, used))
        elif used > self._counted and self._charges:  # nothing is held
            store, more = self._account.store("charge"), used - self._counted
            await self._account.told("charge", self._charges, partial(store.charge, self._charges, more))

    async def _tell(self, hold: Hold, used: int) -> None:
        await self._account.store("settle").settle(hold, used)
        states = [state for state in hold.charged.states if state.charge.key in (hold.lease.counters or ())]
        self._of.less({state.charge.key: self._units - used for state in states}, states)


def lease_ms(lease: str) -> int:
    try:
        return durations.lease(lease)
    except ValueError as error:
        raise ValueError(f"hold: lease: {error}") from None
