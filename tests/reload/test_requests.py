"""A request is decided by one policy from its beginning to its end, and what it holds goes on under the next one."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from ratelimit import Identity, RateLimitMiddleware
from ratelimit.fastapi import deferred
from ratelimit.model import Message, Receive, Scope, Send
from ratelimit.reload import verdicts
from ratelimit.reload.following import NOTED
from ratelimit.stores.memory import MemoryStore
from ratelimit.testing import assert_left, limited_client
from tests.acceptance import T, header, plain, run, scope_of
from tests.reload import called, edited, limit_of, limited, rate, stepped, text, watch_of, written
from tests.reload.conftest import ByHand


def test_an_edit_between_the_steps_of_a_request(path: Path) -> None:
    """Who calls is asked under one policy, and what that costs is answered under it too, in its style."""
    waits = asyncio.Event()

    async def identify(scope: Scope) -> Identity:
        await waits.wait()
        return Identity(user="ana", tier="basic")

    limiter = limited(written(path, rate(5)), identify=identify)

    async def test() -> None:
        before = asyncio.create_task(called(limiter, times=1))
        await asyncio.sleep(0)
        written(path, rate(7).replace("lendworks", "ietf"))
        stepped(limiter)
        waits.set()
        assert limit_of(await before) == "5"
        after = await called(limiter)
        assert (limit_of(after), header(after, "ratelimit")) == (None, '"requests";r=5;t=61')

    run(test())


def test_slots(path: Path) -> None:
    """A slot that was taken before an edit counts after it, and is given back."""
    goes_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await goes_on.wait()
        await plain(scope, receive, send)

    one = text('{ name = "in flight", concurrency = 1 }')
    limiter = limited(written(path, one), app)

    async def test() -> None:
        slow = asyncio.create_task(called(limiter, path="/slow"))
        await asyncio.sleep(0)
        written(path, one.replace("= 1 }", '= 1, lease = "5s" }'))
        stepped(limiter)
        assert edited(limiter)
        assert (await called(limiter))["status"] == 429
        goes_on.set()
        assert (await slow)["status"] == 200
        assert (await called(limiter))["status"] == 200

    run(test())


def test_what_waits(path: Path) -> None:
    """Who waits in line goes on to, and stands before those that come under the edited policy; at the end of the server
    nobody waits any more, also where only the edit says that anybody may."""
    limits = '{ name = "requests", rate = "1/second", precision = 1 }'
    waits = text(limits) + 'wait = { up_to = "30s" }\n'
    limiter = limited(written(path, text(limits)))

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def test() -> None:
        await called(limiter)
        for content in (waits, waits + "\n"):
            written(path, content)
            stepped(limiter)
        now = limiter._renewed
        assert now is not None
        assert now._turns is not None
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        task = asyncio.create_task(limiter(scope_of(api_key="key0"), receive, send))
        await asyncio.sleep(0.01)
        assert not sent
        before = now._turns
        written(path, waits + "\n\n")
        stepped(limiter)
        assert limiter._renewed is not now
        assert limiter._renewed._turns._here is before._here  # type: ignore[union-attr]
        await limiter._close()
        await task
        assert sent[0]["status"] == 429

    run(test())


def test_a_connection_keeps_its_policy(path: Path) -> None:
    """A WebSocket goes on as it began; the next one is of the edited policy."""

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                await websocket.send_text(await websocket.receive_text())

    messages = '[websocket]\nmessages = "message"\n[reload]\nrefuse_above = "100%"\n'

    def policy(number: int) -> str:
        return text(f'{{ name = "messages", rate = "{number}/minute", operations = ["message"] }}', messages)

    limiter = limited(written(path, policy(3)), Starlette(routes=[WebSocketRoute("/", echo)]))
    client = TestClient(limiter, headers={"authorization": "Bearer key0"})
    with client.websocket_connect("/") as old:
        old.send_text("one")
        assert old.receive_text() == "one"
        written(path, policy(2))
        stepped(limiter)
        assert edited(limiter)
        for word in ("two", "three"):
            old.send_text(word)
            assert old.receive_text() == word
        with client.websocket_connect("/") as new:
            new.send_text("four")
            assert new.receive()["code"] == 1008


@pytest.mark.parametrize("store", [None, MemoryStore(clock=lambda: T)])
def test_mounted_twice(path: Path, store: MemoryStore | None) -> None:
    """A request on its way to the inner one of two middlewares of a file is counted once, also where the file was
    edited meanwhile."""
    waits = asyncio.Event()
    inner = RateLimitMiddleware(plain, written(path, rate(5)), store=store)

    async def between(scope: Scope, receive: Receive, send: Send) -> None:
        await waits.wait()
        await inner(scope, receive, send)

    outer = RateLimitMiddleware(between, path, store=store)

    async def test() -> None:
        before = asyncio.create_task(called(outer))
        await asyncio.sleep(0)
        written(path, rate(7))
        stepped(outer)
        waits.set()
        start = await before
        assert (limit_of(start), header(start, "x-ratelimit-remaining")) == ("5", "4")
        start = await called(outer)
        assert (limit_of(start), header(start, "x-ratelimit-remaining")) == ("7", "5")

    run(test())


def test_a_mounted_app(path: Path) -> None:
    """Its own file is its own: both are edited, and both limit."""
    own = written(path.with_name("inner.toml"), rate(50))
    store = MemoryStore(clock=lambda: T)
    sub = Starlette(
        routes=[Route("/x", lambda _: plain)], middleware=[Middleware(RateLimitMiddleware, policy=own, store=store)]
    )
    limiter = RateLimitMiddleware(Starlette(routes=[Mount("/sub", sub)]), written(path, rate(60)), store=store)

    async def test() -> None:
        assert limit_of(await called(limiter, path="/sub/nothing")) == "50"
        inner = sub.middleware_stack.app  # type: ignore[union-attr]
        written(own, rate(70))
        stepped(inner)
        assert limit_of(await called(limiter, path="/sub/nothing")) == "60"
        written(path, rate(80))
        stepped(limiter)
        start = await called(limiter, path="/sub/nothing")
        assert (limit_of(start), header(start, "x-ratelimit-remaining")) == ("70", "67")

    run(test())


def test_who_is_known_later(path: Path) -> None:
    """What the address gave under one policy goes back to its counter, whatever is edited meanwhile."""
    inside, goes_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        inside.set()
        await goes_on.wait()
        await scope["ratelimit.control"].decide(Identity(user="ana", tier="basic"))
        await plain(scope, receive, send)

    limiter = limited(written(path, rate(5)), app, identify=deferred())

    async def test() -> None:
        before = asyncio.create_task(called(limiter))
        await inside.wait()
        written(path, rate(7))
        stepped(limiter)
        goes_on.set()
        assert limit_of(await before) == "5"
        start = await called(limiter)
        assert (limit_of(start), header(start, "x-ratelimit-remaining")) == ("7", "5")
        assert edited(limiter)
        assert limiter._renewed._account._tasks is limiter._account._tasks
        await limiter._close()

    run(test())


def test_attributes_are_few(path: Path) -> None:
    """CPython finds those of an object fast while it has at most 30, and each request asks for most of them."""
    limiter = limited(written(path, rate(1000)))
    assert limiter._renewed
    assert len(vars(limiter._renewed)) <= 30


def test_noted(path: Path) -> None:
    """So many requests of half a second are looked at, and then none until the next: a middleware pays for no more."""
    limiter = limited(written(path, rate(1000)))

    async def test() -> None:
        assert limiter._renewed
        await called(limiter, times=NOTED)
        assert limiter._renewed._noted is not None
        await called(limiter, times=1)
        assert limiter._renewed._noted is None
        await called(limiter, 1, times=10)
        assert len(watch_of(limiter).callers) == 1
        stepped(limiter, 1)
        await called(limiter, 1)
        assert len(watch_of(limiter).callers) == 2
        written(path, rate(999))
        stepped(limiter)
        await called(limiter, 2)
        assert len(watch_of(limiter).callers) == 3

    run(test())


def test_a_lifespan(path: Path) -> None:
    """It is watched from the app's start to its end, and from the next start on again; without a lifespan from the
    first request until its event loop has ended."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                await send({"type": (await receive())["type"] + ".complete"})
        else:
            await plain(scope, receive, send)

    limiter = limited(written(path, rate(100)), app)
    watch = watch_of(limiter)
    for number in (99, 98):
        with TestClient(limiter, headers={"authorization": "Bearer key0"}) as client:
            assert watch.wanted()
            written(path, rate(number))
            stepped(limiter)
            assert client.get("/").headers["x-ratelimit-limit"] == str(number)
        assert not watch.wanted()

    async def test() -> None:
        await called(limiter, times=2 * NOTED)
        assert watch.wanted()

    for _ in range(3):
        assert not watch.wanted()
        run(test())


