"""What goes on when nobody waits: a store that takes its time, a request that ends, a loop that does."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

from ratelimit import MemoryStore, Policy, RateLimitMiddleware, RedisStore, StoreUnavailable, parse_policy
from ratelimit.answers.inside import DeniedInside, Inside, Response
from ratelimit.control import account
from ratelimit.control.control import Control
from ratelimit.model import Decision, Message, Receive, Scope, Send
from tests.acceptance import T, ask, header
from tests.control import COMPLETION, POLICY, TEXT, app, limiter, run, status, used
from tests.servers import Server, free_port


class Slow:
    """A store that answers when it is let."""

    def __init__(self) -> None:
        self._inner = MemoryStore(clock=lambda: T)
        self.asked: list[str] = []
        self.waits = {"hold"}
        self.go_on = asyncio.Event()

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        async def asked(*arguments: Any) -> Any:
            self.asked.append(verb)
            if verb in self.waits:
                await self.go_on.wait()
            return await getattr(self._inner, verb)(*arguments)

        return asked


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_request_that_ends_while_it_asks() -> None:
    """What a task of it is given afterwards is settled at once, with nothing used, and the task is told."""
    tasks: list[asyncio.Task[None]] = []

    async def holds(control: Control) -> None:
        async with control.hold(400, limit="tokens"):
            pass

    async def handle(control: Control, send: Any) -> None:
        tasks.append(asyncio.create_task(holds(control)))
        await turns()

    async def test() -> None:
        store = Slow()
        limited = limiter(app(handle), store=store)
        assert status(await ask(limited, **COMPLETION)) == 200
        store.go_on.set()
        with pytest.raises(
            RuntimeError, match=r"^hold: the request has ended meanwhile; nothing is held for it any more$"
        ):
            await tasks[0]
        await turns()
        assert store.asked.count("settle") == 1
        assert (await used(limited))["tokens"] == 0

    run(test())


def test_cancelled_while_it_asks() -> None:
    """The store decides all the same, and what nobody waits for goes back."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(400, limit="tokens"):
            pass

    async def test() -> None:
        store = Slow()
        limited = limiter(app(handle), store=store)
        task = asyncio.create_task(ask(limited, **COMPLETION))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert store.asked[-1] == "hold"
        store.go_on.set()
        await turns()
        assert store.asked[-1] == "settle"
        assert (await used(limited))["tokens"] == 0
        assert limited._account._tasks == {}

    run(test())


def test_a_loop_that_ends() -> None:
    """It cancels what goes on by itself, and who waits for that is told so."""
    ended: list[str] = []

    async def handle(control: Control, send: Any) -> None:
        try:
            await control.charge(5, limit="rows")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def test() -> None:
        store = Slow()
        store.waits = {"charge"}
        limited = limiter(app(handle), store=store)
        request = asyncio.create_task(ask(limited, **COMPLETION))
        await turns()
        for _, task in [*limited._account._tasks.values()]:
            assert isinstance(task, asyncio.Task)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert ended == ["cancelled"]

    run(test())


def test_a_shutdown() -> None:
    """It waits for what this loop has still to tell the store."""
    open_: list[Any] = []

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})
            return
        open_.append(scope["ratelimit.control"].hold(400, limit="tokens"))
        await open_[0].__aenter__()

    async def test() -> None:
        store = Slow()
        store.waits = {"settle"}
        limited = limiter(handle, store=store)
        await ask(limited, **COMPLETION)
        asyncio.get_running_loop().call_later(0.01, store.go_on.set)
        other = object()
        loop: Any = other
        limited._account._tasks[other] = loop, asyncio.current_task()  # type: ignore[assignment] # of another loop
        await limited({"type": "lifespan"}, _nothing, _hears)
        assert "close" in store.asked
        assert (await used(limited))["tokens"] == 0

    run(test())


def test_a_loop_that_runs_tasks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As asyncio's eager tasks: what has ended is not kept."""

    class Eager:
        def create_task(self, work: Any) -> Any:
            with suppress(StopIteration):
                work.send(None)
            return self

        def done(self) -> bool:
            return True

    async def nothing() -> None: ...

    limited = limiter(app(_none))
    monkeypatch.setattr(account, "running", Eager)
    limited._account.begin(nothing)
    assert limited._account._tasks == {}


async def _none(control: Control, send: Any) -> None: ...


async def _nothing() -> Message:
    return {"type": "http.request"}


async def _hears(message: Message) -> None:
    """It is sent."""


def test_a_store_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """On Redis too nothing is raised into the app."""
    seen: list[bool] = []

    async def handle(control: Control, send: Any) -> None:
        await control.charge(5, limit="rows")
        async with control.hold(400, limit="tokens") as held:
            seen.append(held.allowed)

    async def test() -> None:
        limited = limiter(app(handle), store=RedisStore(f"redis://127.0.0.1:{free_port()}", timeout=0.05))
        assert status(await ask(limited, **COMPLETION)) == 200
        await limited.store.close()

    run(test())
    assert seen == [True]


def test_what_is_refused_by_redis(valkey: Server, prefix: str) -> None:
    """What a store refuses is raised where it is asked for."""

    async def handle(control: Control, send: Any) -> None:
        with pytest.raises(ValueError, match=r"^units: -1 is too small"):
            await control.charge(-1, limit="rows")

    async def test() -> None:
        limited = limiter(app(handle), store=RedisStore(valkey.url, prefix=prefix, timeout=5))
        assert status(await ask(limited, **COMPLETION)) == 200
        await limited.store.close()

    run(test())


