"""On trio everything works with the memory store; a store on Redis refuses at the start, by name."""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from typing import Any

import httpx2
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from trio.testing import MockClock

from ratelimit import RateLimitMiddleware, RedisStore, StoreUnavailable
from ratelimit.ground.loops import running
from ratelimit.ground.repeats import Repeats
from ratelimit.model import Message
from ratelimit.stores.memory import MemoryStore
from tests import servers
from tests.acceptance import ANA, ask, limited, plain, policy, scope_of
from tests.acceptance.test_hang_ups import EMPTY, LINE, lines, slots_of

CAP = '{ name = "in flight", concurrency = 1, lease = "20s" }'
WORDS = (
    "{} runs on asyncio, and this server runs trio: have it run asyncio (hypercorn --worker-class asyncio, or uvloop), "
    "or take the store memory://, which counts in one process"
)
START = {"type": "http.response.start", "status": 200, "headers": []}


def run(test: Callable[[], Awaitable[None]]) -> None:
    """On a clock that jumps."""
    trio.run(test, clock=MockClock(autojump_threshold=0))


def on_trio_time(app: Any, **keywords: Any) -> RateLimitMiddleware:
    store = MemoryStore(clock=lambda: int(trio.current_time() * 1_000))
    return RateLimitMiddleware(app, policy(CAP, **keywords), store=store)


class Server:
    """Its `receive` gives an empty body, and after `hangs_up` seconds http.disconnect."""

    def __init__(self, hangs_up: float) -> None:
        self._hangs_up = hangs_up
        self._parts = [EMPTY]
        self.asked = 0

    async def receive(self) -> Message:
        if self._parts:
            return self._parts.pop()
        self.asked += 1
        try:
            await trio.sleep_until(self._hangs_up)
        finally:
            self.asked -= 1
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()


def test_decisions() -> None:
    """Requests are let through, and denied, with the headers and bodies that they have everywhere."""

    async def test() -> None:
        answers = [await ask(limiter) for _ in range(4)]
        assert [start["status"] for start, _ in answers] == [200, 200, 200, 429]

    limiter = limited(plain, f'{{ name = "requests", rate = "3/minute" }}, {CAP}, {CAP.replace("in flight", "other")}')
    run(test)


def test_denials_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Denials that follow one another are told together, by a timer."""

    async def test() -> None:
        for _ in range(6):
            await ask(limiter)
        await trio.sleep(3)

    caplog.set_level(logging.INFO, "ratelimit")
    limiter = limited(plain)
    limiter._denials._known = Repeats(clock=trio.current_time)
    run(test)
    assert lines(caplog)[-1] == "denied limit=requests caller=user=ana and 2 more"


def test_a_long_request() -> None:
    """A slot is renewed for as long as its request runs, and is free when that ends, is cancelled or raises."""

    async def app(scope, receive, send) -> None:
        await trio.sleep(inf if scope["path"] == "/" else 100)
        if scope["path"] == "/raises":
            raise ValueError("the app's own")

    async def test() -> None:
        limiter, server = on_trio_time(app), Server(1_000)
        with trio.move_on_after(100):
            await limiter(scope_of("/"), server.receive, server.send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(limiter, scope_of("/long"), Server(1_000).receive, server.send)
            for _ in range(9):
                await trio.sleep(10)
                assert slots_of(limiter) == 1
                assert (await ask(limiter))[0]["status"] == 429
        assert slots_of(limiter) == 0
        server = Server(1_000)
        with pytest.raises(ValueError, match="the app's own"):
            await limiter(scope_of("/raises"), server.receive, server.send)
        assert slots_of(limiter) == server.asked == 0
        assert not any(held._due or held._timer for held in limiter._leases._held.values())

    run(test)


def test_a_cancelled_scope_hides_nothing() -> None:
    """What an app raises in a scope that was cancelled is what is raised, though somebody was listened for."""

    async def app(scope, receive, send) -> None:
        try:
            await trio.sleep(inf)
        finally:
            raise ValueError("the app's own")

    async def test() -> None:
        limiter, server = on_trio_time(app), Server(1_000)
        with pytest.raises(ValueError, match="the app's own"), trio.move_on_after(30):
            await limiter(scope_of(), server.receive, server.send)
        assert slots_of(limiter) == server.asked == 0

    run(test)


@pytest.mark.parametrize("asks", [False, True])
def test_hang_ups(asks: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A hang-up is noticed, whether the app asks for it or not, and ends the slot one lease later."""
    got: list[Message] = []

    async def app(scope, receive, send) -> None:
        await trio.sleep(12)
        while asks and len(got) < 2:
            with trio.move_on_after(0.5):
                got.append(await receive())
        await trio.sleep(inf)

    async def test() -> None:
        limiter, server = on_trio_time(app), Server(13)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(limiter, scope_of(), server.receive, server.send)
            await trio.sleep(32)
            assert slots_of(limiter) == 1
            await trio.sleep(2)
            assert slots_of(limiter) == 0
            nursery.cancel_scope.cancel()

    run(test)
    assert [message["type"] for message in got] == ["http.request", "http.disconnect"] * asks
    assert lines(caplog) == [LINE]


