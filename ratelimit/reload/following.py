"""A middleware whose policy is a file: which policy is in force for it, and which of its requests are noted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from weakref import ref

from ratelimit.endpoints.start import ready
from ratelimit.ground.loops import Loop, running
from ratelimit.launches.running import Running
from ratelimit.model import Admitting, Charge, Classify, Decision, Identity
from ratelimit.policy import Policy
from ratelimit.reload.callers import Callers

NOTED = 64  # requests of a tick, half a second: a twentieth of a percent of a processor

Noted = Callable[[Identity, str, Sequence[Charge], Decision], None]


class Limiter(Protocol):
    """A middleware. `_renewed` is the one under the policy that is in force."""

    policy: Policy
    store: Admitting
    _classify: Classify
    _renewed: Any
    _launches: Running | None
    _noted: Noted | None
    _heard: Callable[[Noted | None], Noted | None]

    def _under(self, policy: Policy) -> Any: ...

    def _put(self, made: Any) -> None: ...


class Watching(Protocol):
    callers: Callers

    def begin(self) -> None: ...


class Follower:
    """Of one middleware, which it does not keep: one that refers to itself would outlive its app.

    It is there for the event loops that the middleware has served on, while they are open.
    """

    def __init__(self, limiter: Limiter, watch: Watching, digest: str) -> None:
        self._limiter = ref(limiter)
        self.watch = watch
        self.digest = digest  # of the content that is in force
        self._left = NOTED
        self._loops: set[Loop] = set()

    def note(self, identity: Identity, operation: str, charges: Sequence[Charge], decision: Decision) -> None:
        """Some requests of each half second: the middleware asks for no more until the next one."""
        self._left -= 1
        if self._left < 0:
            self._arm(None)
            return
        self.begin()
        self.watch.callers.note(identity, operation, charges, decision)

    def begin(self) -> None:
        """On the loop that runs."""
        try:
            loop = running()
        except RuntimeError:  # neither asyncio nor trio: who knows when that ends
            return
        if loop not in self._loops:
            self._loops.add(loop)
            self.watch.begin()

    def end(self) -> None:
        """The loop that runs has served its last request."""
        self._loops.discard(running())

    def wanted(self) -> bool:
        for loop in list(self._loops):  # another thread may add one meanwhile
            if loop.is_closed():
                self._loops.discard(loop)
        if not self._loops:
            self.tick()  # so that the first request of another loop has it watched again
        limiter = self.limiter
        return bool(self._loops) and limiter is not None and limiter.policy.reload.watch

    def tick(self) -> None:
        self._left = NOTED
        self._arm(self.note)

    def forked(self) -> None:
        self._loops.clear()
        self.tick()

    @property
    def limiter(self) -> Any:
        """The one that decides; None once it is gone."""
        limiter = self._limiter()
        return limiter and (limiter._renewed or limiter)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """One that runs on asyncio, as far as can be told."""
        return next((loop for loop in list(self._loops) if isinstance(loop, asyncio.AbstractEventLoop)), None)

    def prepared(self, policy: Policy) -> Any:
        """The same limiter under another policy; None once it is gone. Raises what is wrong with that for its app."""
        limiter = self._limiter()
        if limiter is None:
            return None
        made = limiter._under(policy)
        ready(made._classify, made.policy)
        return made

    def put(self, prepared: Any, digest: str) -> None:
        """From now on requests are decided so; those that have begun go on as they were."""
        limiter = self._limiter()
        if limiter is not None:
            limiter._put(prepared)
            self.digest = digest
            self.tick()

    def _arm(self, noted: Noted | None) -> None:
        limiter = self.limiter
        if limiter is not None:
            limiter._noted = limiter._heard(noted)
