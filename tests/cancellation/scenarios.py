"""Requests to cancel: apps, callers, and what is wrong with the store meanwhile. Each is one caller's, ana's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from signal import SIGCONT, SIGSTOP
from typing import Any

from ratelimit import Identity, Policy, RateLimitMiddleware
from ratelimit.model import ASGIApp, Message, Scope
from ratelimit.stores.cluster import ClusterStore
from ratelimit.stores.redis import RedisStore
from ratelimit.stores.wire import command
from tests import clusters, servers
from tests.acceptance import policy
from tests.cancellation import Place
from tests.stores.clustered import slot

LIMITS = """{ name = "rate", rate = "100000/day" }, { name = "quota", quota = "100000/month" },
            { name = "cap", concurrency = 100 }"""
NOTHING_LEFT = LIMITS.replace("100000/month", "0/month")
NO_CAP = LIMITS.partition('{ name = "cap"')[0]

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


@dataclass
class Site:
    """Where requests are made: the middleware, and the servers of its store."""

    limiter: RateLimitMiddleware
    server: servers.Server | clusters.Cluster | None

    @property
    def nodes(self) -> tuple[servers.Server, ...]:
        if isinstance(self.server, clusters.Cluster):
            return self.server.nodes
        return (self.server,) if self.server else ()

    @property
    def node(self) -> servers.Server | None:
        """That has ana's counters."""
        return self.server.of(slot("ana")) if isinstance(self.server, clusters.Cluster) else self.server


@dataclass(frozen=True)
class Scenario:
    name: str
    app: ASGIApp
    limits: str = LIMITS
    path: str = "/items/7"
    type: str = "http"
    late: bool = False  # operation and identity have to be awaited
    stores: tuple[str, ...] = ("memory", "valkey", "redis", "cluster")
    cold: bool = False  # the store has no connection yet, and is used once
    full: bool = False  # the server reads nothing more when the app is called
    moving: bool = False  # keys of the caller are in two places
    charged: bool = True
    neighbours: bool = True
    on_suspension: Callable[[Site, list[Place]], None] = field(default=lambda site, places: None)

    def __str__(self) -> str:
        return self.name


def lose_the_map(site: Site, places: list[Place]) -> None:
    """Who has which slots is forgotten while a request pauses."""
    store = site.limiter.store
    if isinstance(store, ClusterStore) and any(p.file == "stores/nodes.py" for p in places):
        (nodes,) = store._nodes.values()
        nodes._masters = [None] * len(nodes._masters)
        nodes._next_look = 0


def go_on(site: Site) -> None:
    """The server reads again, in a moment."""
    if site.node:
        asyncio.get_running_loop().call_later(0.01, site.node.process.send_signal, SIGCONT)


def go_on_when_it_waits(site: Site, places: list[Place]) -> None:
    if any(place.file == "stores/link.py" for place in places):
        go_on(site)


def full(app: Any, site: Callable[[], Site]) -> Any:
    """The app, where its server reads nothing for a while from when the app is called."""

    async def stopped(scope: Scope, receive: Any, send: Any) -> None:
        here = site()
        node, store = here.node, here.limiter.store
        if scope["ratelimit.identity"].user == "ana" and node:
            if isinstance(store, RedisStore):
                link = store._group().link
            else:
                assert isinstance(store, ClusterStore)
                (nodes,) = store._nodes.values()
                link = nodes.of(slot("ratelimit:{user=ana}")).link
            node.process.send_signal(SIGSTOP)
            much = command("EXISTS", b"x" * 20_000_000)  # more than the socket's buffers take
            link.submit(much).add_done_callback(asyncio.Future.exception)
        try:
            await app(scope, receive, send)
        finally:
            go_on(here)

    return stopped


ALL = (
    Scenario("an app that answers", answers),
    Scenario("an app that streams", streams),
    Scenario("an app that raises", raises),
    Scenario("an app that raises in the middle of its response", raises_late),
    Scenario("no cap", answers, NO_CAP),
    Scenario("denied", answers, NOTHING_LEFT, charged=False),
    Scenario("asked for who is calling", answers, late=True),
    Scenario("exempt", answers, path="/exempt", late=True, charged=False),
    Scenario("a websocket", answers, type="websocket", charged=False),
    Scenario("no connection yet", answers, cold=True, stores=("valkey", "redis", "cluster")),
    Scenario(
        "a server that does not read",
        answers,
        full=True,
        on_suspension=go_on_when_it_waits,
        stores=("valkey", "redis", "cluster"),
    ),
    Scenario(
        "a server that does not read, an app that raises",
        raises,
        full=True,
        on_suspension=go_on_when_it_waits,
        stores=("valkey", "redis", "cluster"),
    ),
    Scenario("a slot on its way", answers, moving=True, stores=("cluster",), charged=False, neighbours=False),
    Scenario(
        "a slot on its way, and nobody knows where to",
        answers,
        moving=True,
        stores=("cluster",),
        charged=False,
        neighbours=False,
        on_suspension=lose_the_map,
    ),
)


def policy_of(scenario: Scenario) -> Policy:
    made = policy(scenario.limits)
    return asked_late(made) if scenario.late else made


def more_of(scenario: Scenario) -> dict[str, Any]:
    """What of the middleware is the user's own."""
    if not scenario.late:
        return {}
    return {"classify": later_operation, "identify": lambda scope: later(None)}


async def receive() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def quietly(request: Awaitable[None]) -> None:
    with suppress(asyncio.CancelledError, RuntimeError):
        await request