def test_closed_calls() -> None:
    """A call that is closed gives its slot back: at once in a task, by its run from another thread, and when the run
    has ended too."""

    def begun(limiter: RateLimitMiddleware) -> Any:
        server = Server(1_000)
        call = limiter(scope_of(), server.receive, server.send)
        call.send(None)
        assert slots_of(limiter) == 1
        return call

    async def app(scope, receive, send) -> None:
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)

    async def test() -> None:
        begun(limiter).close()
        assert slots_of(limiter) == 0
        await trio.to_thread.run_sync(begun(limiter).close)
        await trio.sleep(0.01)
        assert slots_of(limiter) == 0
        left.append(begun(limiter))

    async def next_run() -> None:
        for call in left:
            call.close()
        assert slots_of(limiter) == 0
        await ask(limiter_of_two)

    left: list[Any] = []
    limiter = RateLimitMiddleware(app, policy(CAP), store=MemoryStore())
    limiter_of_two = RateLimitMiddleware(plain, policy(CAP), store=MemoryStore())
    trio.run(test)
    trio.run(next_run)
    trio.run(next_run)
    assert len(limiter_of_two._leases._held) == 1


def test_lifespan() -> None:
    """When the app is shut down what it holds is given back, and no task is left."""

    async def app(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await trio.sleep(inf)

    async def test() -> None:
        limiter, server = on_trio_time(app), Server(1_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(limiter, scope_of(), server.receive, server.send)
            await trio.sleep(50)
            assert slots_of(limiter) == 1
            assert await ask(limiter, scope={"type": "lifespan"}) == [{"type": "lifespan.shutdown.complete"}]
            assert slots_of(limiter) == 0
            nursery.cancel_scope.cancel()

    run(test)


@pytest.mark.parametrize("on_failure", ["allow", "local"])
def test_a_store_of_ones_own_that_fails(on_failure: str, caplog: pytest.LogCaptureFixture) -> None:
    """A store of the user's that is away is an outage as everywhere, with its lines in the log."""

    class Away(MemoryStore):
        down = True

        async def acquire(self, charges):
            if self.down:
                raise StoreUnavailable("gone")
            return await super().acquire(charges)

    async def test() -> None:
        store = Away()
        limiter = RateLimitMiddleware(plain, policy(CAP, more=f'[store]\non_failure = "{on_failure}"'), store=store)
        assert [(await ask(limiter))[0]["status"] for _ in range(3)] == [200] * 3
        store.down = False
        await ask(limiter)
        await trio.sleep(5)

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test)
    began, said, back = lines(caplog)
    assert began.startswith("the store is out of reach")
    assert said.startswith("without the store: 3 requests")
    assert back.startswith("the store is back")


def test_a_callback_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in a task of the limiter's own is in the log, and does not end the run of the server."""

    async def test() -> None:
        running().call_later(1, lambda: 1 / 0)
        await trio.sleep(2)

    run(test)
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError


STORES = [
    (lambda: RedisStore("redis://127.0.0.1:1"), "RedisStore"),
    (lambda: RedisStore("redis+cluster://127.0.0.1:1"), "RedisStore"),
]


@pytest.mark.parametrize(("make", "name"), STORES, ids=["redis", "cluster"])
@pytest.mark.parametrize("on_failure", ["allow", "deny", "local"])
def test_a_store_on_redis(make: Callable[[], Any], name: str, on_failure: str) -> None:
    """It refuses when the server starts; where that has no lifespan each request raises, whatever `on_failure` says."""

    async def test() -> None:
        more = f'[store]\non_failure = "{on_failure}"'
        limiter = RateLimitMiddleware(plain, policy(CAP, more=more), store=make())
        refused = {"type": "lifespan.startup.failed", "message": WORDS.format(name)}
        assert await ask(limiter, scope={"type": "lifespan"}) == [refused]
        with pytest.raises(RuntimeError) as error:
            await ask(limiter)
        assert str(error.value) == WORDS.format(name)

    run(test)


def test_a_store_on_redis_where_no_lifespan_comes_by(caplog: pytest.LogCaptureFixture) -> None:
    """A middleware that is made while trio runs, as on a mount or without a lifespan, says it in the log at once."""

    async def test() -> None:
        for store in (RedisStore("redis://127.0.0.1:1"), "redis://127.0.0.1:1"):
            RateLimitMiddleware(plain, policy(CAP), store=store)
            assert caplog.messages.pop() == f"store: {WORDS.format('RedisStore')}"
            assert caplog.records[-1].levelname == "CRITICAL"
            caplog.clear()
        RateLimitMiddleware(plain, policy(CAP))

    run(test)
    assert caplog.messages == []


async def stream(scope, receive, send) -> None:
    """One that never ends at /stream."""
    if scope["type"] == "lifespan":
        while True:
            await send({"type": (await receive())["type"] + ".complete"})
    await send(START)
    if scope["path"] == "/stream":
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await trio.sleep(inf)
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def served(app: Any) -> Iterator[str]:
    """On hypercorn's trio worker, in a thread of its own."""
    config, port, ended = Config(), servers.free_port(), threading.Event()
    config.bind, config.graceful_timeout, config.accesslog = [f"127.0.0.1:{port}"], 0, None

    async def until_ended() -> None:
        while not ended.is_set():  # noqa: ASYNC110 - it is set by another thread
            await trio.sleep(0.01)

    thread = threading.Thread(target=trio.run, args=[partial(serve, app, config, shutdown_trigger=until_ended)])
    thread.start()
    try:
        for _ in range(500):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        ended.set()
        thread.join()


def test_hypercorn() -> None:
    """On a real server a stream has the slot, and no longer when its client has hung up."""
    limiter = RateLimitMiddleware(stream, policy(CAP.replace("20s", "1s")), store=MemoryStore())
    with served(limiter) as url, httpx2.Client(headers={"Authorization": f"Bearer {ANA}"}) as client:
        with client.stream("GET", f"{url}/stream") as first:
            assert first.status_code == 200
            assert client.get(url).status_code == 429
        for _ in range(500):
            if client.get(url).status_code == 200:
                return
            time.sleep(0.02)
        pytest.fail("the slot was not given back within 10 s")


def test_hypercorn_with_redis() -> None:
    """A real server does not start with a store on Redis, and says why."""
    limiter = RateLimitMiddleware(stream, policy(CAP), store=RedisStore("redis://127.0.0.1:1"))
    with pytest.raises(ExceptionGroup) as error:
        trio.run(serve, limiter, Config())
    assert WORDS.format("RedisStore") in "".join(traceback.format_exception(error.value))
