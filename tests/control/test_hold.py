"""Units that an app holds while it works, and settles when it knows what it used."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from ratelimit import MemoryStore, requests_without_store
from ratelimit.answers.inside import DeniedInside
from ratelimit.control.control import Control
from ratelimit.control.hold import Holding
from ratelimit.model import Message, Receive, Scope, Send
from tests.acceptance import T, ask, driven, header, scope_of
from tests.clocked import Clocked
from tests.control import COMPLETION, TEXT, Away, app, limiter, run, status, used

LEFT = {"requests": 1, "tokens": 0, "daily tokens": 0, "rows": 0}
IETF = TEXT.replace("lendworks", "ietf")


def tokens(units: int) -> dict[str, int]:
    return {**LEFT, "tokens": units}


@pytest.mark.parametrize(
    ("said", "expected"), [((), 400), ((150,), 150), ((10, 150, 20), 20), ((0,), 0), ((600,), 600), ((1200,), 1200)]
)
def test_settled(said: tuple[int, ...], expected: int) -> None:
    """The last word counts, also above what was held and above the max; without one all was used."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(400, limit="tokens") as held:
            assert held.allowed
            assert held.retry_after == 0
            assert control.left()["tokens"] == 600
            for units in said:
                held.settle(units)
        assert control.left()["tokens"] == max(0, 1000 - expected)

    async def test() -> None:
        limited = limiter(app(handle))
        assert status(await ask(limited, **COMPLETION)) == 200
        assert await used(limited) == tokens(expected)

    run(test())


@pytest.mark.parametrize(("said", "expected"), [((), 0), ((150,), 150)])
def test_a_block_that_raises(said: tuple[int, ...], expected: int) -> None:
    """Nothing was used where it raises before any word of it; else what was said."""

    async def handle(control: Control, send: Any) -> None:
        with suppress(ZeroDivisionError):
            async with control.hold(400, limit="tokens") as held:
                for units in said:
                    held.settle(units)
                raise ZeroDivisionError

    async def test() -> None:
        limited = limiter(app(handle))
        assert status(await ask(limited, **COMPLETION)) == 200
        assert await used(limited) == tokens(expected)

    run(test())


def test_several_limits() -> None:
    """All of them or none, settled in one call."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(900, limit=["tokens", "daily tokens"]) as held:
            held.settle(850)
        async with control.hold(151, limit=["tokens", "daily tokens"], deny=False) as held:
            assert not held.allowed
            assert held.retry_after == 61

    async def test() -> None:
        store = Away(lambda: T)
        limited = limiter(app(handle), store=store)
        assert status(await ask(limited, **COMPLETION)) == 200
        assert await used(limited) == {**LEFT, "tokens": 850, "daily tokens": 850}
        assert store.asked.count("settle") == 1

    run(test())


def test_denied() -> None:
    """What does not fit is answered by the style's whole 429, as at the door; the app's own response never goes out."""
    sent: list[str] = []

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(1000, limit="tokens"):
            try:
                async with control.hold(1, limit="tokens"):
                    sent.append("never")
            finally:
                sent.append("ended")

    async def test() -> None:
        limited = limiter(app(handle), IETF)
        start, body = await ask(limited, **COMPLETION)
        assert start["status"] == 429
        assert header(start, "retry-after") == "61"
        told = header(start, "ratelimit")
        assert told is not None
        assert told.startswith('"requests";r=59;t=61, "tokens";r=0;t=61, ')
        assert header(start, "content-type") == "application/problem+json"
        assert header(start, "cache-control") == "no-store"
        assert json.loads(body["body"])["violated-policies"] == ["tokens"]
        assert int(header(start, "content-length") or 0) == len(body["body"])
        assert sent == ["ended"]
        assert await used(limited) == LEFT

    run(test())


def test_never(caplog: pytest.LogCaptureFixture) -> None:
    """More than the max can never be held: that is a 403 which says so, with what it costs."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(1001, limit="tokens", deny=False) as held:
            assert not held.allowed
            assert held.retry_after is None
        async with control.hold(1001, limit="tokens"):
            pass

    async def test() -> None:
        start, body = await ask(limiter(app(handle)), **COMPLETION)
        assert start["status"] == 403
        assert header(start, "retry-after") is None
        assert b"it costs 1001 and its limit allows 1000" in body["body"]

    run(test())


