"""Streams of unknown cost in eight processes on one Redis."""

from __future__ import annotations

import asyncio
import random
import time

import httpx2
import pytest

from ratelimit import Identity, RedisStore
from tests.acceptance import workers
from tests.control.streaming import HELD, MAX, POLICY, WINDOW_MS
from tests.servers import Server

SECONDS = 7.0


async def drive(urls: list[str], store: RedisStore) -> tuple[list[tuple[int, int]], int]:
    """What was used and when it was held, by the store's clock, and how many streams were denied."""
    dice = random.Random(5)
    ends = time.monotonic() + SECONDS
    seen: list[tuple[int, int]] = []
    denied = 0

    async def client(number: int) -> None:
        nonlocal denied
        async with httpx2.AsyncClient(timeout=30) as http:
            while time.monotonic() < ends:
                answer = await http.get(f"{urls[number % len(urls)]}/{dice.randrange(HELD + 1)}")
                assert answer.status_code == 200
                if answer.text == "no":
                    denied += 1
                    await asyncio.sleep(0.02)
                else:
                    at, units = map(int, answer.text.split())
                    seen.append((at, units))

    await asyncio.gather(*[client(number) for number in range(25)])
    charges = POLICY.named(Identity(ip="127.0.0.1", tier="anonymous"), ("tokens",))
    now = await store.peek(charges, 0)
    # Nothing is held any more: what counts is what was used, within a sub-window of the window's length.
    within = sum(units for at, units in seen if at > now.now_ms - WINDOW_MS)
    before = sum(units for at, units in seen if at > now.now_ms - WINDOW_MS - WINDOW_MS // 20)
    assert within <= now.states[0].used <= before
    with pytest.raises(httpx2.TransportError):
        await _dies(urls[0])
    dead = await store.peek(charges, 0)
    assert dead.states[0].used >= HELD
    await asyncio.sleep(1.0)
    again = await store.hold(charges, 1, 1_000)  # who looks at the counter gives it back
    assert again.states[0].used <= now.states[0].used + 1
    await store.close()
    return seen, denied


async def _dies(url: str) -> None:
    async with httpx2.AsyncClient(timeout=30) as http:
        for _ in range(100):  # until there is room for it
            await http.get(f"{url}/die")
            await asyncio.sleep(0.1)


@pytest.mark.proof
def test_eight_processes(valkey: Server, prefix: str) -> None:
    """Never above the budget in any window, much of it used; unspent units are free at once, those of a process
    that was killed within a lease."""
    environment = {"RATELIMIT_STORE_URL": valkey.url, "STREAMING_PREFIX": prefix}
    store = RedisStore(valkey.url, prefix=prefix, timeout=5)
    with workers(8, "tests.control.streaming:app", environment) as urls:
        seen, denied = asyncio.run(drive([url.replace("localhost", "127.0.0.1") for url in urls], store))
    assert denied
    assert sum(units for _, units in seen) > MAX * 2
    for at, _ in seen:
        assert sum(units for then, units in seen if at <= then < at + WINDOW_MS) <= MAX
