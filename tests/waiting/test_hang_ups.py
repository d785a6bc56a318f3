"""Who hangs up while it waits is dropped and charges nothing; what was received meanwhile is the app's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from ratelimit.model import Message
from tests.acceptance import plain
from tests.waiting import EMPTY, GONE, Street, stepped

TWO_SECONDS = '{ up_to = "4s", queue = 100 }'


def reading(seen: list[Any]) -> Any:
    """An app that receives until there is no more, and notes what."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            try:
                seen.append(await asyncio.wait_for(receive(), 1))
            except (TimeoutError, ValueError) as error:
                seen.append(type(error))
        await plain(scope, receive, send)

    return app


def test_a_hang_up() -> None:
    """It leaves the line at once, with nothing charged, and the next one has its turn."""

    async def test() -> None:
        street = Street(TWO_SECONDS)
        street.call()
        gone = street.call(received=(EMPTY, 1.0, GONE))
        street.call()
        silent = street.call(received=({"type": "http.request"}, 1.5, GONE))
        assert await street.answers() == [(200, 0), (429, 1_000), (200, 2_000), (429, 1_500)]
        assert gone.task.exception() is None
        assert (gone.receives, silent.receives) == (2, 2)
        assert street.store.asked == [0, 0, 2_000]

    stepped(test)


@pytest.mark.parametrize("headers", [{"content_length": "5"}, {"transfer_encoding": "chunked"}])
def test_with_a_body_nobody_asks(headers: dict[str, str]) -> None:
    """A server would have the client send it, for a request that may be denied yet."""

    async def test() -> None:
        found: list[Any] = []
        street = Street(TWO_SECONDS, app=reading(found))
        street.call()
        waiting = street.call(received=(EMPTY, 1.0, GONE), **headers)
        await asyncio.sleep(1.9)
        assert waiting.receives == 0
        found.clear()
        assert (await street.answers())[1][0] == 200
        assert found == [EMPTY, GONE]

    stepped(test)


def test_an_empty_body_is_none() -> None:
    """A Content-Length of 0 is no body: a hang-up is seen."""

    async def test() -> None:
        street = Street(TWO_SECONDS)
        street.call()
        street.call(received=(EMPTY, 0.5, GONE), content_length="0")
        assert await street.answers() == [(200, 0), (429, 500)]

    stepped(test)


CHUNK: Message = {"type": "http.request", "body": b"a", "more_body": True}
LAST: Message = {"type": "http.request", "body": b"b", "more_body": False}


@pytest.mark.parametrize(
    ("received", "seen"),
    [
        ((EMPTY,), [EMPTY, TimeoutError]),
        ((EMPTY, 2.5, GONE), [EMPTY, GONE]),
        ((CHUNK, 2.5, LAST), [CHUNK, LAST]),  # HTTP/2 announces no body
        ((CHUNK, LAST), [CHUNK, LAST]),
        ((EMPTY, 1.5, ValueError("mine")), [EMPTY, ValueError]),
        ((2.5, EMPTY), [EMPTY, TimeoutError]),
    ],
)
def test_what_was_received_is_handed_on(received: Sequence[Any], seen: list[Any]) -> None:
    """Each message reaches the app once, in order, and so does an error; of a body that was not announced no more than
    its beginning is taken."""

    async def test() -> None:
        found: list[Any] = []
        street = Street(TWO_SECONDS, app=reading(found))
        street.call()
        await street.answers()
        found.clear()
        street.call(received=received)
        await street.answers()
        assert street.calls[1].status == 200
        assert found == seen

    stepped(test)


def test_gone_while_it_is_asked_for() -> None:
    """Who hangs up when the store is asked is admitted like anybody who hangs up then: the app sees it."""

    async def test() -> None:
        found: list[Any] = []
        street = Street(TWO_SECONDS, app=reading(found))
        street.call()
        await street.answers()
        found.clear()
        store, loop = street.store, asyncio.get_running_loop()
        took = store.acquire

        async def slow(charges: Any) -> Any:
            decision = await took(charges)
            if loop.time() > 2:
                await asyncio.sleep(0.5)
            return decision

        store.acquire = slow
        street.call(received=(EMPTY, 2.2, GONE))
        await street.answers()
        assert street.calls[1].status == 200
        assert found == [EMPTY, GONE]

    stepped(test)
