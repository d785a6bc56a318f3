"""What the controls of one middleware have in common: its policy, its store, and what goes on when nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar, cast

from ratelimit.answers.cors import CorsInside
from ratelimit.answers.headers import apart
from ratelimit.control.outcomes import Pending, conditional
from ratelimit.ground.loops import Loop, Task, ended, running
from ratelimit.ground.memo import Recent
from ratelimit.ground.printable import in_a_line
from ratelimit.ground.words import did_you_mean, kind_of, listed
from ratelimit.log.denials import Denials
from ratelimit.log.outage import Outage, Verdict
from ratelimit.log.units import Untold
from ratelimit.model import Admitting, Charge, Decision, Identity, Limit, Scope, Store, StoreUnavailable, Style
from ratelimit.nesting import Level
from ratelimit.policy import Policy
from ratelimit.slots.leases import Leases
from ratelimit.stores import LocalLimiter
from ratelimit.stores.memory import MemoryStore
from ratelimit.telemetry.telling import Telling

T = TypeVar("T")
MIXES = 4096  # sets of charges by hand that are remembered


class Middleware(Protocol):
    """Where a control comes from, with the parts that it needs."""

    policy: Policy
    store: Admitting
    style: Style
    _scoped: Callable[[Scope], Style] | None
    _level: Level
    _leases: Leases
    _local: Callable[[], LocalLimiter] | None
    _denials: Denials
    _cors: CorsInside
    _outage: Outage
    _local_leases: Leases
    _telling: Telling | None


class Account:
    """Of one middleware. `late`: a request may cost another number than it was charged, so that its end matters.
    `conditional`: what it was charged may go back; `deferred`: all of it, as who is calling is known later."""

    def __init__(self, of: Middleware, *, deferred: bool = False, before: Account | None = None) -> None:
        self.policy = of.policy
        self.style, self.scoped, self.apart = of.style, of._scoped, apart(of.style)
        self.leases, self.local_leases, self.local = of._leases, of._local_leases, of._local
        self.denials, self.cors = of._denials, of._cors
        self.untold: Untold = before.untold if before else Untold()  # before an edit of the policy
        self.pending: Pending = before.pending if before else Pending()
        limits = [limit for tier in of.policy.tiers.values() for limit in tier if limit.mode != "off"]
        self.deferred, self.conditional = deferred, deferred or any(map(conditional, limits))
        self.late = deferred or self.conditional or any(limit.hold for limit in limits)
        self.telling, self._outage, self._store, self._level = of._telling, of._outage, of.store, of._level
        self._waits = not isinstance(of.store, MemoryStore)
        self._tasks: dict[object, tuple[Loop, Task]] = before._tasks if before else {}
        self._mixed: Recent[tuple[object, ...], tuple[Charge, ...]] = Recent(MIXES)

    def declared(self, limit: Limit) -> None:
        """A limit of an endpoint, besides those of the policy."""
        if limit.mode != "off":
            self.conditional = self.conditional or conditional(limit)
            self.late = self.late or self.conditional or limit.hold

    def store(self, verb: str) -> Store:
        """TypeError where the store, which somebody else has made, does not have it."""
        if not callable(getattr(self._store, verb, None)):
            raise TypeError(
                f"{verb}: the store is a {kind_of(self._store)}, which has no such method; give a RedisStore or a"
                " MemoryStore, or write it as ratelimit.Store has it"
            )
        return cast("Store", self._store)

    def charges(
        self, names: Sequence[str], identity: Identity, decision: Decision, outer: tuple[Level, ...]
    ) -> tuple[Charge, ...]:
        """One unit of each of these limits: of the caller's tier, whatever the operation, or among those that the
        request was charged to. The same tuple again for the same. LookupError for a name that is none of them."""
        names = tuple(dict.fromkeys(names))
        in_tier = self.policy.limits_of(identity)
        if not names:
            raise LookupError("no limit is named, so that nothing would be charged or held; name one or more")
        if all(name in in_tier for name in names):
            charges = self.policy.named(identity, names)
            return self._level.own(charges, outer) if outer else charges
        there = {state.limit.name: state.charge for state in decision.states}
        found: list[Charge] = []
        for name in names:
            if name in in_tier:
                found += self.charges((name,), identity, decision, outer)
            elif name in there:
                charge = there[name]
                found.append(Charge(charge.limit, charge.key, 1, charge.maxes, charge.stages))
            else:
                raise LookupError(_unknown(name, [*dict.fromkeys([*in_tier, *there])]))
        # The value holds the limits: their ids are not others' meanwhile.
        same = tuple([(charge.key, id(charge.limit), charge.maxes, charge.stages) for charge in found])
        known_charges = self._mixed.get(same)
        if known_charges is None:
            known_charges = tuple(found)
            self._mixed.put(same, known_charges)
        return known_charges

    async def acquire(
        self, identity: Identity, operation: str, outer: tuple[Level, ...], *, again: bool
    ) -> tuple[Decision, StoreUnavailable | None]:
        """The decision of a request, as at the door; without the store `on_failure` decides, perhaps `again`."""
        charges = self.policy.charges(identity, operation)
        charges = self._level.own(charges, outer) if outer else charges
        return await self.decided(self._store, charges, again=again)

    async def decided(
        self, store: Admitting, charges: Sequence[Charge], *, again: bool = False
    ) -> tuple[Decision, StoreUnavailable | None]:
        """What the store says, or without it `on_failure`, and why it does not."""
        try:
            decision = await store.acquire(charges)
        except StoreUnavailable as error:
            return self.without_store(charges, error, again=again), error
        if self._outage.began is not None:
            self._outage.decided()
        return decision, None

    def without_store(
        self, charges: Sequence[Charge], failure: StoreUnavailable, units: int = 1, *, again: bool = False
    ) -> Decision:
        """What `on_failure` says: the only place where that is decided. `again`: of this request it was before."""
        allowed = self.policy.store.on_failure == "allow"
        if not again:
            verdict: Verdict = "decided locally" if self.local else "allowed" if allowed else "refused"
            self._outage.without(in_a_line(failure), verdict)
        if self.local:
            return self.local().decide(charges, failure, units)
        return Decision(allowed, now_ms=0, unavailable=True)

    async def finished(self, work: Callable[[], Awaitable[T]]) -> T:
        """What comes of it. It goes on to its end also where who waits for it is cancelled."""
        if not self._waits:
            return await work()
        results: list[T] = []
        errors: list[Exception] = []

        async def run() -> None:
            try:
                results.append(await work())
            except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
                errors.append(error)

        await ended(self.begin(run))
        if errors:
            raise errors.pop()  # it refers to this frame, and this frame no more to it
        if not results:  # the loop ends, and has cancelled it
            raise asyncio.CancelledError
        return results[0]

    def begin(self, work: Callable[[], Awaitable[None]]) -> Task:
        """Have the running loop do it, whether or not somebody waits."""
        key = object()

        async def run() -> None:
            try:
                await work()
            finally:
                self._tasks.pop(key, None)

        loop = running()
        task = loop.create_task(run())
        if not task.done():  # a factory of the app's may have it run at once
            self._tasks[key] = loop, task
            if isinstance(task, asyncio.Task):  # cancelled before it began, `run` does nothing
                task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return task

    async def told(self, verb: str, charges: Sequence[Charge], work: Callable[[], Awaitable[T]]) -> T | None:
        """What comes of asking the store; None, and a line in the log, where it is out of reach, waited for or not."""

        async def said() -> T | None:
            try:
                return await work()
            except StoreUnavailable as error:
                self.untold.tell(verb, names_of(charges), error)
                return None

        return await self.finished(said)

    async def give_back(self, spent: Decision) -> None:
        await self.told("refund", [s.charge for s in spent.states], partial(self.store("refund").refund, spent))

    async def close(self) -> None:
        """Wait for what this loop still has to tell the store, within the store's own timeout."""
        loop = running()
        for of, task in [*self._tasks.values()]:
            if of == loop:
                await ended(task)


def names_of(charges: Sequence[Charge]) -> str:
    return listed([charge.limit.name for charge in charges])


def _unknown(name: str, known: Sequence[str]) -> str:
    if not known:
        return f'there is no limit "{name}": this caller has none'
    names = listed(f'"{one}"' for one in known)
    hint = did_you_mean(name, known)
    return f'there is no limit "{name}"{f"{hint} This" if hint else "; this"} caller has {names}'
