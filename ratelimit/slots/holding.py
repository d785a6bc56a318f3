"""A request that holds slots of concurrency limits: while its work goes on, and not for ever if nobody waits for it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from types import FrameType, MethodType

from ratelimit.answers.headers import has_body, send_with_headers
from ratelimit.answers.response import Reported
from ratelimit.ground.loops import Loop, Task, ended, hand_over, interrupted, others_first, running, stopped
from ratelimit.log.ids import under
from ratelimit.model import ASGIApp, Decision, Headers, Lease, Message, Receive, Scope, Send
from ratelimit.slots.leases import Leases
from ratelimit.stores import LocalLimiter


async def attended(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    reported: Reported,
    headers: Callable[[], Headers],
    decision: Decision,
    leases: Leases,
) -> None:
    """The app call of a request with something to say in the log, or with slots to give back."""
    held = Held(scope, receive, reported.send, decision, leases) if decision.leases else None
    receive, send = (held.receive, held.send) if held else (receive, reported.send)
    try:
        ours = headers()
        if leases.at_once:
            await others_first()
        if ours:
            send = MethodType(send_with_headers, (send, ours, scope["ratelimit.control"], scope))
        log_id = reported.log_id
        await (under(log_id, app, scope, receive, send) if log_id else app(scope, receive, send))
    except GeneratorExit:
        closer = sys._getframe().f_back
        if held:
            held.let_go(closer)
        if interrupted(closer):
            reported.drop()  # rather a line less than to wait for a lock of the log that this thread holds
        raise
    finally:
        reported.end()
        if held:
            await held.end()


class Held:
    """Wraps `send`, to know when the work is done, and `receive`, to know whether somebody waits for it.

    A release is on the wire before the server has the app's last message: who sends one request after the other is
    never denied by a concurrency limit of one, where that message follows the last byte without a wait.

    A hang-up is an http.disconnect that the app receives, a `send` that raises, or an http.disconnect that is received
    here while the app works and does not ask: from the first renewal on, and only when the body was read to its end,
    as asking for more of it is up to the app. What was received here is handed on when the app asks.
    """

    __slots__ = (
        "_asking",
        "_body_read",
        "_context",
        "_decision",
        "_hung_up",
        "_leases",
        "_listening",
        "_loop",
        "_receive",
        "_received",
        "_scope",
        "_send",
        "_slots",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, decision: Decision, slots: Leases) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._decision = decision
        self._leases: Sequence[Lease] = decision.leases
        self._slots = slots
        self._context = copy_context()  # the request's: an outer middleware's `receive` may look into it
        self._loop: Loop | None = None
        self._listening: Task | None = None
        self._received: deque[Message | Exception] = deque()  # here, and not handed on yet
        self._asking = 0  # calls of `receive` by the app that go on
        self._body_read: bool | None = None  # to its end; None: as its headers say whether there is one
        self._hung_up = False
        if self._leases:
            slots.hold(self._leases, self._look)

    async def send(self, message: Message) -> None:
        if self._leases and is_last(message):
            await self._release()
        try:
            await self._send(message)
        except Exception:
            self._hang_up()
            raise

    async def receive(self) -> Message:
        self._asking += 1
        try:
            while not self._received and self._listening and not self._listening.done():
                await ended(self._listening)  # not cancelled with the app that waits for it: no message is lost
            if not self._received:
                return self._saw(await self._receive())
            received = self._received.popleft()
        finally:
            self._asking -= 1
        if isinstance(received, Exception):
            raise received
        return received

    async def take(self, decision: Decision, slots: Leases) -> None:
        """Hold what this decision gave, in the place of what is held."""
        before, to = self._leases, self._slots
        self._decision, self._leases, self._slots = decision, decision.leases, slots
        if self._leases:
            slots.hold(self._leases, self._look)
        if self._hung_up:
            self._hung_up = False
            self._hang_up()
        if before:
            await to.release(before)

    async def end(self) -> None:
        """The app call has returned or raised."""
        listening, self._listening = self._listening, None
        if listening:
            self._stop(listening)
        await self._release()
        if listening:
            await stopped(listening)

    def let_go(self, closer: FrameType | None) -> None:
        """The app call was closed, by what runs in `closer`: nothing can be awaited."""
        listening, self._listening = self._listening, None
        if listening and self._loop and not hand_over(self._loop, self._stop, listening):
            _listeners.discard(self)
        leases, self._leases = self._leases, ()
        self._slots.let_go(leases, closer)

    async def _release(self) -> None:
        if self._leases:
            leases, self._leases = self._leases, ()
            await self._slots.release(leases)

    def _look(self) -> None:
        """It has run for half a lease: does somebody still wait?"""
        if self._body_read is None:
            self._body_read = not has_body(self._scope)
        busy = self._listening and not self._listening.done()
        if self._body_read and not (busy or self._asking or self._received or self._hung_up):
            self._loop = running()
            _listeners.add(self)
            self._listening = self._loop.create_task(self._listen(), context=self._context)

    async def _listen(self) -> None:
        """Until the caller has hung up or the app asks."""
        try:
            for _ in range(2):  # the empty body of a request without one comes first
                message = await self._receive()
                self._received.append(self._saw(message))
                if self._asking or self._hung_up or not self._body_read:
                    break
        except Exception as error:  # noqa: BLE001 - it is the app's, when it asks
            self._received.append(error)

    def _stop(self, listening: Task) -> None:
        listening.cancel()
        _listeners.discard(self)

    def _saw(self, message: Message) -> Message:
        if message["type"] == "http.request":
            self._body_read = not message.get("more_body", False)
        elif message["type"] == "http.disconnect":
            self._hang_up()
        return message

    def _hang_up(self) -> None:
        if self._leases and not self._hung_up:
            names = {state.charge.key: state.limit.name for state in self._decision.states}
            for lease in self._leases:
                self._slots.orphan(lease, names.get(lease.key, "?"))
        self._hung_up = True


_listeners: set[Held] = set()  # an event loop itself refers to its tasks weakly


class GivenHere:
    """The slots that this process gives by itself while the store is out of reach: of the event loop that runs."""

    def __init__(self, local: Callable[[], LocalLimiter]) -> None:
        self._local = local

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        return ()

    async def release(self, leases: Sequence[Lease]) -> None:
        await self._local().release(leases)


def is_last(message: Message) -> bool:
    """Whether it is the last of a response's body, whatever the client has by then: an app's work ends with it."""
    if message["type"] in ("http.response.body", "http.response.zerocopysend"):
        return not message.get("more_body", False)
    return bool(message["type"] == "http.response.pathsend")