def test_several_event_loops(path: Path) -> None:
    """In as many threads: an edit is in force for all of them, and it is watched until the last has ended."""
    limiter = limited(written(path, rate(100)))
    watch, edit_is_there, seen = watch_of(limiter), threading.Event(), []
    began = threading.Barrier(3)

    async def serve(number: int) -> None:
        before = limit_of(await called(limiter, number))
        await asyncio.to_thread(began.wait)
        await asyncio.to_thread(edit_is_there.wait)
        seen.append((before, limit_of(await called(limiter, number))))

    threads = [threading.Thread(target=run, args=(serve(number),)) for number in range(2)]
    for thread in threads:
        thread.start()
    began.wait()
    written(path, rate(99))
    stepped(limiter)
    assert watch.wanted()
    edit_is_there.set()
    for thread in threads:
        thread.join()
    assert seen == 2 * [("100", "99")]
    assert not watch.wanted()


def test_on_trio(path: Path) -> None:
    """It is watched while trio runs, and whoever would share a verdict does without."""
    limiter = limited(written(path, rate(100)))

    async def test() -> None:
        await called(limiter)
        assert watch_of(limiter).wanted()
        written(path, rate(99))
        await trio.to_thread.run_sync(stepped, limiter)
        assert limit_of(await called(limiter)) == "99"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "shared_by", lambda store: store)
        trio.run(test)
    assert not watch_of(limiter).wanted()


