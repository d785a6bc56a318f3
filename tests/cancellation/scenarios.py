"""Requests to cancel: apps, callers, and what is wrong with the store meanwhile. Each is one caller's, ana's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from ratelimit import Identity, Policy
from ratelimit.model import ASGIApp, Message, Scope
from ratelimit.policy import RecordSettings
from ratelimit.telemetry.hook import Counts
from ratelimit.usage.endpoint import Usage
from tests.acceptance import policy
from tests.cancellation import Place, troubles
from tests.cancellation.troubles import Site, Trouble

LIMITS = """{ name = "rate", rate = "100000/day" }, { name = "quota", quota = "100000/month" },
            { name = "cap", concurrency = 100 }"""
NOTHING_LEFT = LIMITS.replace("100000/month", "0/month")
NO_CAP = LIMITS.partition('{ name = "cap"')[0]
ON_SERVERS = ("valkey", "redis", "cluster")

OF_REQUESTS = LIMITS.replace(" }", ', operations = ["connect", "detail_read", "search"] }')
MESSAGES = OF_REQUESTS + ', { name = "messages", rate = "100000/day", operations = ["message"] }'
NONE = MESSAGES.replace('messages", rate = "100000', 'messages", rate = "0')
FEW = MESSAGES.replace('messages", rate = "100000/day"', 'messages", rate = "1/3 seconds", precision = 1')

START = {"type": "http.response.start", "status": 200, "headers": []}
CHUNK = {"type": "http.response.body", "body": b"ab", "more_body": True}
LAST = {"type": "http.response.body", "body": b"ab"}


async def turn() -> None:
    await asyncio.sleep(0)


async def answers(scope: Scope, receive: Any, send: Any) -> None:
    await turn()
    await send(START)
    await send(LAST)
    await turn()


async def streams(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send(START)
    for _ in range(2):
        await turn()
        await send(CHUNK)
    await send(LAST)


async def raises(scope: Scope, receive: Any, send: Any) -> None:
    await turn()
    raise RuntimeError("the app's own")


async def raises_late(scope: Scope, receive: Any, send: Any) -> None:
    await send(START)
    await send(CHUNK)
    raise RuntimeError("the app's own")


async def accepts(scope: Scope, receive: Any, send: Any) -> None:
    """A connection: each message that it is handed, and then its close."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        scope["test.handed"].append(1)
        await send({"type": "websocket.send", "text": "a"})
    await send({"type": "websocket.close"})
    await turn()


async def rejects(scope: Scope, receive: Any, send: Any) -> None:
    await turn()
    await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"ab"})


async def leaves(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "websocket.close"})
    await turn()


async def tells_usage(scope: Scope, receive: Any, send: Any) -> None:
    """As `Route("/rate_limit", usage)`: to one that may not ask so, and then to one that may."""
    await Usage()({**scope, "method": "DELETE"}, receive, send)
    await Usage()(scope, receive, send)


class Hears:
    """Telemetry that nobody reads."""

    def count(self, counts: Counts) -> None: ...


async def later(identity: Identity | None) -> Identity | None:
    await turn()
    return identity


async def later_operation(scope: Scope) -> str | None:
    await turn()
    return None if scope["path"] == "/exempt" else "search"


def asked_late(policy: Policy) -> Policy:
    """The same, where who is calling has to be asked for."""
    identify = policy.identify

    def asks(scope: Scope) -> Awaitable[Identity | None]:
        return later(identify(scope))  # type: ignore[arg-type]

    return replace(policy, identify=asks)


