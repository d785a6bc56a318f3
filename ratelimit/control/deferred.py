"""A caller that is known later, by the app's own authentication: until then it is its address that asks."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

from ratelimit.answers.inside import DeniedInside
from ratelimit.control.control import Control
from ratelimit.ground.words import kind_of
from ratelimit.model import ANONYMOUS, ASGIApp, Decision, Identity, Receive, Scope, Send, State, StoreUnavailable
from ratelimit.slots.holding import Held
from ratelimit.slots.leases import Leases
from ratelimit.who import completed

_AT_THE_DOOR = Identity(tier=ANONYMOUS)  # the policy adds the address


class Deferred:
    """An `identify` for which a request is the address's, and anonymous, until the app says whose it is."""

    def __call__(self, scope: Scope) -> Identity:
        return _AT_THE_DOOR


def deferred() -> Deferred:
    """`RateLimitMiddleware(…, identify=deferred())`, for an app that finds out by itself who is calling: by FastAPI's
    `Security(…)`, say. At the door a request takes what an anonymous one takes from its address, or is denied. Then
    `Control.decide`, in FastAPI `decide(…)`, makes the decision for who it is, and gives that back."""
    return Deferred()


class Undecided(Control):
    """Of such a request. Until it is decided, and where it never is, it is that of the address."""

    _of_whom: tuple[Decision, Identity] | None = None
    _asked = False
    on_decided: Callable[[StoreUnavailable | None, Decision | None], Awaitable[None]] | None = None

    @property
    def decision(self) -> Decision:
        return self[1] if self._of_whom is None else self._of_whom[0]

    @property
    def identity(self) -> Identity:
        return self[2] if self._of_whom is None else self._of_whom[1]

    async def decide(self, identity: Identity | None) -> None:
        if identity is None or self._asked:
            return
        if not isinstance(identity, Identity):
            raise TypeError(f"decide needs an Identity, or None for who is not known; this is {kind_of(identity)}")
        if self.on_decided is None:
            raise RuntimeError("decide: the request has ended, or has not begun")
        self._asked = True
        account, on_decided = self.account, self.on_decided
        await self._decide_around(identity)
        identity = completed(identity, self.identity.ip, account.policy)
        again = self.decision.unavailable
        decision, failure = await account.acquire(identity, self.operation, self.outer, again=again)
        of_address = self.spent(None, _all)
        self._taken, self._later, self._given_back = None, {}, False
        self._of_whom = decision, identity
        await on_decided(failure, of_address)
        if not decision.allowed:
            self.deny(decision, "this request is over a limit of its caller", failure)

    async def _decide_around(self, identity: Identity) -> None:
        """By the policies around, the outermost first, as at the door: where one denies, this one takes nothing."""
        around = self.around
        while around is not None and not isinstance(around, Undecided):
            around = around.around
        if around is not None:
            around.raises = self.raises
            try:
                await around.decide(identity)
            except DeniedInside:
                await self.give_back(None, _all)
                raise


def _all(state: State) -> bool:
    return True


class Door:
    """The app call of such a request, and the slots that it holds: those of the address, then those of its caller."""

    def __init__(self, app: ASGIApp, decision: Decision, leases: Leases) -> None:
        self._app = app
        self._decision = decision
        self._leases = leases
        self._held: Held | None = None  # while the app runs
        self._scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._held = held = Held(scope, receive, send, self._decision, self._leases)
        try:
            await self._app(scope, held.receive, held.send)
        except GeneratorExit:
            held.let_go(sys._getframe().f_back)
            raise
        finally:
            self._held, self._scope = None, {}  # they refer to it in turn
            await held.end()

    async def take(self, decision: Decision, identity: Identity, leases: Leases) -> None:
        if decision.allowed:
            self._scope["ratelimit"], self._scope["ratelimit.identity"] = decision, identity
        if self._held is not None:
            await self._held.take(decision, leases)
        elif decision.leases:  # the app has ended meanwhile
            leases.hold(decision.leases)
            await leases.release(decision.leases)
