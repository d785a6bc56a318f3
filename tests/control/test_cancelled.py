"""A request that is cancelled while it charges, holds or gives back: nothing stays held, pending or renewed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any, get_args

import pytest

from ratelimit import Identity, MemoryStore, RateLimitMiddleware, RedisStore, parse_policy
from ratelimit.control.account import Account
from ratelimit.control.control import Control
from ratelimit.control.deferred import deferred
from ratelimit.model import Message, Receive, Scope, Send
from tests.acceptance import scope_of
from tests.cancellation import ROOT, Cancellation, Place, When, waits
from tests.control import ADDRESS
from tests.servers import Server

POLICY = parse_policy(
    """
[tiers.anonymous]
limits = [
  { name = "requests", rate = "100000/day" },
  { name = "tokens", rate = "1000/day", cost = 0, hold = true },
  { name = "free", quota = "100000/month", refund_on = ["200", "500", "429"] },
]

[tiers.basic]
limits = [{ name = "requests", rate = "100000/day" }, { name = "at once", concurrency = 5 }]

[tiers.closed]
limits = [{ name = "closed", rate = "0/day" }]
""",
    "cancelled",
)
WITHIN = parse_policy(
    """
[tiers.anonymous]
limits = [{ name = "within", rate = "100000/day" }]