@dataclass(frozen=True)
class Scenario:
    name: str
    app: ASGIApp
    limits: str = LIMITS
    path: str = "/items/7"
    type: str = "http"
    late: bool = False  # operation and identity have to be awaited
    stores: tuple[str, ...] = ("memory", *ON_SERVERS)
    cold: bool = False  # the store has no connection yet, and is used once
    full: bool = False  # the server reads nothing more when the app is called
    moving: bool = False  # keys of the caller are in two places
    charged: bool = True
    answers: bool = True  # of a handshake: the server has the extension for that
    on_excess: str = ""  # of messages; "" are not limited
    observed: float = 0  # measured, told under the id of the log, and recorded, so many of all callers
    neighbours: bool = True
    trouble: Trouble = field(default=lambda site: nullcontext())  # from when the request is made until it has ended
    on_suspension: Callable[[Site, list[Place]], None] = field(default=lambda site, places: None)

    def __str__(self) -> str:
        return self.name


ALL = (
    Scenario("an app that answers", answers),
    Scenario("an app that streams", streams),
    Scenario("an app that raises", raises),
    Scenario("an app that raises in the middle of its response", raises_late),
    Scenario("no cap", answers, NO_CAP),
    Scenario("denied", answers, NOTHING_LEFT, charged=False),
    Scenario("asked for who is calling", answers, late=True),
    Scenario("exempt", answers, path="/exempt", late=True, charged=False),
    Scenario("a websocket", accepts, type="websocket"),
    Scenario("a websocket that is answered", rejects, type="websocket"),
    Scenario("a websocket that is closed", leaves, type="websocket"),
    Scenario("a websocket denied", accepts, NOTHING_LEFT, type="websocket", charged=False),
    Scenario("a websocket denied by a close", accepts, NOTHING_LEFT, type="websocket", charged=False, answers=False),
    Scenario("messages", accepts, MESSAGES, type="websocket", on_excess="close"),
    Scenario("messages too much", accepts, NONE, type="websocket", on_excess="close"),
    Scenario("messages that wait", accepts, FEW, type="websocket", on_excess="wait", trouble=troubles.short_waits),
    Scenario("its own usage", tells_usage),
    Scenario("observed", answers, observed=1),
    Scenario("observed, and not recorded", raises, NO_CAP, observed=1e-9),
    Scenario("no connection yet", answers, cold=True, stores=ON_SERVERS),
    *[
        Scenario(name, app, full=True, on_suspension=troubles.go_on_when_it_waits, stores=ON_SERVERS)
        for name, app in (
            ("a server that does not read", answers),
            ("a server that does not read, an app that raises", raises),
        )
    ],
    *[
        Scenario(name, answers, limits, moving=True, stores=("cluster",), charged=False, neighbours=False)
        for name, limits in (("a slot on its way", LIMITS), ("a slot on its way, no cap", NO_CAP))
    ],
    Scenario(
        "a slot on its way, and nobody knows where to",
        answers,
        moving=True,
        stores=("cluster",),
        charged=False,
        neighbours=False,
        trouble=troubles.not_looked_at,
        on_suspension=troubles.lose_the_map,
    ),
)


def policy_of(scenario: Scenario) -> Policy:
    table = f'[websocket]\nmessages = "message"\non_excess = "{scenario.on_excess}"' if scenario.on_excess else ""
    made = policy(scenario.limits, table, "facturapi" if scenario.observed else "lendworks")  # which has a log id
    made = replace(made, record=RecordSettings(os.devnull, scenario.observed)) if scenario.observed else made
    return asked_late(made) if scenario.late else made


def more_of(scenario: Scenario) -> dict[str, Any]:
    """What of the middleware is the user's own."""
    if scenario.observed:
        return {"telemetry": Hears()}
    if not scenario.late:
        return {}
    return {"classify": later_operation, "identify": lambda scope: later(None)}


async def receive() -> Message:
    await turn()
    return {"type": "http.request"}


def connection() -> Callable[[], Awaitable[Message]]:
    """The `receive` of one with three messages."""
    kinds = ["connect", "receive", "receive", "receive"]

    async def receive() -> Message:
        await turn()
        return {"type": f"websocket.{kinds.pop(0) if kinds else 'disconnect'}", "text": "a"}

    return receive


async def quietly(request: Awaitable[None]) -> None:
    with suppress(asyncio.CancelledError, RuntimeError):
        await request