def test_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A denial from inside has its line, as one at the door, with the id that the client was given."""
    caplog.set_level(logging.INFO, "ratelimit")

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(1000, limit="tokens"), control.hold(1, limit="tokens"):
            pass

    async def test() -> None:
        start, _ = await ask(limiter(app(handle), TEXT.replace("lendworks", "facturapi")), **COMPLETION)
        (line,) = [record.getMessage() for record in caplog.records]
        log_id = header(start, "x-facturapi-log-id")
        assert line == f"denied operation=completion limit=tokens wait=61.000s log_id={log_id} caller=ip=192.0.2.7"

    run(test())


async def _made_of(error: DeniedInside, caught: str, send: Send) -> None:
    if caught == "other":
        raise ZeroDivisionError from error
    if caught == "group":
        raise ExceptionGroup("of a task group", [error]) from None
    for _ in range({"returns": 0, "starts twice": 2}.get(caught, 1)):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b"my own"})


@pytest.mark.parametrize("caught", ["handled", "returns", "other", "group", "starts twice"])
def test_whatever_the_app_makes_of_it(caught: str) -> None:
    """A handler of the app's own, nothing at all, another error, a task group: the answer is the style's, and only an
    error of the app's own is raised."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with (
                scope["ratelimit.control"].hold(1000, limit="tokens"),
                scope["ratelimit.control"].hold(1, limit="tokens"),
            ):
                pass
        except DeniedInside as error:
            await _made_of(error, caught, send)

    async def test() -> None:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        call = limiter(handle)(scope_of(**COMPLETION), receive, send)
        if caught == "other":
            with pytest.raises(ZeroDivisionError):
                await call
        else:
            await call
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        assert status(sent) == 429
        assert header(sent[0], "x-own") is None
        assert b"RATE_LIMIT_EXCEEDED" in sent[1]["body"]

    run(test())


def test_once_the_response_has_begun() -> None:
    """A stream whose 200 is out is never broken off: it is told that the units do not fit, and for how long."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        control: Control = scope["ratelimit.control"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async with control.hold(900, limit="tokens") as first, control.hold(101, limit="tokens") as held:
            assert first.allowed
            assert not held.allowed
            assert held.retry_after == 61
        await send({"type": "http.response.body", "body": b"ab"})

    async def test() -> None:
        limited = limiter(handle)
        assert status(await ask(limited, **COMPLETION)) == 200
        assert await used(limited) == tokens(900)

    run(test())


@pytest.mark.parametrize(("said", "expected"), [((), 0), ((30,), 30)])
def test_without_what_was_asked_for(said: tuple[int, ...], expected: int) -> None:
    """Who goes on though nothing is held may say what was used: it is charged."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(2000, limit="tokens", deny=False) as held:
            for units in said:
                held.settle(units)

    async def test() -> None:
        limited = limiter(app(handle))
        await ask(limited, **COMPLETION)
        assert await used(limited) == tokens(expected)

    run(test())


