"""What processes share on Redis: what operators said, and reports; and what somebody else has written there."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

import pytest

from ratelimit.launches import shared as shared_module
from ratelimit.launches.shared import REPORTS, SAID, Shared, Word, shared_of
from ratelimit.model import Identity, StoreUnavailable
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.redis import RedisStore
from tests.clusters import Cluster
from tests.launches.test_report import Report, charge, would_deny
from tests.servers import Server

PREFIXES = (f"launch{number}" for number in count())
T = 1_772_359_200_000
Test = Callable[[Shared, RedisStore], Coroutine[Any, Any, None]]


def run(url: str, test: Test) -> str:
    prefix = next(PREFIXES)

    async def main() -> None:
        store = RedisStore(url, prefix=prefix, timeout=5)
        shared = shared_of(store)
        assert shared
        try:
            await test(shared, store)
        finally:
            await store.close()

    asyncio.run(main())
    return prefix


def test_words(valkey: Server) -> None:
    """The last word by its instant counts, whoever wrote it when; what was said long ago goes."""

    async def test(shared: Shared, _: RedisStore) -> None:
        assert await shared.words() == []
        await shared.say(Word(T + 5, paused=True))
        await shared.say(Word(T + 1, paused=False))
        assert await shared.words() == [Word(T + 1, paused=False), Word(T + 5, paused=True)]
        for at in range(SAID + 3):
            await shared.say(Word(T + 10 + at, paused=at % 2 == 0))
        words = await shared.words()
        assert (len(words), words[-1]) == (SAID, Word(T + 10 + SAID + 2, paused=True))
        assert abs(await shared.now_ms() - await shared.now_ms()) < 60_000

    prefix = run(valkey.unix_url, test)
    with valkey.client() as client:
        assert client.ttl(f"{prefix}:{{launch}}:paused") > 365 * 86_400


def test_what_is_no_word(valkey: Server) -> None:
    """It says nothing; a key of another type is a store that can't be read."""

    async def test(shared: Shared, store: RedisStore) -> None:
        key = f"{store.prefix}:{{launch}}:paused"
        for number, text in enumerate(("paused", "12 PAUSED", b"\xff\x00", "9999999999999999 paused", "-1 paused")):
            await store.ask("{launch}", "ZADD", key, number, text)
        assert await shared.words() == []
        await store.ask("{launch}", "SET", key, "x")
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            await shared.words()

    run(valkey.unix_url, test)


def test_reports(valkey: Server) -> None:
    """What each process wrote last is added up, and ends a week after its last word; what is none is counted."""
    one, other = Report(), Report()
    one.note(would_deny(charge()), Identity("acme"))
    other.note(would_deny(charge()), Identity("acme"))
    other.note(would_deny(charge("globex")), Identity("globex"))

    async def test(shared: Shared, store: RedisStore) -> None:
        assert await shared.gathered(5) == ([], 0, 0)
        await shared.write("one", one.written(64))
        for _ in range(2):
            await shared.write("other", other.written(64))
        gathered = await shared.gathered(5)
        assert (gathered.processes, gathered.unread) == (2, 0)
        ((name, _, denials, rows, _),) = gathered.limits
        assert (name, denials) == ("requests", 3)
        assert [(row.caller, row.denials) for row in rows] == [("organization=acme", 2), ("organization=globex", 1)]
        key = f"{store.prefix}:{{launch}}:report"
        await store.ask("{launch}", "SET", f"{key}:other", "[" * 100_000)
        await store.ask("{launch}", "ZADD", f"{key}s", T, "gone", T, "third")
        await store.ask("{launch}", "SET", f"{key}:third", json.dumps({"a": 1}))
        gathered = await shared.gathered(5)
        assert (gathered.processes, gathered.unread, gathered.limits[0].denials) == (1, 2, 1)

    prefix = run(valkey.unix_url, test)
    with valkey.client() as client:
        assert all(0 < client.ttl(key) <= 7 * 86_400 for key in client.scan_iter(f"{prefix}:*report:one"))


def test_processes_without_number(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reports of those that wrote last are kept; what is larger than any of ours is not read."""
    monkeypatch.setattr(shared_module, "REPORTS", 3)
    assert REPORTS > 3

    async def test(shared: Shared, store: RedisStore) -> None:
        for number in range(5):
            await shared.write(f"p{number}", [])
        assert (await shared.gathered(5)).processes == 3
        monkeypatch.setattr(shared_module, "LARGEST", 1)
        assert (await shared.gathered(5)).unread == 3

    run(valkey.unix_url, test)


def test_on_a_cluster(valkey_cluster: Cluster) -> None:
    """All keys are in one slot, and are found by the node that has it."""

    async def test(shared: Shared, _: RedisStore) -> None:
        await shared.say(Word(T, paused=True))
        await shared.write("one", [])
        assert await shared.words() == [Word(T, paused=True)]
        assert (await shared.gathered(5)).processes == 1
        assert await shared.now_ms() > T

    run(valkey_cluster.url, test)


def test_a_time_that_is_none() -> None:
    """A server that answers with anything else than its time is out of reach."""

    async def ask(*_: object) -> object:
        return [b"x"]

    with pytest.raises(StoreUnavailable, match="what the server sent is no time"):
        asyncio.run(Shared(ask, "p").now_ms())


def test_what_a_store_shares() -> None:
    """A store of one process shares nothing, and one that is gone is out of reach."""
    assert shared_of(MemoryStore()) is None
    shared = shared_of(RedisStore("redis://127.0.0.1:1"))
    assert shared
    gc.collect()
    with pytest.raises(StoreUnavailable, match="the store is gone"):
        asyncio.run(shared.words())