def test_on_trio() -> None:
    """With the memory store: what is open when a request ends is settled there too."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        control = scope["ratelimit.control"]
        async with control.hold(300, limit="tokens") as held:
            held.settle(100)
        await control.charge(7, limit="rows")
        await control.hold(400, limit="tokens").__aenter__()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def test() -> None:
        limited = limiter(handle)
        assert status(await ask(limited, **COMPLETION)) == 200
        with trio.fail_after(5):
            while (await used(limited, "tokens"))["tokens"] > 100:
                await trio.lowlevel.checkpoint()
        assert await used(limited, "tokens", "rows") == {"tokens": 100, "rows": 7}
        await limited._account.close()

    trio.run(test)


def test_two_policies() -> None:
    """A denial from inside of an inner policy goes out through the outer one: its headers, and the outer's log id."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(1001, limit="tokens"):
            pass

    async def test() -> None:
        store = MemoryStore(clock=lambda: T)
        outer_text = (
            'style = "ietf"\n[tiers.anonymous]\nlimits = [{ name = "all", rate = "9/minute", refund_on = ["403"] }]'
        )
        inner = RateLimitMiddleware(app(handle), parse_policy(TEXT.replace("lendworks", "ietf"), "inner"), store=store)
        outer = RateLimitMiddleware(inner, parse_policy(outer_text, "outer"), store=store)
        start, _ = await ask(outer, **COMPLETION)
        assert start["status"] == 403
        assert '"tokens";r=1000' in str(header(start, "ratelimit"))
        assert await used(outer) == {"all": 0}
        assert await used(inner, "requests") == {"requests": 1}

    run(test())


def test_where_nothing_can_be_denied() -> None:
    """A control that no response belongs to tells that it does not fit, and raises nothing."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(1001, limit="tokens") as held:
            assert not held.allowed

    async def test() -> None:
        limited = limiter(app(handle))
        limited._account.late = False
        assert status(await ask(limited, **COMPLETION)) == 200

    run(test())


def test_the_first_denial_counts() -> None:
    """Of several from inside the first is told, whichever error comes out; none after the response has begun."""
    inside, first, second = Inside(), Decision(False, 1), Decision(False, 2)
    errors = [DeniedInside("one"), DeniedInside("two")]
    assert inside.deny(first, errors[0])
    assert inside.deny(second, errors[1], StoreUnavailable("gone"))
    assert (inside.denial, inside.failure) == (first, None)
    assert all(map(inside.raised, errors))
    assert inside.raised(ExceptionGroup("both", errors))
    assert not inside.raised(ExceptionGroup("another", [errors[0], ZeroDivisionError()]))
    assert not Inside(begun=True).deny(first, errors[0])


def test_a_response_without_a_look_at_its_status() -> None:
    """It goes out as it is; a message that comes after a denial does not."""
    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])

    async def answer(denied: Decision, failure: StoreUnavailable | None) -> None:
        sent.append("the answer")

    async def test() -> None:
        response = Response(Inside(), send, answer)
        await response.send({"type": "http.response.start", "status": 200})
        await response.send({"type": "http.response.body"})
        await response.end()
        inside = Inside()
        response = Response(inside, send, answer)
        inside.deny(Decision(False, 1), DeniedInside("one"))
        for kind in ("http.response.debug", "http.response.start", "http.response.body"):
            await response.send({"type": kind})
        await response.end()
        assert sent == ["http.response.start", "http.response.body", "the answer"]

    run(test())


async def _fits(control: Control, send: Any) -> None:
    async with control.hold(10, limit="tokens"):
        pass


async def _denied(control: Control, send: Any) -> None:
    async with control.hold(1001, limit="tokens"):
        pass


async def _handled(control: Control, send: Any) -> None:
    with suppress(DeniedInside):
        await _denied(control, send)


async def _refused(control: Control, send: Any) -> None:
    with suppress(ValueError):
        await control.charge(-1, limit="tokens")


@pytest.mark.parametrize("handle", [_fits, _denied, _handled, _refused])
@pytest.mark.parametrize("kind", ["memory", "valkey"])
def test_no_garbage(handle: Any, kind: str, valkey: Server, prefix: str) -> None:
    """A control does not refer to the scope that it is in, nor is an error kept that refers to both: when a request has
    ended nothing of it is left for the garbage collector."""

    async def test() -> None:
        store = MemoryStore() if kind == "memory" else RedisStore(valkey.url, prefix=prefix, timeout=5)
        limited = limiter(app(handle), store=store)
        await ask(limited, **COMPLETION)
        await turns()
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                await ask(limited, **COMPLETION)
                await turns()
            found = [one for one in gc.get_objects() if isinstance(one, Control)]
        finally:
            gc.enable()
        assert found == []
        await store.close()

    run(test())


@pytest.mark.parametrize(
    "policy", [POLICY, parse_policy(f"{TEXT}[tiers.waits]\nwait = {{ up_to = '1s' }}\nlimits = []", "w")]
)
def test_a_middleware_is_gone_with_its_app(policy: Policy) -> None:
    """It refers to itself nowhere, so that what it tells and keeps is not told again by what comes after it."""
    gc.collect()
    gc.disable()
    try:
        limited = RateLimitMiddleware(app(_none), policy, store=MemoryStore())
        run(ask(limited, **COMPLETION))
        gone = weakref.ref(limited)
        del limited
        assert gone() is None
    finally:
        gc.enable()
