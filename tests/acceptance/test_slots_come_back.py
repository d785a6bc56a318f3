"""A slot of a concurrency limit is held while its request runs and no longer, however the request ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ratelimit import RateLimitMiddleware, RedisStore
from ratelimit.slots.leases import Leases
from ratelimit.stores.memory import MemoryStore
from tests import servers
from tests.acceptance import T, ask, limited, policy, run, scope_of
from tests.stores import concurrency, open_slots

ONE = '{ name = "in flight", concurrency = 1 }'


def in_flight(limiter: RateLimitMiddleware) -> int:
    """Leases in the store right now."""
    return open_slots(limiter.store)


def app_that_sends(*messages: dict, seen: list[int], limiter: Callable[[], RateLimitMiddleware]):
    """Sends `messages`, and notes after each how many slots are taken."""

    async def app(scope, receive, send) -> None:
        for message in messages:
            await send(message)
            seen.append(in_flight(limiter()))

    return app


START = {"type": "http.response.start", "status": 200, "headers": []}
SIZED = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"4")]}
EMPTY = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
NOTHING = {"type": "http.response.start", "status": 204, "headers": []}
UNCHANGED = {"type": "http.response.start", "status": 304, "headers": [(b"content-length", b"4")]}
CHUNK = {"type": "http.response.body", "body": b"ab", "more_body": True}
LAST = {"type": "http.response.body", "body": b"ab"}
END = {"type": "http.response.body", "body": b"", "more_body": False}
TRAILERS = {"type": "http.response.trailers", "headers": []}
PATH = {"type": "http.response.pathsend", "path": "/etc/hostname"}
ZERO_COPY = {"type": "http.response.zerocopysend", "file": 0, "more_body": True}
ZERO_COPY_END = {"type": "http.response.zerocopysend", "file": 0}


@pytest.mark.parametrize(
    ("method", "messages", "slots"),
    [
        ("GET", [START, LAST], [1, 0]),
        ("GET", [START, CHUNK, CHUNK, END], [1, 1, 1, 0]),
        ("GET", [SIZED, CHUNK, CHUNK, END], [1, 1, 1, 0]),  # the app goes on, though the client has all of it
        ("GET", [EMPTY, END], [1, 0]),
        ("GET", [NOTHING, END], [1, 0]),
        ("GET", [UNCHANGED, END], [1, 0]),
        ("HEAD", [SIZED, CHUNK, END], [1, 1, 0]),  # though who asks HEAD waits for the headers alone
        ("GET", [START, LAST, TRAILERS], [1, 0, 0]),
        ("GET", [START, PATH], [1, 0]),
        ("GET", [START, ZERO_COPY, ZERO_COPY_END], [1, 1, 0]),
    ],
)
def test_released_with_the_last_message(method: str, messages: list[dict], slots: list[int]) -> None:
    """The slot is free when the server gets the app's own last message, and not before: not the headers hold it but
    the work, for every method and status."""
    seen: list[int] = []
    limiter = limited(app_that_sends(*messages, seen=seen, limiter=lambda: limiter), ONE)
    run(ask(limiter, method=method))
    assert seen == slots
    assert in_flight(limiter) == 0


def test_before_not_after() -> None:
    """When the last byte is handed to the server the slot is free already: the server's next request may come first."""
    limiter = limited(app_that_sends(START, LAST, seen=[], limiter=lambda: limiter), ONE)
    at_send = []

    async def test() -> None:
        async def send(message) -> None:
            at_send.append(in_flight(limiter))

        await limiter(scope_of(), None, send)

    run(test())
    assert at_send == [1, 0]


def test_an_app_that_raises() -> None:
    """An exception passes through unchanged, before a response or in the middle, and leaves no slot behind."""

    def raising(messages):
        async def app(scope, receive, send) -> None:
            for message in messages:
                await send(message)
            raise RuntimeError("the app's own")

        return app

    async def test() -> None:
        for messages in ([], [START], [START, CHUNK], [START, LAST]):
            limiter = limited(raising(messages), ONE)
            with pytest.raises(RuntimeError, match="the app's own"):
                await ask(limiter)
            assert in_flight(limiter) == 0

    run(test())


def test_a_style_that_raises() -> None:
    """Also a style of the user's that is broken leaves no slot behind."""

    class Broken:
        log_id_header = None

        def headers(self, decision, identity, log_id):
            raise RuntimeError("broken")

    async def test() -> None:
        limiter = limited(app_that_sends(START, LAST, seen=[], limiter=lambda: limiter), ONE, style=Broken())
        with pytest.raises(RuntimeError, match="broken"):
            await ask(limiter)
        assert in_flight(limiter) == 0

    run(test())


def test_an_app_that_answers_nothing() -> None:
    """An app that returns without a response gives its slot back when it returns."""

    async def app(scope, receive, send) -> None: ...

    limiter = limited(app, ONE)
    run(ask(limiter))
    assert in_flight(limiter) == 0


def test_a_request_that_is_cancelled() -> None:
    """A request that is cancelled while the app works gives its slot back."""

    async def app(scope, receive, send) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        limiter = limited(app, ONE)
        request = asyncio.create_task(ask(limiter))
        await asyncio.sleep(0)
        assert in_flight(limiter) == 1
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert in_flight(limiter) == 0

    run(test())


