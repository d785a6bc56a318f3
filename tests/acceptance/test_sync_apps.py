"""Apps that send from a thread by asgiref's `async_to_sync`, as Django does, do so without its warning."""

from __future__ import annotations

import asyncio
import warnings
from functools import partial

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async

from ratelimit import RateLimitMiddleware
from ratelimit.model import Send
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import ask, policy, run, scope_of
from tests.acceptance.test_local import Away

RATE = '{ name = "requests", rate = "3/minute" }'
SHADOW = '{ name = "requests", rate = "1/minute", mode = "shadow" }'
CAP = '{ name = "in flight", concurrency = 1 }'


def respond(send: Send) -> None:
    for message in (
        {"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.body", "body": b"here you are"},
    ):
        async_to_sync(send)(message)


async def app(scope, receive, send) -> None:
    await sync_to_async(partial(respond, send))()


@pytest.mark.parametrize("style", ["lendworks", "facturapi"])
@pytest.mark.parametrize("store", [MemoryStore, Away])
@pytest.mark.parametrize("limits", [RATE, SHADOW, CAP, f"{SHADOW}, {CAP}"])
def test_async_to_sync(limits: str, store: type, style: str) -> None:
    """With headers, with a line for the log, with a slot, and with all of them the app's `send` is as the server's."""
    limiter = RateLimitMiddleware(app, policy(limits, style=style), store=store())

    async def test() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                start, body = await ask(limiter)
                assert (start["status"], body["body"]) == (200, b"here you are")

    run(test())


def test_what_the_app_awaits() -> None:
    """What `send` returns is the server's own awaitable, though it is marked: one that is no coroutine too."""

    async def straight(scope, receive, send) -> None:
        assert iscoroutinefunction(send)
        await send({"type": "http.response.start", "status": 200})

    async def test() -> None:
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        limiter = RateLimitMiddleware(straight, policy(RATE), store=MemoryStore())
        await limiter(scope_of(), None, lambda message: done)

    run(test())
