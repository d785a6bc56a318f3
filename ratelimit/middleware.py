"""The ASGI middleware: glue, and nothing else. `__call__` is the path of a request."""

from __future__ import annotations

import os
from copy import copy
from functools import partial
from types import MethodType

from ratelimit.answers.cors import CorsInside
from ratelimit.answers.headers import answer, send_with_headers, within_another
from ratelimit.answers.response import Reported
from ratelimit.answers.telling import refusal, scoped
from ratelimit.control.account import Account
from ratelimit.control.control import Control, new
from ratelimit.control.deferred import Deferred
from ratelimit.control.late import Late
from ratelimit.endpoints.start import limiting, started
from ratelimit.ground.loops import others_first
from ratelimit.ground.tracebacks import without_locals
from ratelimit.launches.running import running
from ratelimit.launches.upcoming import with_upcoming
from ratelimit.lifespan import Lifespan, as_it_is
from ratelimit.log import lines as log
from ratelimit.log.ids import under
from ratelimit.log.outage import Outage
from ratelimit.model import (
    Admitting,
    ASGIApp,
    Classify,
    Identify,
    Identity,
    Receive,
    Refused,
    Scope,
    Send,
    StoreUnavailable,
    Style,
)
from ratelimit.nesting import Level
from ratelimit.opening import check_holds, copied, denials_of, in_place_of, loaded, opened
from ratelimit.policy import Policy
from ratelimit.recording.recording import RecordedApp, always, recording_of
from ratelimit.reload.telling import reloads
from ratelimit.reload.watch import follow
from ratelimit.slots.ending import at_exit
from ratelimit.slots.holding import GivenHere, attended
from ratelimit.slots.leases import Leases
from ratelimit.stores import local_of
from ratelimit.switch import lenient, refusing_nobody, switched, unless_off
from ratelimit.telemetry.hook import Telemetry
from ratelimit.telemetry.telling import heard, telling
from ratelimit.waiting.turns import Turns
from ratelimit.websockets.handshake import handshake, spoken_to
from ratelimit.websockets.messages import Messages
from ratelimit.who import asking, identity_of, operation_of


