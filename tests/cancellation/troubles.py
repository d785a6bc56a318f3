"""What is wrong with a store while a request is cancelled, and how it ends in time for the request to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest

from ratelimit import RateLimitMiddleware
from ratelimit.model import Scope
from ratelimit.stores.connection.socket import command
from ratelimit.stores.redis import RedisStore
from ratelimit.stores.routing.nodes import ClusterNodes
from ratelimit.websockets import messages
from tests import clusters, servers
from tests.cancellation import Place, waits
from tests.stores import nodes_of
from tests.stores.clustered import slot


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

    @property
    def map(self) -> ClusterNodes | None:
        """Who has which slots, on a cluster that was asked before."""
        store = self.limiter.store
        nodes = nodes_of(store) if isinstance(store, RedisStore) else None
        return nodes if isinstance(nodes, ClusterNodes) else None


Trouble = Callable[[Site], AbstractContextManager[None]]


def lose_the_map(site: Site, places: list[Place]) -> None:
    """Who has which slots is forgotten while a request pauses."""
    if (nodes := site.map) and pauses(places):
        nodes.masters = [None] * len(nodes.masters)
        nodes._looked_at = float("-inf")


@contextmanager
def not_looked_at(site: Site) -> Iterator[None]:
    """Nobody looks who has which slots until that is forgotten: then who needs one waits for the look."""
    nodes = site.map
    assert nodes
    known = nodes.masters
    nodes._looked_at = float("inf")
    try:
        yield
    finally:
        nodes.masters, nodes._looked_at = known, float("-inf")


@contextmanager
def short_waits(site: Site) -> Iterator[None]:
    """Messages wait for a turn of the loop, as often as they would by the clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages, "pause", lambda seconds: asyncio.sleep(0))
        yield


(PAUSE,) = [wait for wait in waits("stores/routing/router.py") if wait.function == "pause"]


def pauses(places: list[Place]) -> bool:
    """Whether a request stands there until it asks again."""
    return any(map(PAUSE.holds, places))


def go_on(site: Site) -> None:
    """The server reads again, in a moment."""
    if site.node:
        asyncio.get_running_loop().call_later(0.01, site.node.process.send_signal, SIGCONT)


def go_on_when_it_waits(site: Site, places: list[Place]) -> None:
    if any(place.file == "stores/connection/link.py" for place in places):
        go_on(site)


def full(app: Any, site: Callable[[], Site]) -> Any:
    """The app, where its server reads nothing for a while from when the app is called."""

    async def stopped(scope: Scope, receive: Any, send: Any) -> None:
        here = site()
        node, store = here.node, here.limiter.store
        if scope["ratelimit.identity"].user == "ana" and node:
            masters = nodes_of(store).masters
            link = masters[slot("ana") if len(masters) > 1 else 0].link
            node.process.send_signal(SIGSTOP)
            much = command("EXISTS", b"x" * 20_000_000)  # more than the socket's buffers take
            link.submit(much).add_done_callback(asyncio.Future.exception)
        try:
            await app(scope, receive, send)
        finally:
            go_on(here)

    return stopped