[tiers.basic]
limits = [{ name = "of whom", rate = "100000/day" }]
""",
    "within",
)
ANA = Identity(user="ana", tier="basic")
# What no cancelled request can be suspended in, by the function or by the text, and why.
ELSEWHERE = {
    ("control/account.py", "Account.finished.run"): "a task of its own, which goes on",
    ("control/account.py", "Account.begin.run"): "of that task",
    ("control/account.py", "Account.close"): "at shutdown",
    ("control/account.py", "await work()"): "in memory, where nothing is waited for; or of that task",
    ("control/hold.py", "Holding._ask"): "of that task",
    ("control/late.py", "Late._go_back"): "of such a task",
    **dict.fromkeys(
        [
            ("control/late.py", "Late._decided"),
            ("control/deferred.py", "Door.take"),
            ("control/deferred.py", "await on_decided(failure, of_address)"),
            ("control/deferred.py", "await held.end()"),
        ],
        "of slots that go back, where a server reads nothing: tests/cancellation has that",
    ),
    ("control/hold.py", "Holding._tell"): "of that task",
}
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "control").glob("*.py"))
START = {"type": "http.response.start", "status": 200, "headers": []}


async def holds(control: Control, send: Send) -> None:
    await control.charge(0, limit="requests")
    async with control.hold(400, limit="tokens") as held:
        await asyncio.sleep(0)
        held.settle(0)
    await control.refund(0)


async def streams(control: Control, send: Send) -> None:
    await send(START)
    async with control.hold(400, limit="tokens"), control.hold(700, limit="tokens") as held:
        assert not held.allowed
        held.settle(1)
        raise ConnectionError


async def denied(control: Control, send: Send) -> None:
    async with control.hold(400, limit="tokens") as held:
        held.settle(0)
        async with control.hold(700, limit="tokens"):
            pass


async def returns(control: Control, send: Send) -> None:
    with suppress(Exception):
        await denied(control, send)


async def refunds(control: Control, send: Send) -> None:
    await control.refund()
    raise ZeroDivisionError


async def raises(control: Control, send: Send) -> None:
    raise ZeroDivisionError


async def decides(control: Control, send: Send) -> None:
    await control.decide(ANA)


async def decides_within(control: Control, send: Send) -> None:
    await control.decide(ANA)


async def denied_around(control: Control, send: Send) -> None:
    await control.decide(Identity(user=f"eve {next(EVES)}", tier="closed"))  # whose denial no store remembers


EVES = count()
DEFERRED = (decides, decides_within, denied_around)
APPS = (*DEFERRED, holds, streams, denied, returns, refunds, raises)


def limiter(handle: Any, store: Any) -> RateLimitMiddleware:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await handle(scope["ratelimit.control"], send)
        if handle is not returns:
            await send(START)
            await send({"type": "http.response.body", "body": b"ab"})

    limited: Any = app
    if handle in DEFERRED[1:]:
        limited = RateLimitMiddleware(app, WITHIN, store=store, identify=deferred())
    return RateLimitMiddleware(limited, POLICY, store=store, identify=deferred() if handle in DEFERRED else None)


async def receive() -> Message:
    await asyncio.sleep(0)
    return {"type": "http.request"}


async def send(message: Message) -> None:
    await asyncio.sleep(0)


async def used(limited: RateLimitMiddleware) -> dict[str, int]:
    store: Any = limited.store
    charges = limited.policy.named(ADDRESS, limited.policy.limits_of(ADDRESS))
    return {state.limit.name: state.used for state in (await store.peek(charges, 0)).states}


async def slots(limited: RateLimitMiddleware) -> int:
    """That ana holds, once nothing is on its way any more."""
    charges = tuple([replace(charge, cost=0) for charge in POLICY.charges(ANA, "search")])
    for _ in range(100):
        held = (await limited.store.acquire(charges)).states[1].used
        if not held:
            break
        await asyncio.sleep(0.01)
    return held


def accounts(limited: Any) -> list[Account]:
    """Of the limiter, and of one within."""
    return [one._account for one in (limited, limited.app) if isinstance(one, RateLimitMiddleware)]


async def settled(limited: RateLimitMiddleware) -> dict[str, int]:
    """What is used, when nothing is on its way any more."""
    async with asyncio.timeout(10):
        while any(one._tasks for one in accounts(limited)) or (await used(limited))["tokens"] > 1:  # noqa: ASYNC110 - a server tells nobody
            await asyncio.sleep(0.001)
    return await used(limited)


async def walk(handle: Any, store: Any, when: When) -> set[Place]:
    limited = limiter(handle, store)
    reached: set[Place] = set()
    for at in count(1):
        before = await settled(limited)
        cancellation = Cancellation(at, when)
        with suppress(asyncio.CancelledError, ZeroDivisionError, ConnectionError):
            await cancellation.task(limited(scope_of(api_key=None), receive, send))
        after = await settled(limited)
        assert after["tokens"] in (before["tokens"], before["tokens"] + 1)  # `streams` says that it used one
        assert after["requests"] - before["requests"] in (0, 1)
        assert after["free"] - before["free"] in (0, 1)
        assert [one.pending._of for one in accounts(limited) if one.pending._of] == []
        assert await slots(limited) == 0
        assert not any(held._due or held._timer for held in limited._leases._held.values())
        reached |= set(cancellation.places)
        if not cancellation.places:
            break
        if after["tokens"]:
            await store.reset([charge.key for charge in limited.policy.named(ADDRESS, ("tokens",))])
    assert [
        task for task in asyncio.all_tasks() if task is not asyncio.current_task() and "Link" not in repr(task)
    ] == []
    await store.close()
    return reached


REACHED: set[Place] = set()
CASES = [(app, when) for app in APPS for when in get_args(When)]


@pytest.fixture(params=["memory", "valkey"])
def store(request: pytest.FixtureRequest, prefix: str) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        server: Server = request.getfixturevalue("valkey")
        yield RedisStore(server.url, prefix=prefix, timeout=10)


@pytest.mark.parametrize(("handle", "when"), CASES)
def test_cancelled(handle: Any, when: When, store: Any) -> None:
    """At each suspension in turn, before and after what it waited for was there."""
    REACHED.update(asyncio.run(walk(handle, store, when)))


def test_every_await() -> None:
    """The requests above were cancelled at every `await` that there is in the source of this room."""
    written = waits(*FILES)
    apart = {wait for wait in written if ELSEWHERE.keys() & {(wait.file, wait.function), (wait.file, wait.text)}}
    assert {wait for wait in written if any(map(wait.holds, REACHED))} == {*written} - apart
    named = {(wait.file, name) for wait in written for name in (wait.function, wait.text)}
    assert ELSEWHERE.keys() <= named