def test_headers_tell_what_is_held() -> None:
    """What was settled before the response begins is in its headers."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(400, limit="tokens") as held:
            held.settle(300)

    async def test() -> None:
        start, _ = await ask(limiter(app(handle), IETF), **COMPLETION)
        assert header(start, "ratelimit") == '"requests";r=59;t=61, "tokens";r=700;t=61, "daily tokens";r=5000;t=50400'

    run(test())


@pytest.mark.parametrize(
    ("ask_for", "error", "words"),
    [
        (lambda c: c.hold(1, limit="tokens", lease="soon"), ValueError, r'^hold: lease: "soon" is not a duration'),
        (lambda c: c.hold(1, limit="tokens", lease="10ms"), ValueError, r"^hold: lease: .*the shortest lease is 1s"),
        (lambda c: c.hold(0, limit="tokens"), ValueError, r"^units: 0 is too small; the least is 1"),
        (lambda c: c.hold(1, limit="requests"), ValueError, r'^Limit "requests": units of it can\'t be held'),
    ],
)
def test_what_is_refused(ask_for: Callable[[Control], Holding], error: type[Exception], words: str) -> None:
    """It is said where it is asked for, and nothing is held."""

    async def handle(control: Control, send: Any) -> None:
        with pytest.raises(error, match=words):
            async with ask_for(control):
                pass
        assert control.holding == ()

    async def test() -> None:
        limited = limiter(app(handle))
        assert status(await ask(limited, **COMPLETION)) == 200
        assert await used(limited) == LEFT

    run(test())


def test_used_in_a_wrong_way() -> None:
    """It is entered once, asked when it is known, and settled in its block by a whole number."""

    async def handle(control: Control, send: Any) -> None:
        hold = control.hold(10, limit="tokens")
        with pytest.raises(RuntimeError, match=r"it is not known yet whether this hold fits"):
            _ = hold.allowed
        async with hold as held:
            assert held is hold
            with pytest.raises(ValueError, match=r"^settle: used: 1.5 is not a whole number"):
                hold.settle(1.5)  # type: ignore[arg-type]
            with pytest.raises(RuntimeError, match=r"a hold is entered once"):
                await hold.__aenter__()
        with pytest.raises(RuntimeError, match=r"^settle: this hold is over"):
            hold.settle(1)

    async def test() -> None:
        limited = limiter(app(handle))
        assert status(await ask(limited, **COMPLETION)) == 200
        assert await used(limited) == tokens(10)

    run(test())


def test_renewed() -> None:
    """A hold is kept for as long as its block runs, however long; nothing of it is left behind."""
    loop = Clocked()

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(400, limit="tokens", lease="20s") as held:
            await asyncio.sleep(50)
            assert not await fits(control, 601)
            held.settle(100)

    async def fits(control: Control, units: int) -> bool:
        async with control.hold(units, limit="tokens", deny=False) as held:
            return held.allowed

    async def test() -> None:
        store = MemoryStore(clock=lambda: int(loop.time() * 1000))
        limited = limiter(app(handle), store=store)
        assert status(await ask(limited, **COMPLETION)) == 200
        assert (await used(limited))["tokens"] == 100
        assert not any(held._due or held._timer for held in limited._leases._held.values())

    try:
        loop.run_until_complete(test())
    finally:
        loop.close()


@pytest.mark.parametrize(("said", "expected"), [((), 0), ((120,), 120)])
@pytest.mark.parametrize("end", ["left", "raises", "closed", "dropped", "cancelled"])
def test_a_client_that_vanishes(end: str, said: tuple[int, ...], expected: int) -> None:
    """What is open when the app call ends is settled with what was said so far, also where the block is in a generator
    that nobody ends, and where the call is closed."""
    kept: list[AsyncGenerator[bytes]] = []

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        kept.append(_stream(scope["ratelimit.control"], said))
        await send({"type": "http.response.body", "body": await anext(kept[0]), "more_body": True})
        if end == "raises":
            raise ConnectionError
        if end != "left":
            await asyncio.Event().wait()

    async def test() -> None:
        limited = limiter(handle)
        await _ended(
            partial(limited, scope_of(**COMPLETION), _nothing, _hears),
            {"closed": "close", "dropped": "drop"}.get(end, ""),
        )
        for _ in range(3):
            await asyncio.sleep(0)
        assert await used(limited) == tokens(expected)
        assert not any(held._due or held._timer for held in limited._leases._held.values())
        kept.clear()
        gc.collect()  # closes the generator
        for _ in range(3):
            await asyncio.sleep(0)
        assert await used(limited) == tokens(expected)

    run(test())


async def _stream(control: Control, said: tuple[int, ...]) -> AsyncGenerator[bytes]:
    async with control.hold(400, limit="tokens") as held:
        for units in said:
            held.settle(units)
        yield b"ab"


async def _ended(call: Callable[[], Coroutine[Any, Any, None]], end: str) -> None:
    """Run as a server's own task, which is cancelled where it does not end by itself."""

    async def runs() -> None:
        await driven(call(), end)

    task = asyncio.create_task(runs())
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError, ConnectionError):
        await task


async def _nothing() -> Message:
    return {"type": "http.request"}


async def _hears(message: Message) -> None:
    """It is sent."""


def test_a_generator_that_is_closed() -> None:
    """Closed within its request, where nothing may be awaited, it is settled all the same."""

    async def handle(control: Control, send: Any) -> None:
        generator = _stream(control, (5,))
        await anext(generator)
        await generator.aclose()
        for _ in range(3):
            await asyncio.sleep(0)
        assert control.holding == ()

    async def test() -> None:
        limited = limiter(app(handle))
        assert status(await ask(limited, **COMPLETION)) == 200
        assert await used(limited) == tokens(5)

    run(test())


async def _settled_later(control: Control, entered: asyncio.Event, got: list[Holding]) -> None:
    async with control.hold(400, limit="tokens") as held:
        got.append(held)
        entered.set()
        await asyncio.sleep(0.01)


