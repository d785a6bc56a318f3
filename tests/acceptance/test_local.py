"""on_failure = "local": while the store is out of reach this process enforces the limits itself."""

from __future__ import annotations

import asyncio
import json

import pytest

from ratelimit import MemoryStore, RateLimitMiddleware, RedisStore, requests_without_store
from ratelimit.stores.fallback.slots import KnownSlots
from tests import servers
from tests.acceptance import ask, header, limited, plain, policy, run
from tests.acceptance.test_path_of_a_request import Away
from tests.stores import queue_of

LOCAL = '[store]\non_failure = "local"'
BOTH = '{ name = "requests", rate = "3/minute" }, { name = "in flight", concurrency = 1 }'


def test_a_store_that_is_away() -> None:
    """A request passes with its true headers until the limit is reached, then it is a 429 with Retry-After."""

    async def test() -> None:
        limiter = RateLimitMiddleware(plain, policy(more=LOCAL), store=Away())
        before = requests_without_store()["decided locally"]
        answers = [await ask(limiter) for _ in range(4)]
        assert [start["status"] for start, _ in answers] == [200, 200, 200, 429]
        remaining = [header(start, "x-ratelimit-remaining") for start, _ in answers]
        assert remaining == ["2", "1", "0", "0"]
        assert 60 <= int(header(answers[3][0], "retry-after") or 0) <= 61
        assert json.loads(answers[3][1]["body"])["errors"][0]["code"] == "RATE_LIMIT_EXCEEDED"
        assert requests_without_store()["decided locally"] == before + 4

    run(test())


def test_slots_that_are_given_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot is given back when its request ends, here and not to the store, which never heard of it."""
    taken: list[int] = []
    held: list[KnownSlots] = []
    make = KnownSlots.__init__

    def made(self: KnownSlots) -> None:
        make(self)
        held.append(self)

    monkeypatch.setattr(KnownSlots, "__init__", made)

    async def app(scope, receive, send) -> None:
        taken.append(sum(map(len, held[0]._given.values())))
        await plain(scope, receive, send)

    async def test() -> None:
        limiter = RateLimitMiddleware(app, policy(BOTH, more=LOCAL), store=Away())
        assert [(await ask(limiter))[0]["status"] for _ in range(3)] == [200] * 3
        assert (taken, held[0]._given, limiter._leases._held) == ([1, 1, 1], {}, {})

    run(test())


def test_a_store_in_memory_is_never_away() -> None:
    """With a store in memory the setting means nothing, and does no harm."""

    async def test() -> None:
        limiter = limited(plain, more=LOCAL)
        assert isinstance(limiter.store, MemoryStore)
        assert [(await ask(limiter))[0]["status"] for _ in range(4)] == [200, 200, 200, 429]

    run(test())


def test_from_the_store_and_back(valkey: servers.Server) -> None:
    """What the store counted holds without it, what was admitted without it holds when it is back."""

    async def test() -> None:
        store = RedisStore(valkey.unix_url, prefix="acceptance-local")
        limiter = RateLimitMiddleware(plain, policy('{ name = "m", quota = "5/month" }', more=LOCAL), store=store)
        assert [(await ask(limiter))[0]["status"] for _ in range(2)] == [200] * 2
        queue_of(store)._breaker.down = "it is away"
        assert [(await ask(limiter))[0]["status"] for _ in range(3)] == [200] * 3
        assert (await ask(limiter))[0]["status"] == 429
        queue_of(store)._breaker.down = None
        async with asyncio.timeout(10):
            while store.local().journal.open_units:  # noqa: ASYNC110 - by a timer
                await asyncio.sleep(0.01)
        with valkey.client() as client:
            assert client.hget("acceptance-local:{user=ana}:m:month", "n") == b"5"
        start, _ = await ask(limiter)
        assert (start["status"], header(start, "x-ratelimit-remaining")) == (429, None)
        await store.close()

    run(test())