def test_without_an_event_loop(path: Path, by_hand: ByHand) -> None:
    """A request that is driven by hand is decided, and nothing is watched."""
    limiter = limited(written(path, rate(100)))
    call = called(limiter)
    with pytest.raises(StopIteration) as done:
        call.send(None)  # type: ignore[attr-defined]
    assert limit_of(done.value.value) == "100"
    assert by_hand.added == []
    assert len(watch_of(limiter).callers) == 1


def test_in_a_test_of_a_user(path: Path) -> None:
    """Where an edit was taken before, `limited_client` moves the clock of what is in force."""
    limiter = limited(written(path, rate(100)))
    written(path, rate(2))
    stepped(limiter)
    with limited_client(limiter, lifespan=False, headers={"authorization": "Bearer key0"}) as client:
        assert_left(client.get("/"), requests=1)
        client.get("/")
        assert client.get("/").status_code == 429
        client.clock.advance("61s")
        assert_left(client.get("/"), requests=1)


def test_many_edits_leave_nothing(path: Path) -> None:
    """What was in force is gone when its last request is."""
    import gc
    import weakref

    limiter = limited(written(path, rate(100)))
    gone: list[weakref.ref[Any]] = []

    async def test() -> None:
        for number in range(1, 6):
            written(path, rate(100 + number))
            stepped(limiter)
            await called(limiter)
            gone.append(weakref.ref(limiter._renewed))

    run(test())
    gc.collect()
    assert [one() is None for one in gone] == 4 * [True] + [False]
