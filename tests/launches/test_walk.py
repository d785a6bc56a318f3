"""A launch walks its stages in four processes on one Redis: each of them turns with its first decision after an instant
of the store's clock, and nobody is denied outside of a stage."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from time import monotonic

import pytest
from redis import Redis

from ratelimit.launches.shared import Word, shared_of
from ratelimit.launches.stages.launch import position
from ratelimit.stores.redis import RedisStore
from tests.launches.crew import MINUTE, NOW_MS, T, asked, limited, with_its_clock
from tests.servers import Server

Ask = Callable[[str], Awaitable[tuple[int, str | None]]]

PREFIXES = (f"walk{number}" for number in count())
EARLY = next(name for name in map("customer-{}".format, count()) if position("organization", name) < 0.25)
LATE = next(name for name in map("customer-{}".format, count()) if position("organization", name) >= 0.25)
ENFORCED = {  # in minutes after T, by caller; until when nothing else changes
    EARLY: [(10, 20), (30, 90)],
    LATE: [(10, 20), (60, 90)],
    "acme": [(10, 20), (30 if position("organization", "acme") < 0.25 else 40, 90)],
}
EDGES = [at * MINUTE + off for at in (10, 20, 30, 40, 60) for off in (-1, 0)]  # to the millisecond
WALK = sorted([*EDGES, *(at * MINUTE for at in (1, 5, 15, 25, 35, 50, 75))])  # ms after T


def is_enforced(who: str, at: int) -> bool:
    return any(since * MINUTE <= at < until * MINUTE for since, until in ENFORCED[who])


async def walk(crew: list[Ask], clock: Redis, prefix: str) -> int:
    """How many were denied. Whoever comes uses up the five requests of a minute, then each process decides."""
    denied = 0
    for at in WALK:
        NOW_MS[0] = T + at
        clock.set(f"{prefix}:clock", NOW_MS[0])
        for who in ENFORCED:
            enforced = is_enforced(who, at)
            if at - 1 not in WALK:  # else they are used up in this minute
                used = [await crew[number % len(crew)](who) for number in range(5)]
                assert [status for status, _ in used] == [200] * 5, (at, who)
                assert [header is not None for _, header in used] == [False] * 3 + [not enforced] * 2, (at, who)
            for ask in crew:
                status, header = await ask(who)
                assert (status, header is None) == (429 if enforced else 200, enforced), (at, who)
                assert header is None or header.startswith('"requests";u=100;over;from=@')
                denied += status == 429
    return denied


def expected() -> int:
    return 4 * sum(is_enforced(who, at) for at in WALK for who in ENFORCED)


def test_in_one_process(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four stores that know nothing of each other turn at the same millisecond, up and down again."""
    prefix = next(PREFIXES)
    with_its_clock(monkeypatch)

    async def test() -> None:
        apps = [limited(valkey.unix_url, prefix) for _ in range(4)]
        with valkey.client() as clock:
            crew: list[Ask] = [lambda who, app=app: asked(app, who) for app, _ in apps]  # type: ignore[misc]
            assert await walk(crew, clock, prefix) == expected()
        for _, store in apps:
            await store.close()

    asyncio.run(test())


@asynccontextmanager
async def worker(url: str, prefix: str) -> AsyncIterator[Ask]:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "tests.launches.crew", url, prefix)
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdin
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"

    async def ask(who: str) -> tuple[int, str | None]:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps([who, NOW_MS[0]]).encode() + b"\n")
        status, header = json.loads(await process.stdout.readline())
        return status, header

    try:
        yield ask
    finally:
        process.stdin.close()
        assert await process.wait() == 0


@pytest.mark.proof
def test_a_pause_within_two_seconds(valkey: Server) -> None:
    """Four processes that deny are in shadow two seconds after an operator said so, and enforce again as soon."""
    prefix = next(PREFIXES)

    async def test() -> None:
        async with AsyncExitStack() as stack:
            crew = [await stack.enter_async_context(worker(valkey.unix_url, prefix)) for _ in range(4)]
            NOW_MS[0] = T + 75 * MINUTE
            clock = stack.enter_context(valkey.client())
            clock.set(f"{prefix}:clock", NOW_MS[0])
            operator = RedisStore(valkey.unix_url, prefix=prefix, timeout=5)
            shared = shared_of(operator)
            assert shared
            while (await crew[0]("acme"))[0] == 200:
                pass
            for paused, status in ((True, 200), (False, 429)):
                await shared.say(Word(NOW_MS[0] + 1 + status, paused))
                said = monotonic()
                for ask in crew:
                    while (await ask("acme"))[0] != status:
                        NOW_MS[0] += 1_000  # a denial is remembered for a second
                        clock.set(f"{prefix}:clock", NOW_MS[0])
                        await asyncio.sleep(0.02)
                assert monotonic() - said < 2
            await operator.close()

    asyncio.run(test())


@pytest.mark.proof
def test_in_four_processes(valkey: Server) -> None:
    """The same in four processes: 0 denials outside, and every process within one decision."""
    prefix = next(PREFIXES)

    async def test() -> None:
        async with AsyncExitStack() as stack:
            crew = [await stack.enter_async_context(worker(valkey.unix_url, prefix)) for _ in range(4)]
            clock = stack.enter_context(valkey.client())
            assert await walk(crew, clock, prefix) == expected()

    asyncio.run(test())
