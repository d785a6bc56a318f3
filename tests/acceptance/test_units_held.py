"""An app that learns late how many units a request takes: it holds them by its policy, and settles what it used."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ratelimit import Charge, Identity, MemoryStore, RateLimitMiddleware, RedisStore
from ratelimit.config import parse_policy
from ratelimit.slots.leases import Leases
from tests.acceptance import plain
from tests.clocked import Clocked

TEXT = """
[operations]
completion = ["POST /v1/completions"]

[tiers.anonymous]
limits = [
  { name = "requests", rate = "60/minute" },
  { name = "tokens", quota = "1000/day", operations = ["completion"], cost = { completion = 2 }, hold = true },
  { name = "output", rate = "900/minute", operations = ["completion"], hold = true },
  { name = "at once", concurrency = 5 },
]
"""
POLICY, WITHOUT = parse_policy(TEXT, "x"), parse_policy(TEXT.replace(", hold = true", ""), "y")
ALL = POLICY.charges(Identity(ip="192.0.2.7", tier="anonymous"), "completion")
HELD = tuple(charge for charge in ALL if charge.limit.hold)
LEASE = 20_000


def run(test: Callable[[MemoryStore], Awaitable[None]]) -> None:
    loop = Clocked()
    try:
        loop.run_until_complete(test(MemoryStore(clock=lambda: int(loop.time() * 1000))))
    finally:
        loop.close()


async def used(store: MemoryStore, charges: tuple[Charge, ...] = HELD) -> list[int]:
    return [state.used for state in (await store.peek(charges, 0)).states]


def test_a_long_answer() -> None:
    """Held for as long as the app works on it, however long; what it did not use is free again, and only once."""

    async def test(store: MemoryStore) -> None:
        leases = Leases(store)
        request = await store.acquire([charge for charge in ALL if not charge.limit.hold])
        assert request.allowed
        decision = await store.hold(HELD, 400, LEASE)
        assert decision.allowed
        assert decision.hold
        leases.hold([decision.hold.lease])
        await asyncio.sleep(50)
        assert await used(store) == [800, 400]
        assert not (await store.hold(HELD, 101, LEASE)).allowed
        await leases.release([decision.hold.lease])
        await store.settle(decision.hold, 150)
        await store.settle(decision.hold, 0)
        assert await used(store) == [300, 150]
        await asyncio.sleep(100)
        assert await used(store) == [300, 0]

    run(test)


def test_an_app_that_dies() -> None:
    """What it held is back a lease later, for the first who asks."""

    async def test(store: MemoryStore) -> None:
        assert (await store.hold(HELD, 500, LEASE)).allowed
        await asyncio.sleep(LEASE / 1000 - 1)
        assert not (await store.hold(HELD, 1, LEASE)).allowed
        await asyncio.sleep(1)
        assert (await store.hold(HELD, 500, LEASE)).allowed
        assert await used(store) == [1000, 500]

    run(test)


def test_more_than_was_held() -> None:
    """It is counted all the same, and the next requests pay for it."""

    async def test(store: MemoryStore) -> None:
        decision = await store.hold(HELD, 10, LEASE)
        assert decision.hold
        await store.settle(decision.hold, 600)
        after = await store.hold(HELD, 1, LEASE)
        assert [(state.used, state.remaining, state.exceeded) for state in after.states] == [
            (1200, 0, True),
            (600, 300, False),
        ]

    run(test)


def test_what_the_policy_does_not_say() -> None:
    """The charges of a request as a whole are not held: the message names the limit and what to write."""

    async def test(store: MemoryStore) -> None:
        with pytest.raises(ValueError, match=r'Limit "at once": its slots are not counted in units; leave it out'):
            await store.hold(ALL, 1, LEASE)
        with pytest.raises(ValueError, match=r'Limit "requests": units of it can\'t be held; write hold = true'):
            await store.hold(ALL[:3], 1, LEASE)
        assert await used(store, ALL[:3]) == [0, 0, 0]

    run(test)


class Own:
    """A store as somebody has made it before there were units."""

    async def acquire(self, charges: object) -> None: ...


@pytest.mark.parametrize(
    "there", ["redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1", RedisStore("redis://127.0.0.1:1"), MemoryStore()]
)
def test_a_store_that_holds_units(there: Any) -> None:
    """Any store of ours does."""
    RateLimitMiddleware(plain, POLICY, store=there)


@pytest.mark.parametrize("on", ["refund_on", "charge_on"])
def test_a_store_that_gives_nothing_back(on: str, caplog: pytest.LogCaptureFixture) -> None:
    """A limit that counts by status is refused there too."""
    store: Any = Own()
    made = parse_policy(
        f'[tiers.anonymous]\nlimits = [{{ name = "logins", rate = "5/minute", {on} = ["401"] }}]', "by status"
    )
    words = (
        f"limit logins has {on}, and a Own gives no units back: it has no method refund; give a RedisStore or a"
        f" MemoryStore, or leave {on} out"
    )
    with pytest.raises(ValueError, match=f"^{words}$"):
        RateLimitMiddleware(plain, made, store=store)
    assert [record.getMessage() for record in caplog.records] == [f"store: {words}"]


def test_a_store_without_units(caplog: pytest.LogCaptureFixture) -> None:
    """It is refused where the middleware is made, and in the log, with the limit that asks; no other policy is."""
    store: Any = Own()
    words = (
        "limit tokens has hold = true, and a Own holds no units: it has no method hold; give a RedisStore or a"
        " MemoryStore, or leave hold out"
    )
    with pytest.raises(ValueError, match=f"^{words}$"):
        RateLimitMiddleware(plain, POLICY, store=store)
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.CRITICAL, f"store: {words}")]
    RateLimitMiddleware(plain, WITHOUT, store=store)
    assert len(caplog.records) == 1