@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_a_loop_that_ends_without_a_lifespan(name: str, request: pytest.FixtureRequest) -> None:
    """Where nobody says that the app is shut down and its tasks are cancelled all at once, with the connection of the
    store among them, each gives its slot back, and nothing is left behind."""
    server: servers.Server = request.getfixturevalue(name)

    async def stream(request: Request) -> Response:
        async def chunks():
            yield "the first"
            await asyncio.Event().wait()

        return StreamingResponse(chunks())

    for number in range(10):
        prefix, started = f"ends-{number}", asyncio.Event()
        requests: list[asyncio.Task[None]] = []  # as servers hold them: else the garbage collector may end one first
        store = RedisStore(server.unix_url, prefix=prefix, timeout=10)
        app = Starlette(routes=[Route("/items/7", stream)])
        limiter = RateLimitMiddleware(app, policy('{ name = "in flight", concurrency = 9 }'), store=store)

        async def main(limiter=limiter, started=started, requests=requests) -> None:
            async def receive() -> None:
                await asyncio.Event().wait()

            async def send(message) -> None:
                if message["type"] == "http.response.body":
                    started.set()

            for _ in range(5):
                requests.append(asyncio.create_task(limiter(scope_of(), receive, send)))
                await started.wait()
                started.clear()

        run(main())
        with server.client() as client:
            # What was written is read by the server when it is at it, perhaps after the next connection's command.
            servers.until(lambda client=client, prefix=prefix: not [*client.scan_iter(f"{prefix}:*")])


def test_a_shutdown_gives_back_what_is_held() -> None:
    """When the app says that it is shut down, a request that goes on holds nothing any more, and it may still end."""
    going_on = asyncio.Event()

    async def app(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await going_on.wait()

    async def test() -> None:
        limiter = limited(app, ONE)
        request = asyncio.create_task(ask(limiter))
        await asyncio.sleep(0)
        assert in_flight(limiter) == 1
        assert (await ask(limiter, scope={"type": "lifespan"}))[0]["type"] == "lifespan.shutdown.complete"
        assert in_flight(limiter) == 0
        going_on.set()
        await request
        assert in_flight(limiter) == 0

    run(test())


def starlette_app(slots: Callable[[], int]) -> Starlette:
    async def stream(request: Request) -> Response:
        async def chunks():
            for n in range(3):
                yield f"data: {n}\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    async def background(request: Request) -> Response:
        async def later() -> None:
            request.app.state.slots_in_background = slots()

        return PlainTextResponse("ok", background=BackgroundTask(later))

    async def file(request: Request) -> Response:
        return FileResponse(__file__)

    return Starlette(routes=[Route("/stream", stream), Route("/background", background), Route("/file", file)])


def test_head_of_a_stream() -> None:
    """A HEAD, which Starlette adds to each GET route, has the endpoint work as a GET does: at a cap of one there is
    one at a time."""
    going_on = asyncio.Event()

    async def stream(request: Request) -> Response:
        async def chunks():
            yield "the first"
            await going_on.wait()

        return StreamingResponse(chunks())

    async def test() -> None:
        limiter = limited(Starlette(routes=[Route("/items/7", stream)]), ONE)
        first = asyncio.create_task(ask_and_wait(limiter, method="HEAD"))
        await asyncio.sleep(0.01)
        assert (await ask(limiter, method="HEAD"))[0]["status"] == 429
        going_on.set()
        await first
        assert (await ask_and_wait(limiter, method="HEAD"))[0]["status"] == 200
        assert in_flight(limiter) == 0

    run(test())


async def ask_and_wait(app, **keywords) -> list[dict]:
    """As a client that does not hang up: there is nothing to receive but the request."""
    sent = []

    async def receive():
        return await asyncio.Event().wait()

    async def send(message) -> None:
        sent.append(message)

    await app(scope_of(**keywords), receive, send)
    return sent


@pytest.mark.parametrize("path", ["/stream", "/background", "/file"])
def test_starlette_responses(path: str) -> None:
    """Server-sent events, background tasks and files come through as they are; who waits for them holds no slot."""
    app = starlette_app(lambda: in_flight(limiter))
    limiter = RateLimitMiddleware(app, policy(ONE), store=MemoryStore(clock=lambda: T))

    async def test() -> None:
        bare, through = await ask(starlette_app(lambda: 0), path), await ask(limiter, path)
        assert [m["type"] for m in through] == [m["type"] for m in bare]
        assert [m.get("body") for m in through] == [m.get("body") for m in bare]
        assert len(through[0]["headers"]) == len(bare[0]["headers"])
        assert in_flight(limiter) == 0
        assert getattr(app.state, "slots_in_background", 0) == 0

    run(test())


def test_a_server_that_comes_back_with_nothing() -> None:
    """Slots of requests that run while their server is away, for longer than a lease, are counted again when it is
    back with nothing in it, and given back at the end."""
    charges = [concurrency(3, lease_ms=300)]

    async def test() -> None:
        with servers.run("valkey") as server:
            store = RedisStore(server.url, timeout=5)
            leases = Leases(store)
            for _ in range(2):
                leases.hold((await store.acquire(charges)).leases)
        await asyncio.sleep(0.5)
        with servers.run("valkey", port=server.port) as server:
            await until(lambda: slots(server) == 2)
            assert (await store.acquire(charges)).states[0].used == 3
            assert not (await store.acquire(charges)).allowed
            await leases.close()
            await until(lambda: slots(server) <= 1)
            await store.close()

    def slots(server: servers.Server) -> int:
        with server.client() as client:
            return sum(client.zcard(key) for key in client.scan_iter())

    async def until(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.01)

    run(test())
