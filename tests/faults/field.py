"""What a fault is done to: a server with its proxy, or a cluster, and an app for each policy of failure in front."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from ratelimit import hash_api_key
from ratelimit.stores.routing.slotmap import slot_of
from tests import clusters
from tests.acceptance import workers
from tests.faults.load import Client
from tests.faults.proxy import Proxy
from tests.faults.server import Server, running

TIMEOUT = 0.1  # seconds: what the policy promises, its default
LIMIT = 24  # requests in a minute, and in a month, of a caller who always asks for more
ROOM = 1_000_000  # of a caller who never comes near a limit
FIRST = clusters.shares()[0]  # the slots of the master that has a replica


@dataclass(frozen=True)
class Pair:
    """Two callers of one organization, so that what is kept of both is on one node: one with room and one at its limit.
    Nobody else has them, so what is used does not depend on which faults were there before."""

    organization: str

    @property
    def roomy(self) -> str:
        return f"sk_roomy_{self.organization}"

    @property
    def strict(self) -> str:
        return f"sk_strict_{self.organization}"

    @property
    def slot(self) -> int:
        return slot_of(self.pattern)

    @property
    def pattern(self) -> str:
        return f"{{organization={self.organization}}}"


def pair(fault: str) -> Pair:
    """The callers of a fault, in a slot of the first master."""
    names = (f"{fault}-{n}".replace(" ", "-").lower() for n in range(10_000))
    return next(one for one in map(Pair, names) if one.slot in FIRST)


def policy(url: str, on_failure: str, pairs: list[Pair]) -> str:
    keys = "".join(
        f'[[keys]]\nsha256 = "{hash_api_key(api_key)}"\ntier = "{tier}"\norganization = "{one.organization}"\n'
        for one in pairs
        for tier, api_key in (("roomy", one.roomy), ("strict", one.strict))
    )
    tiers = "".join(
        f'[tiers.{tier}]\nlimits = [ {{ name = "{tier}", rate = "{most}/minute" }}, '
        f'{{ name = "{tier} monthly", quota = "{most}/month" }} ]\n'
        for tier, most in (("roomy", ROOM), ("strict", LIMIT))
    )
    store = f'[store]\nurl = "{url}"\nprefix = "{on_failure}"\ntimeout = "{TIMEOUT * 1000:.0f}ms"\n'
    anonymous = '[tiers.anonymous]\nlimits = [ { name = "ip", rate = "60/minute" } ]\n'
    exempt = '[operations]\nexempt = ["GET /health"]\n'
    return f'{store}on_failure = "{on_failure}"\n{exempt}{keys}{anonymous}{tiers}'


@dataclass
class Field:
    """`apps` are URLs by policy of failure. What a route does not have is not there for its faults."""

    apps: dict[str, str] = field(default_factory=dict)
    server: Server | None = None
    proxy: Proxy | None = None
    cluster: clusters.Cluster | None = None

    async def settle(self, callers: Pair) -> None:
        """Wait until the store decides in every app; fails where one has not found it within 10 s."""
        for on_failure, url in self.apps.items():
            client = Client(*address(url))
            deadline, in_a_row = time.monotonic() + 10, 0
            while in_a_row < 5:
                in_a_row = in_a_row + 1 if (await client.ask(callers.roomy)).by_store else 0
                if time.monotonic() > deadline:
                    pytest.fail(f"the app with {on_failure} has not found its store within 10 s, with nothing wrong")
                await asyncio.sleep(0.01)
            client.close()


def address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


@contextmanager
def laid_out(route: str, name: str, policies: tuple[str, ...], faults: list[str]) -> Iterator[Field]:
    """Apps before a server of "valkey" or "redis", directly or through the proxy, or before a cluster of them."""
    pairs = [pair(fault) for fault in faults]
    with ExitStack() as stack:
        there = Field()
        if route == "cluster":
            there.cluster = stack.enter_context(clusters.run_cluster(name, replicas=1))
            url = there.cluster.url
        else:
            there.server = stack.enter_context(running(name))
            there.proxy = stack.enter_context(Proxy(there.server.port))
            url = there.server.url(there.proxy.port if route == "proxy" else None)
        for on_failure in policies:
            environment = {"RATELIMIT_TEST_POLICY": policy(url, on_failure, pairs)}
            (there.apps[on_failure],) = stack.enter_context(workers(1, "tests.faults.worker:app", environment))
        yield there
