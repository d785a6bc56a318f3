"""Messages that an app receives, each charged as an operation: by the rates and quotas of its caller.

A slot is the connection's and is taken once, and a message has no status that a limit could count by. What is charged
is looked up with the first, and again where the app says later who is calling.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ratelimit.control.account import Account
from ratelimit.ground.loops import pause
from ratelimit.ground.memo import Recent
from ratelimit.model import (
    Admitting,
    Charge,
    Concurrency,
    Decision,
    Identity,
    Limit,
    Message,
    Receive,
    Scope,
    Send,
    StoreUnavailable,
    Style,
)
from ratelimit.nesting import Level
from ratelimit.websockets.closing import AGAIN_MS, Close, closing

Charges = tuple[Charge, ...]

LONGEST_MS = 10_000  # that a message waits in all: who does not read answers no ping, and is given up after some 20 s


@dataclass(slots=True)
class Dropped:
    """How many messages of a connection were dropped. The app finds it in `scope["ratelimit.dropped"]`."""

    count: int = 0


class Asking(Protocol):
    """The control of a handshake."""

    @property
    def identity(self) -> Identity:
        """Who is calling, as far as it is known by now."""


class Messages:
    """Of one middleware: what a message is charged, and who decides on it."""

    def __init__(self, account: Account, store: Admitting, level: Level, style: Style) -> None:
        self.operation = account.policy.websocket.messages
        self.on_excess = account.policy.websocket.on_excess
        self.denials = account.denials
        self.style = style
        self._account = account
        self._store = store
        self._level = level
        # The entry holds the charges, so that their id is not another's meanwhile.
        self._recent: Recent[int, tuple[Charges, Charges]] = Recent()

    def of(self, scope: Scope, receive: Receive, send: Send) -> Counted | None:
        """The messages of a connection, whose handshake was allowed; None where the policy charges none."""
        if self.operation is None:
            return None
        self.of_exempt(scope, receive, send)
        return Counted(self, scope, receive, send)

    def of_exempt(self, scope: Scope, receive: Receive, send: Send) -> None:
        """They are exempt too. What an app reads of its scope is there all the same."""
        if self.operation is not None and self.on_excess == "drop":
            # an object, as whoever copies the scope copies the reference
            scope.setdefault("ratelimit.dropped", Dropped())

    def charges(self, identity: Identity, outer: tuple[Level, ...]) -> Charges:
        """What a message takes; outside of this policy there are `outer`. The same tuple again for the same: a store
        remembers callers by it."""
        charges = self._account.policy.charges(identity, self.operation or "")
        known = self._recent.get(id(charges))
        if known is None:
            counted = tuple(charge for charge in charges if _counts_messages(charge.limit))
            known = charges, charges if counted == charges else counted
            self._recent.put(id(charges), known)
        return self._level.own(known[1], outer) if outer else known[1]

    def counted(self, identity: Identity, decision: Decision) -> None:
        """What became of a message."""
        if telling := self._account.telling:
            telling.decided_as("message", identity, self.operation or "", decision)

    async def decided(self, charges: Charges) -> tuple[Decision, StoreUnavailable | None]:
        """As on a request."""
        return await self._account.decided(self._store, charges)


class Counted:
    """Wraps `receive`: the app has a message when it is charged for. A `receive` that is cancelled takes no message.

    A connection that the limiter has closed is closed to the app as well: it receives websocket.disconnect, and
    a `send` raises ConnectionAbortedError, an OSError as of a client that is gone.
    """

    __slots__ = (
        "_charges",
        "_closed",
        "_control",
        "_dropped",
        "_identity",
        "_left",
        "_log_id",
        "_messages",
        "_outer",
        "_receive",
        "_send",
        "_unread",
    )

    def __init__(self, messages: Messages, scope: Scope, receive: Receive, send: Send) -> None:
        self._messages = messages
        self._control: Asking = scope["ratelimit.control"]  # of this policy: one within has its own in the scope then
        self._outer: tuple[Level, ...] = scope["ratelimit.policies"][:-1]
        self._identity: Identity | None = None  # that the charges are of
        self._charges: Charges = ()
        self._receive = receive
        self._send = send
        self._unread: deque[Message] = deque()  # of a `receive` that was cancelled
        self._closed: Close | None = None  # by us
        self._log_id = ""  # of this connection, once there is something to say
        self._dropped: Dropped = scope.get("ratelimit.dropped") or Dropped()
        self._left = False  # by the app, which has closed it

    async def receive(self) -> Message:
        while self._closed is None:
            message = self._unread.popleft() if self._unread else await self._receive()
            if message["type"] != "websocket.receive":
                return message
            try:
                if await self._admitted():
                    return message
            except BaseException:
                self._unread.append(message)
                raise
        return {"type": "websocket.disconnect", "code": self._closed.code, "reason": self._closed.reason}

    async def send(self, message: Message) -> None:
        if self._closed is None:
            self._left = self._left or message["type"] == "websocket.close"
            await self._send(message)
        elif message["type"] != "websocket.close":  # a second one says nothing
            raise ConnectionAbortedError(f"the connection was closed: {self._closed.reason}")

    async def _admitted(self) -> bool:
        """Whether the app may have a message: now, or after a wait."""
        if (identity := self._control.identity) is not self._identity:
            self._identity, self._charges = identity, self._messages.charges(identity, self._outer)
        if not self._charges:
            return True
        waited = 0
        while True:
            decision, failure = await self._messages.decided(self._charges)
            if not waited and (decision.exceeded or decision.unavailable):
                self._report(decision, failure, identity)
            if decision.allowed:
                self._messages.counted(identity, decision)
                return True
            if self._messages.on_excess == "drop":
                self._dropped.count += 1
                self._messages.counted(identity, decision)
                return False
            denying = decision.denying  # none of a policy that denies without its store
            wait = denying.retry_after_ms if denying else AGAIN_MS
            if self._messages.on_excess == "close" or wait is None or waited + wait > LONGEST_MS:
                self._messages.counted(identity, decision)
                await self._close(closing(decision, self._messages.style))
                return False
            waited += max(1, wait)
            await pause(wait / 1_000)

    async def _close(self, close: Close) -> None:
        self._closed = close
        if self._left:  # by another task of the app's
            return
        with suppress(OSError):  # of a client that is gone
            await self._send({"type": "websocket.close", "code": close.code, "reason": close.reason})

    def _report(self, decision: Decision, failure: StoreUnavailable | None, identity: Identity) -> None:
        self._log_id = self._log_id or os.urandom(12).hex()
        self._messages.denials.report(decision, failure, self._messages.operation or "", identity, self._log_id)


def _counts_messages(limit: Limit) -> bool:
    return not isinstance(limit.kind, Concurrency) and not limit.charge_on
