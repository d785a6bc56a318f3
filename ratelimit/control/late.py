"""The app call of a request whose cost is known late: it may hold units, and its status may give some back."""

from __future__ import annotations

import os
from functools import partial

from ratelimit.answers.headers import answer
from ratelimit.answers.inside import Inside, Response
from ratelimit.answers.response import Reported
from ratelimit.control.control import Control
from ratelimit.control.outcomes import conditional, counts
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
        self._waiting = account.pending.add(control.decision) if account.conditional else None
        control.inside = self._inside = Inside()
        control.waiting, control.operation, control.log_id = self._waiting, operation, log_id

    async def run(self, scope: Scope, receive: Receive, reported: Reported, leases: Leases) -> None:
        """Whatever becomes of it, nothing stays pending and nothing is held when it has ended."""
        try:
            await attended(self._call, scope, receive, reported, self._made_headers, self._control.decision, leases)
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
        return self._headers

    async def _started(self, status: int) -> None:
        """Before the headers are written: they tell what is left after all."""
        await self._known(status)
        if self._control.changed and self._headers:
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
        whole = self._style.denied(denied, identity, log_id) if denied.states else self._style.unavailable(log_id)
        await self._known(whole.status)
        if account.conditional and denied.states:
            denied = account.pending.soon(self._control.later(denied))
            whole = self._style.denied(denied, identity, log_id)
        account.denials.report(denied, failure, self._operation, identity, log_id)
        account.cors.denied(scope)
        await answer(whole, scope, send, denied)

    def _end(self, *, closed: bool) -> None:
        self._over()
        self._inside.end()
        for holding in self._control.holding:
            holding.end(closed=closed)

    def _over(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.over()
