"""Limits that count by what a request came to: `charge_on` and `refund_on`."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from ratelimit import Identity, MemoryStore, RedisStore
from ratelimit.control.control import Control
from ratelimit.model import Receive, Scope, Send
from tests.acceptance import T, ask, header, plain, scope_of
from tests.control import Away, app, limiter, run, status, used
from tests.servers import Server

LOGIN = """
[operations]
login = ["POST /login"]

[tiers.anonymous]
limits = [
  { name = "logins", rate = "5/minute", operations = ["login"], charge_on = ["401"] },
  { name = "errors", rate = "60/minute", refund_on = ["5xx", "304"], cost = 3 },
  { name = "requests", rate = "1000/minute" },
]
"""


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    """By the query: the status, or what goes wrong."""
    what = scope["query_string"].decode()
    await asyncio.sleep(0)
    if what == "raises":
        raise ZeroDivisionError
    if what == "nothing":
        return
    if what == "hangs":
        await asyncio.Event().wait()
    await send({"type": "http.response.start", "status": 200 if what == "breaks" else int(what), "headers": []})
    if what == "breaks":
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        raise ZeroDivisionError
    await send({"type": "http.response.body", "body": b"ab"})


def request(what: str, path: str = "/login", method: str = "POST") -> Scope:
    return {**scope_of(path, method, None), "query_string": what.encode()}


@pytest.mark.parametrize(
    ("what", "logins", "errors"),
    [
        ("200", 0, 3),
        ("401", 1, 3),
        ("403", 0, 3),
        ("304", 0, 0),
        ("500", 0, 0),
        ("503", 0, 0),
        ("429", 0, 3),
        ("raises", 0, 0),
        ("nothing", 1, 3),
        ("breaks", 0, 3),
    ],
)
def test_by_status(what: str, logins: int, errors: int) -> None:
    """Only what comes to a status of charge_on counts, and what comes to one of refund_on does not. An error before the
    response counts as a 500; a stream that breaks off has its status, and who answers nothing keeps the charge."""

    async def test() -> None:
        limited = limiter(answers, LOGIN)
        if what in ("raises", "breaks"):
            with pytest.raises(ZeroDivisionError):
                await ask(limited, scope=request(what))
        else:
            await ask(limited, scope=request(what))
        assert await used(limited) == {"logins": logins, "errors": errors, "requests": 1}
        assert limited._account.pending._of == {}

    run(test())


def test_headers_tell_what_is_left_then() -> None:
    """What goes back does so before the headers are written."""

    async def test() -> None:
        limited = limiter(answers, LOGIN)
        told = []
        for what in ("401", "200", "500"):
            start, _ = await ask(limited, scope=request(what))
            told.append(header(start, "ratelimit"))
        assert told == [
            '"logins";r=4;t=61, "errors";r=57;t=61, "requests";r=999;t=61',
            '"logins";r=4;t=61, "errors";r=54;t=61, "requests";r=998;t=61',
            '"logins";r=4;t=61, "errors";r=54;t=61, "requests";r=997;t=61',
        ]
        fresh = limiter(answers, LOGIN)
        start, _ = await ask(fresh, scope=request("200"))
        assert str(header(start, "ratelimit")).startswith('"logins";r=5;t=1, ')

    run(test())


def test_a_client_that_hangs_up() -> None:
    """Its charge stays, and nothing is pending any more."""

    async def test() -> None:
        limited = limiter(answers, LOGIN)
        task = asyncio.create_task(ask(limited, scope=request("hangs")))
        for _ in range(5):
            await asyncio.sleep(0)
        assert limited._account.pending._of
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await used(limited) == {"logins": 1, "errors": 3, "requests": 1}
        assert limited._account.pending._of == {}

    run(test())


class _BadStyle:
    log_id_header = None

    def headers(self, *_: object) -> Any:
        raise ZeroDivisionError


def test_a_style_that_raises() -> None:
    """Nothing is pending for ever where the app is never called."""

    async def test() -> None:
        style: Any = _BadStyle()
        limited = limiter(answers, LOGIN, style=style)
        with pytest.raises(ZeroDivisionError):
            await ask(limited, scope=request("200"))
        assert limited._account.pending._of == {}

    run(test())


def store_of(kind: str, server: Server, prefix: str) -> Any:
    return MemoryStore(clock=lambda: T) if kind == "memory" else RedisStore(server.url, prefix=prefix, timeout=5)


@pytest.mark.parametrize("kind", ["memory", "valkey"])
def test_wrong_passwords_in_parallel(kind: str, valkey: Server, prefix: str) -> None:
    """Of 100 at once five are answered 401, and the rest 429."""

    async def test() -> None:
        limited = limiter(answers, LOGIN.replace("60/minute", "6000/minute"), store_of(kind, valkey, prefix))
        seen = await asyncio.gather(*[ask(limited, scope=request("401")) for _ in range(100)])
        assert Counter(map(status, seen)) == {401: 5, 429: 95}
        (again, _) = await ask(limited, scope=request("401"))
        assert again["status"] == 429
        assert int(header(again, "retry-after") or 0) > 50
        await limited.store.close()

    run(test())


@pytest.mark.parametrize("kind", ["memory", "valkey"])
def test_right_passwords_in_parallel(kind: str, valkey: Server, prefix: str) -> None:
    """Twenty at once are never locked out for long: who is denied while others wait for their status is told to come
    back in a second, and then passes."""

    async def test() -> None:
        limited = limiter(answers, LOGIN.replace("60/minute", "6000/minute"), store_of(kind, valkey, prefix))
        for _ in range(10):
            seen = await asyncio.gather(*[ask(limited, scope=request("200")) for _ in range(20)])
            assert Counter(map(status, seen)) == {200: 5, 429: 15}
            assert {header(start, "retry-after") for start, _ in seen if start["status"] == 429} == {"1"}
            assert (await used(limited, "logins"))["logins"] == 0
        await limited.store.close()

    run(test())


def test_a_wait_that_is_another_limits() -> None:
    """A denial by a limit of which nothing is pending is told as it is; so is one that can never pass."""

    async def test() -> None:
        limited = limiter(answers, LOGIN.replace("1000/minute", "1/minute"))
        task = asyncio.create_task(ask(limited, scope=request("hangs")))
        for _ in range(5):
            await asyncio.sleep(0)
        start, _ = await ask(limited, scope=request("200"))
        assert (start["status"], header(start, "retry-after")) == (429, "61")
        task.cancel()

    run(test())


def test_no_wait_is_made_longer() -> None:
    """One that is shorter than a second stays as it is."""
    now = [T + 200]

    async def test() -> None:
        text = LOGIN.replace('rate = "5/minute"', 'rate = "1/second", precision = 2')
        limited = limiter(answers, text, MemoryStore(clock=lambda: now[0]))
        task = asyncio.create_task(ask(limited, scope=request("hangs")))
        for _ in range(5):
            await asyncio.sleep(0)
        now[0] += 800
        denied = await ask(limited, scope=request("200"))
        assert header(denied[0], "retry-after") == "1"
        task.cancel()

    run(test())


def test_refunded_by_hand_before() -> None:
    """What the app gave back does not go back once more by the status, and the other way round."""

    async def handle(control: Control, send: Any) -> None:
        await control.refund(1)

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await plain(scope, receive, send)
        await scope["ratelimit.control"].refund()

    async def test() -> None:
        limited = limiter(app(handle, status=500), LOGIN)
        await ask(limited, scope=request("500", "/items", "POST"))
        assert await used(limited) == {"logins": 0, "errors": 0, "requests": 0}
        limited = limiter(late, LOGIN)
        await ask(limited, scope=request("200"))
        assert await used(limited) == {"logins": 0, "errors": 0, "requests": 0}

    run(test())


def test_without_the_store(caplog: pytest.LogCaptureFixture) -> None:
    """A response goes out all the same: the log says that the units stay counted."""
    store = Away(lambda: T)
    store.away = {"refund"}

    async def test() -> None:
        limited = limiter(answers, LOGIN, store)
        assert status(await ask(limited, scope=request("200"))) == 200
        assert await used(limited, "logins") == {"logins": 1}

    run(test())
    assert [record.getMessage() for record in caplog.records] == [
        "refund of logins: what was to be given back stays counted: gone"
    ]


def test_let_through_without_the_store() -> None:
    """Nothing is pending of what nobody counted."""
    store = Away(lambda: T)
    store.away = {"acquire"}

    async def test() -> None:
        limited = limiter(answers, LOGIN, store)
        assert status(await ask(limited, scope=request("200"))) == 200
        assert store.asked == ["acquire"]

    run(test())


def test_in_shadow() -> None:
    """A limit in shadow counts as it will when it is enforced."""

    async def test() -> None:
        text = LOGIN.replace('charge_on = ["401"]', 'charge_on = ["401"], mode = "shadow"')
        limited = limiter(answers, text)
        for what in ("200", "401", *["401"] * 6):
            assert status(await ask(limited, scope=request(what))) == int(what)
        assert (await used(limited, "logins"))["logins"] == 5

    run(test())


def test_a_denial_from_inside_has_its_status() -> None:
    """What is denied from inside comes to the status of that answer."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(11, limit="tokens"):
            pass

    async def test() -> None:
        text = """
[tiers.anonymous]
limits = [
  { name = "requests", rate = "60/minute", refund_on = ["403"] },
  { name = "tokens", rate = "10/minute", cost = 0, hold = true },
]
"""
        limited = limiter(app(handle), text)
        start, _ = await ask(limited, scope=request("200"))
        assert start["status"] == 403
        assert await used(limited) == {"requests": 0, "tokens": 0}

    run(test())


def test_only_who_has_such_limits_pays() -> None:
    """Of another tier's caller nothing is pending."""

    async def test() -> None:
        text = LOGIN + '[tiers.other]\nlimits = [{ name = "requests", rate = "5/minute" }]'
        other = Identity(user="ana", tier="other")
        limited = limiter(answers, text, identify=lambda _: other)
        assert status(await ask(limited, scope=request("401"))) == 401
        assert await used(limited, "requests", identity=other) == {"requests": 1}

    run(test())
