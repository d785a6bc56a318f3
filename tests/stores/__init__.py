"""The four stores under one movable clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from itertools import count
from typing import Any

import uvloop
from redis import Redis

from ratelimit.model import Charge, Concurrency
from ratelimit.stores.batching.queue import DecisionQueue
from ratelimit.stores.lua.scripts import NAMES, Script
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.records.record import FIRST, WIDTH, joined, opened
from ratelimit.stores.redis import RedisStore, _Side
from ratelimit.stores.routing.router import Router
from ratelimit.testing.contract import subject
from ratelimit.testing.contract.subject import charge as charge
from ratelimit.testing.contract.subject import quota as quota
from ratelimit.testing.contract.subject import rate as rate
from tests.servers import Server

CLOCK_LINE = "local time = redis.call('TIME')"
STORES = ("memory", "fakeredis", "valkey", "redis")
_LOADED = {name: Script.load(name) for name in NAMES}
SCRIPTS = {name: script for name, script in _LOADED.items() if CLOCK_LINE in script.text}  # those that go by the clock
_prefixes = (f"test{number}" for number in count())


def by_key(script: Script, key: str = "clock") -> Script:
    """The script by a clock that is a key, in ms: one text for every instant, which is compiled once."""
    assert script.text.count(CLOCK_LINE) == 1
    return Script.of(script.text.replace(CLOCK_LINE, f"local time = {{0, redis.call('GET', '{key}') * 1000}}"))


def open_slots(store: MemoryStore) -> int:
    """How many slots of concurrency limits are taken in it."""
    return sum(len(slots.leases) for slots in store._kept.slots.values())


def counters_of(store: MemoryStore) -> list[str]:
    """The keys of all that it keeps, be it only that nothing counts there any more."""
    table = store._kept.counters
    return [
        joined(name, table._whats[what])
        for shards in (table.callers._known, table.callers._anonymous)
        for part in shards.parts
        for name, kept in part.items()
        for what in opened(kept)[FIRST::WIDTH]
    ] + [key for part in store._kept.slots.parts for key in part]


def forget(store: MemoryStore) -> None:
    """What its timer does on an event loop: drop all that no longer matters."""
    while store._forget_some() is False:
        pass


BY_KEY = {name: by_key(script) for name, script in SCRIPTS.items()}


class Subject(subject.Subject):
    """A store whose clock stands where it is put. The scripts on Redis have their one clock line replaced: by the
    instant, or where a `server` is given by a key that has it."""

    _clock: Redis | None = None
    _by_key: Mapping[str, Script] = BY_KEY

    def __init__(self, name: str, redis: Any = None, server: Server | None = None) -> None:
        self.name = name
        if server:
            self._clock = server.client()
        self.prefix = next(_prefixes)  # every subject its own: nothing is ever flushed
        self.now_ms = 0
        self.store: MemoryStore | RedisStore
        if redis is None:
            self.store = MemoryStore(clock=lambda: self.now_ms)
        else:
            self.store = RedisStore(redis, prefix=self.prefix, timeout=10.0)

    def at(self, now_ms: int) -> Subject:
        self.now_ms = now_ms
        if isinstance(self.store, RedisStore):
            if self._clock:
                self._clock.set("clock", now_ms)
            for name, script in SCRIPTS.items():
                setattr(self.store.scripts, name, self._by_key[name] if self._clock else at(script, now_ms))
        return self

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        """Run a test on a loop of its own, and close the store's connection with it; Valkey's on uvloop."""

        async def main() -> None:
            try:
                await test
            finally:
                await self.store.close()
                if self._clock:
                    self._clock.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop if self.name == "valkey" else None) as runner:
            runner.run(main())


def side_of(store: Any) -> _Side:
    """What a store has on the event loop that runs, or on the only one that it was used on."""
    try:
        return store._side()
    except RuntimeError:
        (side,) = store._sides.values()
        return side


def router_of(store: Any) -> Router:
    return side_of(store).router


def nodes_of(store: Any) -> Any:
    return router_of(store).nodes


def queue_of(store: Any) -> DecisionQueue:
    """Of the node that is the only one."""
    (queue,) = nodes_of(store).queues()
    return queue


def in_three_threads(test: Callable[[], Coroutine[Any, Any, list[bool]]]) -> list[bool]:
    """What a test returns from three event loops at once, together."""
    seen: list[bool] = []
    threads = [threading.Thread(target=lambda: seen.extend(asyncio.run(test()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def at(script: Script, now_ms: int) -> Script:
    assert script.text.count(CLOCK_LINE) == 1
    seconds, ms = divmod(now_ms, 1000)
    return Script.of(script.text.replace(CLOCK_LINE, f"local time = {{'{seconds}', '{ms * 1000}'}}"))


def concurrency(maximum: int, lease_ms: int = 60_000, **rest: Any) -> Charge:
    kind = Concurrency()
    object.__setattr__(
        kind, "lease_ms", lease_ms
    )  # shorter than anybody else may have it, where a test waits for its end
    return charge(kind, maximum, **rest)
