"""What nobody means to ask for, and clients who do not wait."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from ratelimit import MemoryStore
from ratelimit.control.control import Control
from ratelimit.model import Message, Receive, Scope, Send, StoreUnavailable
from tests.acceptance import T, ask, header, plain, scope_of
from tests.control import COMPLETION, TEXT, app, limiter, run, status, used

UPLOAD = """
[operations]
login = ["POST /login"]

[tiers.anonymous]
limits = [
  { name = "logins", rate = "5/minute", operations = ["login"], charge_on = ["401"] },
  { name = "errors", rate = "60/minute", refund_on = ["5xx", "4xx"] },
]
"""
PENDING = """
style = "ietf"

[operations]
completion = ["POST /completions"]

[tiers.anonymous]
limits = [
  { name = "logins", rate = "5/minute", charge_on = ["401"] },
  { name = "tokens", rate = "10/minute", hold = true, refund_on = ["5xx"], cost = 4 },
]
"""


def test_no_name() -> None:
    """To charge or hold units of no limit at all is a mistake, and said: nothing is unlimited silently."""

    async def handle(control: Control, send: Any) -> None:
        with pytest.raises(LookupError, match=r"^no limit is named, so that nothing would be"):
            control.hold(1_000_000, limit=[])
        with pytest.raises(LookupError, match=r"^no limit is named"):
            await control.charge(1, limit=())

    async def test() -> None:
        assert status(await ask(limiter(app(handle)), **COMPLETION)) == 200

    run(test())


async def _login(request: Request) -> PlainTextResponse:
    await request.body()
    return PlainTextResponse("welcome")


async def _handled(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": "upload"}, 400)


@pytest.mark.parametrize("handled", [False, True])
@pytest.mark.parametrize("plain_asgi", [False, True])
def test_who_hangs_up_in_an_upload(handled: bool, plain_asgi: bool) -> None:
    """A hang-up keeps the charge, whatever the app makes of it: an error of its own, or an answer to nobody. Else who
    has the app work and does not wait for the answer would have it for nothing."""
    handlers: Any = {ClientDisconnect: _handled} if handled else {}
    api: Any = Starlette(routes=[Route("/login", _login, methods=["POST"])], exception_handlers=handlers)

    async def raw(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not handled:
            raise ConnectionError
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body"})

    async def test() -> None:
        limited = limiter(raw if plain_asgi else api, UPLOAD)
        messages = [{"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None: ...

        call = limited(scope_of("/login", "POST", None, content_length="9"), receive, send)
        if handled:
            await call
        else:
            with pytest.raises((ClientDisconnect, ConnectionError)):
                await call
        assert await used(limited) == {"logins": 1, "errors": 1}
        assert limited._account.pending._of == {}

    run(test())


def test_denied_from_inside_while_units_are_pending() -> None:
    """A hold that does not fit for units of which others do not know yet whether they stay is asked for again in a
    second, as at the door; the numbers are those after what this request gave back."""
    told: list[int | None] = []
    ends = asyncio.Event()

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["query_string"] == b"waits":
            await ends.wait()
            return await plain(scope, receive, send)
        control: Control = scope["ratelimit.control"]
        async with control.hold(4, limit="tokens", deny=False) as held:
            told.append(held.retry_after)
        async with control.hold(4, limit="tokens"):
            raise AssertionError

    def request(what: bytes) -> Scope:
        return {**scope_of("/completions", "POST", None), "query_string": what}

    async def test() -> None:
        limited = limiter(handle, PENDING)
        waiting = asyncio.create_task(ask(limited, scope=request(b"waits")))
        for _ in range(5):
            await asyncio.sleep(0)
        start, _ = await ask(limited, scope=request(b""))
        assert start["status"] == 429
        assert header(start, "retry-after") == "1"
        assert header(start, "ratelimit") == '"logins";r=4;t=61, "tokens";r=2;t=1'
        assert told == [1]
        ends.set()
        await waiting

    run(test())


def test_denied_from_inside_by_what_stays() -> None:
    """What the request itself has taken is no reason to come back in a second, where it stays."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(8, limit="tokens"):
            raise AssertionError

    async def test() -> None:
        limited = limiter(app(handle), PENDING, MemoryStore(clock=lambda: T))
        start, _ = await ask(limited, **COMPLETION)
        assert start["status"] == 429
        assert header(start, "retry-after") == "61"
        assert header(start, "ratelimit") == '"logins";r=5;t=1, "tokens";r=6;t=61'

    run(test())


def test_a_loop_that_ends() -> None:
    """What a loop had still to tell the store as it ended, and cancelled before it began, is not kept for ever."""
    limited = limiter(plain)

    async def work() -> None:
        raise AssertionError

    async def test() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: limited._account.begin(work))

    run(test())
    assert limited._account._tasks == {}


def test_what_did_not_fit_before() -> None:
    """A hold that did not fit, and was not to deny, exceeds nothing afterwards: neither the headers of the response nor
    a later denial by another limit speak of it."""
    ietf = TEXT.replace("lendworks", "ietf").replace("5000/day", "900/day")

    async def handle(control: Control, send: Any) -> None:
        await control.charge(300, limit="tokens")
        async with control.hold(1001, limit="tokens", deny=False) as held:
            assert held.retry_after is None
        if control.decision.states[0].remaining < 59:
            async with control.hold(901, limit="daily tokens"):
                raise AssertionError

    async def test() -> None:
        limited = limiter(app(handle), ietf)
        start, _ = await ask(limited, **COMPLETION)
        assert header(start, "ratelimit") == '"requests";r=59;t=61, "tokens";r=700;t=61, "daily tokens";r=900;t=50400'
        start, body = await ask(limited, **COMPLETION)
        assert start["status"] == 403
        assert json.loads(body["body"])["violated-policies"] == ["daily tokens"]

    run(test())


@pytest.mark.parametrize("style", ["lendworks", "facturapi"])
def test_would_deny(style: str, caplog: pytest.LogCaptureFixture) -> None:
    """A hold that a limit in shadow would deny is told in the log, as at the door: that is what shadow is for."""
    caplog.set_level(logging.INFO, "ratelimit")

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(1000, limit="tokens") as held, control.hold(1, limit="tokens") as more:
            assert held.allowed
            assert more.allowed

    async def test() -> None:
        text = TEXT.replace("lendworks", style).replace("hold = true }", 'hold = true, mode = "shadow" }', 1)
        start, _ = await ask(limiter(app(handle), text), **COMPLETION)
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith("would deny operation=completion limit=tokens wait=61.000s log_id=")
        if style == "facturapi":
            assert f"log_id={header(start, 'x-facturapi-log-id')} " in line

    run(test())


def test_said_though_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    """What could not be charged is in the log too where its request was cancelled meanwhile."""
    asked, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryStore):
        async def charge(self, charges: Any, units: int = 1) -> Any:
            asked.set()
            await goes_on.wait()
            raise StoreUnavailable("gone")

    async def handle(control: Control, send: Any) -> None:
        await control.charge(5, limit="rows")

    async def test() -> None:
        limited = limiter(app(handle), store=Slow(clock=lambda: T))
        limited._account._waits = True
        task = asyncio.create_task(ask(limited, **COMPLETION))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        goes_on.set()
        await limited._account.close()

    run(test())
    assert [record.getMessage() for record in caplog.records] == ["charge of rows: what was used is not counted: gone"]