class RateLimitMiddleware:
    """Limits what an ASGI app is asked for: requests, and the handshakes and messages of WebSockets.

    `policy` is a Policy or the path of a config file. `store` is a Store or its URL; without one the environment
    variable RATELIMIT_STORE_URL counts, then the policy's own, which is memory:// unless it says otherwise. `style`,
    `identify` and `classify` take the place of the policy's. An `identify` that returns None leaves a request to it, a
    `classify` that returns None exempts a request from every limit; one that returns anything else than a text is a
    TypeError that names it. With `identify=deferred()` of ratelimit.fastapi the app says later who is calling.
    `telemetry` is told what was decided: Prometheus() or OpenTelemetry() of ratelimit.telemetry, or one of yours.

    The app finds the Decision in `scope["ratelimit"]`, who was counted in `scope["ratelimit.identity"]`, and in
    `scope["ratelimit.control"]` the Control with which it charges, refunds and holds units by hand.
    Raises PolicyError with every problem of the file, and ValueError for the URL of a store that is not supported
    and for a RATELIMIT_MODE (off, shadow) that is none.
    """

    _spelled = False  # of the class: with more than 30 attributes of its own each is found more slowly

    @without_locals
    def __init__(
        self,
        app: ASGIApp,
        policy: Policy | str | os.PathLike[str],
        *,
        store: Admitting | str | None = None,
        style: Style | None = None,
        identify: Identify | None = None,
        classify: Classify | None = None,
        watch: bool = True,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.app = self._exempted = app
        self._own = style, identify, classify
        made = switched(policy if isinstance(policy, Policy) else loaded(policy))
        self._opened = opened(store, made)
        self._leases = Leases(self._opened)
        at_exit(self._leases, self._opened)
        self._local = local_of(self._opened) if made.store.on_failure == "local" else None
        self._denials = denials_of(made)
        self._recording = recording_of(made)
        self.app = RecordedApp(app) if self._recording else app
        self._cors = CorsInside(app)
        self._local_leases = Leases(GivenHere(self._local)) if self._local else self._leases
        self._outage = Outage(made.store.on_failure)
        reclaimed = [leases.reclaimed for leases in {self._leases, self._local_leases}]
        self._telling = telling(telemetry, made, self._opened, reclaimed, reloads)
        self._renewed: RateLimitMiddleware | None = None  # of a file that is watched: the same, under what is in force
        self._follower = None if isinstance(policy, Policy) or not watch else follow(self, made, policy)
        hearing = heard(self._telling, at_the_door=not isinstance(identify, Deferred))
        self._heard = always(hearing) if self._recording else hearing
        self._noted = self._heard(self._follower.note if self._follower else None)
        self._govern(made)
        if self._follower:
            self._renewed = copied(self)  # it decides: what is seen here may be another one in the middle of a request

    def _govern(self, policy: Policy, before: RateLimitMiddleware | None = None) -> None:
        """All that comes of the policy; under an edited one, of the same middleware as it was `before`."""
        style, identify, classify = self._own
        self.policy, self.store = policy, self._opened
        self.style = with_upcoming(style or policy.style, policy)
        self._scoped = scoped(self.style)
        self._identify = refusing_nobody(asking(identify, policy) if identify else policy.identify, policy)
        self._launches = running(policy, self._opened, self._denials)
        self._identify = self._launches.watching(self._identify) if self._launches else self._identify
        self._level = Level(policy, self.store, self._follower and self._follower.watch)
        self._only = (self._level,)  # of all requests: to add it to no others makes no tuple anew
        self._particular = self._scoped is not None or self.style.log_id_header is not None  # a style of each request
        account, lines = (before._account, before._turns) if before else (None, None)
        self._account: Account = Account(self, deferred=isinstance(identify, Deferred), before=account)
        own = classify or policy.classify
        routed = limiting(own, self._exempted, policy, self._account.declared, lenient(policy))
        self._classify = unless_off(routed, self)
        turns = Turns(policy, self.store, self._account.without_store, lines) if policy.waits else None
        self._turns: Turns | None = turns
        told = partial(started, classify=self._classify, policy=policy)
        self._lifespan = Lifespan(self.store, turns.closing if turns else as_it_is, told)
        self.store = turns.store if turns else self.store
        self.store = self._telling.timed(self.store) if self._telling else self.store
        self._handshakes: ASGIApp | None = None  # made for the first: a copy costs this object 0.4 µs a request

    def _under(self, policy: Policy) -> RateLimitMiddleware:
        """The same under an edited policy. ValueError where the store can't count what it limits."""
        check_holds(policy, self._opened)
        made = copied(self)
        made._renewed = None
        made._govern(in_place_of(switched(policy), self.policy), self)
        return made

    def _put(self, made: RateLimitMiddleware) -> None:
        """Whom `_under` has made decides from now on."""
        self._renewed = made
        if self._telling:
            self._telling.under(made.policy)
        for name in vars(self).keys() - {"_renewed"}:
            setattr(self, name, getattr(made, name))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: C901 - a request, in its steps
        if self._renewed is not None:
            self = self._renewed  # one policy for the whole request, whatever is edited meanwhile
        outer: tuple[Level, ...] = scope.get("ratelimit.policies", ())
        if scope["type"] != "http" or (outer and self._level.is_among(outer)):
            other = self._other(scope, outer)
            if other is not None:
                return await other(scope, receive, send)
        scope["ratelimit.policies"] = outer + self._only
        classify, identify, app = self._classify, self._identify, self.app  # called as attributes: 20 ns more each
        operation = classify(scope)
        if type(operation) is not str:
            try:
                operation = await operation_of(operation, classify, scope)
            except Refused as why:
                return await self._refuse(why, scope, send)
            if operation is None:
                if self._telling:
                    self._telling.undecided("exempt")
                return await self._exempted(scope, receive, send)
        try:
            identity = identify(scope)
            if type(identity) is not Identity:
                identity = await identity_of(identity, self.policy.identify)
        except Refused as why:
            return await self._refuse(why, scope, send)
        charges = self.policy.charges(identity, operation)
        if outer:
            charges = self._level.own(charges, outer)
        failure = None
        try:
            decision = await self.store.acquire(charges)
        except StoreUnavailable as error:
            failure = error.with_traceback(None)  # which refers to this frame
            decision = self._account.without_store(charges, error)
        if self._outage.began is not None and failure is None:
            self._outage.decided()
        if self._noted is not None:
            self._noted(identity, operation, charges, decision)
            if self._recording is not None:
                deferred = self._account.deferred
                send = self._recording.noted(scope, send, operation, identity, decision, deferred=deferred)
        notable, log_id, style = decision.notable, "", self.style
        if notable or self._particular:
            log_id = os.urandom(12).hex() if notable or style.log_id_header is not None else ""
            style = self._style(scope)
            if not decision.allowed:
                if self._turns and failure is None:
                    decision, failure, receive = await self._turns.waited(decision, charges, identity, scope, receive)
                    if self._recording and decision.allowed:
                        self._recording.waited(scope, decision)
                if self._telling:
                    self._telling.denied(identity, operation, decision, deferred=self._account.deferred)
                if not decision.allowed:
                    if self._account.conditional:
                        decision = self._account.pending.soon(decision)
                    self._denials.report(decision, failure, operation, identity, log_id)
                    denied = decision.states  # not so by a policy that denies without its store
                    whole = style.denied(decision, identity, log_id) if denied else style.unavailable(log_id)
                    self._cors.denied(scope)
                    return await answer(whole, scope, send, decision)
        scope["ratelimit"], scope["ratelimit.identity"] = decision, identity
        control = new(Control, (self._account, decision, identity))
        if outer:
            control.outer, control.around = outer, scope.get("ratelimit.control")
            within_another(control)
        scope["ratelimit.control"] = control
        if not (notable or decision.leases or self._account.late):
            headers = style.headers(decision, identity, log_id)
            if self._leases.at_once:
                await others_first()
            if headers:
                send = MethodType(send_with_headers, (send, headers, control, scope))
            if log_id:
                return await under(log_id, app, scope, receive, send)
            return await app(scope, receive, send)
        late = Late(app, control, operation, style, log_id) if self._account.late else None
        report = partial(self._denials.report, decision, failure, operation, identity) if notable else None
        reported = Reported(send, self.style.log_id_header, log_id, report)
        headers_of = partial(style.headers, decision, identity, log_id)
        leases = self._local_leases if decision.unavailable else self._leases
        if late:
            return await late.run(scope, receive, reported, leases)
        return await attended(app, scope, receive, reported, headers_of, decision, leases)

    def _other(self, scope: Scope, outer: tuple[Level, ...]) -> ASGIApp | None:
        """Who takes what is no request, or is limited already; None for a handshake that is spelled as a request."""
        if scope["type"] == "lifespan":
            if self._follower:
                self._follower.begin()
            return self._lifespan.of(self._launches.first(self.app) if self._launches else self.app, self._close)
        if scope["type"] != "websocket" or self._level.is_among(outer):
            return self.app
        return self._of_handshakes()

    def _of_handshakes(self) -> ASGIApp | None:
        """The same limiter, with an app that is spoken to as one of HTTP; None of that one."""
        if self._spelled or self._handshakes is not None:
            return self._handshakes
        other = copy(self)
        messages = Messages(self._account, self.store, self._level, self.style)
        other.app, other._exempted = spoken_to(self.app, messages.of), spoken_to(self.app, messages.of_exempt)
        other._spelled = True
        self._handshakes = partial(handshake, other)
        return self._handshakes

    async def _refuse(self, why: Refused, scope: Scope, send: Send) -> None:
        """A request of which it can't be said who asks: nothing is charged."""
        log_id = os.urandom(12).hex()
        if self._telling:
            self._telling.undecided("refused")
        self._denials.refused(why, self.policy.address(scope), log_id)
        await answer(refusal(self._style(scope), why, log_id), scope, send)

    def _style(self, scope: Scope) -> Style:
        """The style, with the scope for those of its methods that ask for it."""
        return self._scoped(scope) if self._scoped else self.style

    async def _close(self) -> None:
        if self._follower:
            self._follower.end()
        now = (self._follower.limiter if self._follower else None) or self  # under the policy that is in force
        if now._turns:
            now._turns.leave()
        self._outage.close()
        self._denials.close()
        if self._recording:
            self._recording.close()
        try:
            if launches := now._launches or self._launches:
                await launches.close()
            await self._account.close()
            await self._local_leases.close()
            await self._leases.close()
            await self.store.close()
        except StoreUnavailable as error:
            log.not_closed(error)
        finally:
            if self._telling:
                self._telling.close()
