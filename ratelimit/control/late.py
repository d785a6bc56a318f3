"""The app call of a request whose cost is known late: it may hold units, and its status may give some back."""

from __future__ import annotations

import os
from contextlib import suppress
from contextvars import Token
from functools import partial

from ratelimit.answers.headers import answer
from ratelimit.answers.inside import Inside, Response
from ratelimit.answers.response import Reported
from ratelimit.control.control import Control, new
from ratelimit.control.deferred import Door, Undecided
from ratelimit.control.outcomes import Waiting, any_units, conditional, counts
from ratelimit.log import ids
from ratelimit.model import (
    ASGIApp,
    Decision,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    State,
    StoreUnavailable,
    Style,
)
from ratelimit.slots.holding import attended
from ratelimit.slots.leases import Leases

FAILED = 500  # what an exception comes to that is raised before a response has begun


class Late:
    """Made as soon as it is decided: from then on its units are pending."""

    def __init__(self, app: ASGIApp, control: Control, operation: str, style: Style, log_id: str) -> None:
        self._app = app
        self._account = account = control.account
        self._control = control
        self._operation = operation
        self._style = style
        self._log_id = log_id
        self._headers: Headers = []
        self._hung_up = False
        self._named: Token[str] | None = None  # of the context in which it became known who is calling
        may_go_back = any_units if account.deferred else conditional
        self._waiting = account.pending.add(control.decision, may_go_back) if account.conditional else None
        self._telling = account.telling if account.deferred else None  # of the one decision that counts
        self._undecided: Undecided | None = None
        self._door: Door | None = None
        if account.deferred:
            self._control = self._undecided = undecided = new(Undecided, control)
            undecided.outer, undecided.around, undecided.told = control.outer, control.around, control.told
            undecided.on_decided = self._decided
        of = self._control
        of.inside = self._inside = Inside()
        of.waiting, of.operation, of.log_id = self._waiting, operation, log_id

    async def run(self, scope: Scope, receive: Receive, reported: Reported, leases: Leases) -> None:
        """Whatever becomes of it, nothing stays pending and nothing is held when it has ended."""
        decision = self._control.decision
        if self._undecided is not None:
            scope["ratelimit.control"] = self._undecided
            self._app = self._door = Door(self._app, decision, leases)
            decision = Decision(True, decision.now_ms, decision.states)  # its slots are held at the door
        try:
            await attended(self._call, scope, receive, reported, self._made_headers, decision, leases)
        except GeneratorExit:
            self._end(closed=True)
            raise
        finally:
            self._end(closed=False)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = Response(self._inside, send, partial(self._answer, scope, send), self._started)
        if self._account.conditional:
            receive = partial(self._hears, receive)
        try:
            await self._app(scope, receive, response.send)
        except Exception as error:
            if self._inside.denial is None:
                if not self._inside.begun:
                    await self._known(FAILED)
                raise
            await response.end()
            if not self._inside.raised(error):
                raise
        else:
            await response.end()

    def _made_headers(self) -> Headers:
        self._headers = [*self._style.headers(self._control.decision, self._control.identity, self._log_id)]
        if self._undecided is not None:
            self._headers.append((b"", b""))  # of the caller there may be some, where the address has none
        return self._headers

    async def _started(self, status: int) -> None:
        """Before the headers are written: they tell what is left after all."""
        await self._known(status)
        if (self._control.changed and self._headers) or self._undecided is not None:
            now = self._control.now()
            self._headers[:] = self._style.headers(now, self._control.identity, self._log_id)

    async def _hears(self, receive: Receive) -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            self._hung_up = True
        return message

    async def _known(self, status: int) -> None:
        """What does not count with this status goes back: of a client who has hung up nothing, whatever the app makes
        of that."""
        if self._waiting is None:
            return

        def goes_back(state: State) -> bool:
            return conditional(state.limit) and not (self._hung_up or counts(state.limit, status))

        try:
            await self._control.give_back(None, goes_back)
        finally:
            self._over()

    async def _answer(self, scope: Scope, send: Send, denied: Decision, failure: StoreUnavailable | None) -> None:
        """The style's whole answer to a request that is denied from inside."""
        account, identity = self._account, self._control.identity
        log_id = self._log_id or os.urandom(12).hex()
        if self._undecided is not None:
            self._headers.clear()
        whole = self._style.denied(denied, identity, log_id) if denied.states else self._style.unavailable(log_id)
        await self._known(whole.status)
        if account.conditional and denied.states:
            denied = account.pending.soon(self._control.later(denied))
            whole = self._style.denied(denied, identity, log_id)
        account.denials.report(denied, failure, self._operation, identity, log_id)
        account.cors.denied(scope)
        scope["ratelimit"], scope["ratelimit.identity"] = denied, identity
        await answer(whole, scope, send, denied, self._control)

    async def _decided(self, failure: StoreUnavailable | None, of_address: Decision | None) -> None:
        """For who it is, who holds from now on what that gave. What the address gave goes back meanwhile."""
        account, decision, identity = self._account, self._control.decision, self._control.identity
        waiting, self._waiting = self._waiting, None
        if self._telling:
            telling, self._telling = self._telling, None
            telling.decided(identity, self._operation, decision)
        account.begin(partial(self._go_back, of_address, waiting))
        if decision.allowed and not self._inside.begun:
            self._waiting = self._control.waiting = account.pending.add(decision)
        if decision.allowed and (decision.exceeded or decision.unavailable):
            if not self._log_id:
                self._log_id = self._control.log_id = os.urandom(12).hex()
                self._named = ids.log_id.set(self._log_id)
            account.denials.report(decision, failure, self._operation, identity, self._log_id)
        assert self._door  # noqa: S101 - the app runs, which was asked
        await self._door.take(decision, identity, account.local_leases if failure else account.leases)

    async def _go_back(self, of_address: Decision | None, waiting: Waiting | None) -> None:
        try:
            if of_address is not None:
                await self._account.give_back(of_address)
        finally:
            if waiting is not None:
                waiting.over()

    def _end(self, *, closed: bool) -> None:
        if self._telling:  # nobody has said who is calling
            telling, self._telling = self._telling, None
            telling.decided_late(self._control.identity, self._operation, self._control.decision)
        if self._undecided is not None:
            self._undecided.on_decided = None
        if self._named:
            named, self._named = self._named, None
            with suppress(ValueError):  # the app ran in another context than this
                ids.log_id.reset(named)
        self._over()
        self._inside.end()
        for holding in self._control.holding:
            holding.end(closed=closed)

    def _over(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.over()