def test_a_task_that_outlives_its_request() -> None:
    """Its hold ends with the request; to settle it later is an error, not a number that nobody counts."""
    tasks: list[asyncio.Task[None]] = []
    got: list[Holding] = []

    async def handle(control: Control, send: Any) -> None:
        entered = asyncio.Event()
        tasks.append(asyncio.create_task(_settled_later(control, entered, got)))
        await entered.wait()
        got[0].settle(70)

    async def test() -> None:
        limited = limiter(app(handle))
        assert status(await ask(limited, **COMPLETION)) == 200
        await asyncio.sleep(0)
        assert (await used(limited))["tokens"] == 70
        with pytest.raises(RuntimeError, match=r"^settle: this hold is over"):
            got[0].settle(80)
        await tasks[0]
        assert (await used(limited))["tokens"] == 70

    run(test())


@pytest.mark.parametrize("on_failure", ["allow", "deny", "local"])
def test_without_the_store(on_failure: str, caplog: pytest.LogCaptureFixture) -> None:
    """on_failure decides: let through without units, the style's 503, or what this process counts by itself."""
    store = Away(lambda: T)
    seen: list[tuple[bool, int | None]] = []

    async def handle(control: Control, send: Any) -> None:
        store.away = {"hold"}
        for units in (800, 800):
            async with control.hold(units, limit="tokens", deny=False) as held:
                seen.append((held.allowed, held.retry_after))
                held.settle(0)
        async with control.hold(1, limit="tokens") as held:
            held.settle(7)

    async def test() -> None:
        limited = limiter(app(handle), f'{TEXT}\n[store]\non_failure = "{on_failure}"', store)
        before = requests_without_store()
        answers = await ask(limited, **COMPLETION)
        verdict = {"allow": "allowed", "deny": "refused", "local": "decided locally"}[on_failure]
        assert {
            name: count - before[name] for name, count in requests_without_store().items() if count > before[name]
        } == {verdict: 1}
        if on_failure == "deny":
            assert status(answers) == 503
            assert header(answers[0], "retry-after") == "1"
            assert b"SERVICE_UNAVAILABLE" in answers[1]["body"]
        else:
            assert status(answers) == 200
        expected = {"allow": [(True, 0)] * 2, "deny": [(False, 1)] * 2, "local": [(True, 0), (False, 61)]}
        assert seen == expected[on_failure]
        # What was said to be used is charged where nothing counted it, as far as the store hears of it.
        assert (await used(limited))["tokens"] == {"allow": 7, "deny": 0, "local": 6}[on_failure]

    run(test())
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("hold")]
    assert lines == ["hold of tokens: nothing is held, and on_failure decides: gone"]


def test_settled_without_the_store(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is raised: the log says that the units go back with their lease."""
    store = Away(lambda: T)

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(800, limit="tokens") as held:
            store.away = {"settle"}
            held.settle(5)

    run(_asked(limiter(app(handle), store=store)))
    assert [record.getMessage() for record in caplog.records] == [
        "settle of tokens: what was used is not counted, and what was held goes back with its lease: gone"
    ]


async def _asked(limited: Any) -> None:
    assert status(await ask(limited, **COMPLETION)) == 200


def test_never_above_the_budget() -> None:
    """Streams of unknown cost, many at a time: what is held and used together is never above the max of any window, and
    what is not used is free at once."""
    now = [T]
    used_at: list[tuple[int, int]] = []

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        control: Control = scope["ratelimit.control"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async with control.hold(100, limit="tokens") as held:
            if held.allowed:
                at, units = now[0], 0
                for _ in range(scope["path"].count("x")):
                    await asyncio.sleep(0)
                    units += 10
                    held.settle(units)
                used_at.append((at, units))
        await send({"type": "http.response.body", "body": b""})

    async def test() -> None:
        limited = limiter(handle, TEXT.replace("60/minute", "100000/minute"), MemoryStore(clock=lambda: now[0]))
        for turn in range(90):
            now[0] = T + 1_000 * turn
            paths = ["/completions" + "x" * (number * 7 % 10 + 1) for number in range(8)]
            await asyncio.gather(*[ask(limited, path, "POST", None) for path in paths])
        for at, _ in used_at:
            assert sum(units for then, units in used_at if at <= then < at + 60_000) <= 1000
        assert sum(units for _, units in used_at) > 1000
        assert (await used(limited))["tokens"] <= 1000
        now[0] += 120_000
        assert (await used(limited))["tokens"] == 0

    run(test())


def test_units_are_free_at_once() -> None:
    """What one request did not use, the next one may hold as soon as the block has ended."""

    async def handle(control: Control, send: Any) -> None:
        for _ in range(10):
            async with control.hold(1000, limit="tokens") as held:
                held.settle(0)

    run(_asked(limiter(app(handle))))
