"""The store on Redis or Valkey, shared by any number of processes: calls the scripts and reads their replies."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from ratelimit.loops import PerLoop
from ratelimit.model import Charge, Concurrency, Decision, Lease, Quota, Rate, State, StoreUnavailable
from ratelimit.stores.connection import Command, NoScript, Reply, connections
from ratelimit.stores.link import Link
from ratelimit.stores.terms import Terms, new_lease, terms_at

if TYPE_CHECKING:
    from redis.asyncio import Redis

KINDS = {Rate: "r", Quota: "q", Concurrency: "c"}
ATTEMPTS = 3  # 1, and 1 more where the store's clock is in another period than ours; a third only at the next midnight


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def load_script(name: str) -> Script:
    """A script of `ratelimit/stores/lua`."""
    return Script.of((files("ratelimit.stores") / "lua" / f"{name}.lua").read_text("utf-8"))


class RedisStore:
    """Keeps counters in Redis 7 or Valkey.

    `redis` is a URL (redis://, rediss://, unix://) or a client of redis.asyncio, of which only the connection settings
    are used. Every key begins with `prefix`. No call waits longer than `timeout` seconds. One connection an event loop.
    """

    def __init__(self, redis: str | Redis, *, prefix: str = "ratelimit", timeout: float = 0.1) -> None:
        self._pool = connections(redis)
        self._prefix = f"{prefix}:"
        self._timeout = timeout
        self._links = PerLoop(lambda: Link(self._pool, timeout))
        self._ahead_ms = 0  # the store's clock against ours, as last seen: only to guess the period it is in
        self.acquire_script = load_script("acquire")
        self.renew_script = load_script("renew")

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        if not charges:
            return Decision(allowed=True, now_ms=time.time_ns() // 1_000_000 + self._ahead_ms)
        deadline = self._deadline()
        now = time.time_ns() // 1_000_000 + self._ahead_ms
        keys = [self._prefix + charge.key for charge in charges]
        for _ in range(ATTEMPTS):
            terms = [terms_at(charge, now) for charge in charges]
            leases = {
                c: new_lease(charge.key, terms[c].lease_ms)
                for c, charge in enumerate(charges)
                if isinstance(charge.limit.kind, Concurrency)
            }
            arguments = _arguments(charges, terms, leases)
            try:
                reply = await self._evaluate(self.acquire_script, keys, arguments, deadline)
            except (StoreUnavailable, asyncio.CancelledError):
                self._post_release(leases.values())  # it may have been applied
                raise
            now = reply[0]
            self._ahead_ms = now - time.time_ns() // 1_000_000
            if len(reply) > 1:
                return _decision(charges, terms, leases, reply)
        raise StoreUnavailable("the clock of the store does not stand still between two calls")

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        keys = [self._prefix + lease.key for lease in leases]
        arguments = [argument for lease in leases for argument in (lease.id, lease.lease_ms)]
        kept = await self._evaluate(self.renew_script, keys, arguments, self._deadline())
        return [lease for lease, still_held in zip(leases, kept, strict=True) if not still_held]

    async def release(self, leases: Sequence[Lease]) -> None:
        self._post_release(leases)
        await self._link().wait_until_sent(self._deadline())

    async def close(self) -> None:
        if link := self._links.pop(asyncio.get_running_loop(), None):
            await link.close()

    def _post_release(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            self._link().post(("ZREM", self._prefix + lease.key, lease.id))

    async def _evaluate(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | int], deadline: float
    ) -> Reply:
        call: Command = (len(keys), *keys, *arguments)
        try:
            return await self._link().call(("EVALSHA", script.sha, *call), deadline)
        except NoScript:  # nothing was done; EVAL fills the cache again
            return await self._link().call(("EVAL", script.text, *call), deadline)

    def _link(self) -> Link:
        return self._links[asyncio.get_running_loop()]

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout


def _arguments(charges: Sequence[Charge], terms: Sequence[Terms], leases: dict[int, Lease]) -> list[str | int]:
    """ARGV of acquire.lua."""
    arguments: list[str | int] = [max(t.since_ms for t in terms), min(t.until_ms for t in terms)]
    for c, (charge, term) in enumerate(zip(charges, terms, strict=True)):
        second = leases[c].id if c in leases else term.second
        arguments += (KINDS[type(charge.limit.kind)], charge.cost, term.max, int(term.shadow), term.first, second)
    for c, term in enumerate(terms, start=1):
        for instant, maximum in term.later:
            arguments += (c, instant, maximum)
    return arguments


def _decision(
    charges: Sequence[Charge], terms: Sequence[Terms], leases: dict[int, Lease], reply: Sequence[int]
) -> Decision:
    """What acquire.lua returned, as a Decision."""
    allowed = reply[1] == 1
    states = []
    for c, (charge, term) in enumerate(zip(charges, terms, strict=True)):
        exceeded, used, reset_after, retry_after = reply[4 * c + 2 : 4 * c + 6]
        states.append(
            State(
                charge=charge,
                max=term.max,
                used=used,
                reset_after_ms=reset_after,
                window_ms=term.length_ms,
                exceeded=exceeded == 1,
                retry_after_ms=None if retry_after < 0 else retry_after,
                shadow=term.shadow,
            )
        )
    held = tuple(lease for c, lease in leases.items() if allowed and not states[c].exceeded and charges[c].cost)
    return Decision(allowed, reply[0], tuple(states), held)
