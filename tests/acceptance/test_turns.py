"""Of requests that came together the limiter decides all before the app has its turns, and nothing depends on it."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from ratelimit import RateLimitMiddleware
from ratelimit.model import Decision, Headers, Identity
from ratelimit.stores.memory import MemoryStore
from ratelimit.styles.ietf import Ietf
from tests.acceptance import ask, plain, policy, run, scope_of
from tests.acceptance.test_hang_ups import slots_of

RATE = '{ name = "requests", rate = "3/minute" }'
CAP = '{ name = "in flight", concurrency = 1, lease = "20s" }'
SHADOW = '{ name = "shadow", rate = "0/minute", mode = "shadow" }'


class Noted(Ietf):
    """The style of the IETF, which notes when it is asked for headers, and when the app is called."""

    __slots__ = ()
    turns: ClassVar[list[str]] = []

    def headers(self, decision: Decision, identity: Identity, log_id: str) -> Headers:
        self.turns.append("headers")
        return super().headers(decision, identity, log_id)


async def app(scope: Any, receive: Any, send: Any) -> None:
    Noted.turns.append("app")
    await plain(scope, receive, send)


@pytest.mark.parametrize("limits", [RATE, f"{RATE}, {SHADOW}", f"{RATE}, {CAP.replace('= 1', '= 9')}"])
def test_in_turns(limits: str) -> None:
    """First all headers are made, then the app answers all; a denial waits for nobody."""

    async def test() -> None:
        Noted.turns.clear()
        limiter = RateLimitMiddleware(app, policy(limits), store=MemoryStore(), style=Noted())
        answers = await asyncio.gather(*[ask(limiter) for _ in range(4)])
        assert [start["status"] for start, _ in answers] == [200, 200, 200, 429]
        assert Noted.turns == ["headers"] * 3 + ["app"] * 3

    run(test())


@pytest.mark.parametrize("limits", [RATE, CAP])
def test_not_on_a_store_that_waits(limits: str) -> None:
    """Who waits for a store waits with others already: the app has its turn at once."""

    async def test() -> None:
        Noted.turns.clear()
        limiter = RateLimitMiddleware(app, policy(limits.replace("= 1", "= 9")), store=Waiting(), style=Noted())
        await asyncio.gather(*[ask(limiter) for _ in range(2)])
        assert Noted.turns == ["headers", "app"] * 2

    run(test())


class Waiting(MemoryStore):
    at_once = False


@pytest.mark.parametrize("limits", [RATE, CAP])
def test_cancelled_before_its_turn(limits: str) -> None:
    """The app is called, as for who is cancelled later, and cancelled where it first waits; the slot is back."""

    async def test() -> None:
        seen: list[str] = []

        async def waiting(scope: Any, receive: Any, send: Any) -> None:
            try:
                seen.append("called")
                await asyncio.sleep(60)
            except asyncio.CancelledError as error:
                seen.append(str(error))
                raise

        limiter = RateLimitMiddleware(waiting, policy(limits), store=MemoryStore())
        task = asyncio.ensure_future(ask(limiter))
        await asyncio.sleep(0)
        task.cancel("away")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["called", "away"]
        assert task.cancelling() == 1
        assert slots_of(limiter) == 0

    run(test())


def test_a_timeout_before_its_turn() -> None:
    """Who sets a time limit around the limiter is told that it is over, not that somebody cancelled it."""

    async def test() -> None:
        async def waiting(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(60)

        limiter = RateLimitMiddleware(waiting, policy(RATE), store=MemoryStore())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(-1):
                await ask(limiter)

    run(test())


def test_closed_before_its_turn() -> None:
    """A server that is dropped with all its requests: the slot is back, and the app is never called."""

    async def test() -> None:
        limiter = RateLimitMiddleware(app, policy(CAP), store=MemoryStore())
        Noted.turns.clear()
        call = limiter(scope_of(), None, None)
        call.send(None)
        assert slots_of(limiter) == 1
        call.close()
        await asyncio.sleep(0)
        assert slots_of(limiter) == 0
        assert Noted.turns == []

    run(test())


def test_by_hand() -> None:
    """Where no event loop runs a request takes no turns."""

    async def send(message: Any) -> None:
        pass

    limiter = RateLimitMiddleware(plain, policy(RATE), store=MemoryStore())
    with pytest.raises(StopIteration):
        limiter(scope_of(), None, send).send(None)


def test_in_a_callback() -> None:
    """Nor where one runs, and no task: nobody would go on with it."""

    async def send(message: Any) -> None:
        pass

    async def test() -> None:
        limiter, ended = RateLimitMiddleware(plain, policy(RATE), store=MemoryStore()), asyncio.Event()

        def callback() -> None:
            with pytest.raises(StopIteration):
                limiter(scope_of(), None, send).send(None)
            ended.set()

        asyncio.get_running_loop().call_soon(callback)
        await asyncio.wait_for(ended.wait(), 10)

    run(test())
