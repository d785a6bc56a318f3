"""A store on a cluster under one movable clock, and callers by the slot they are in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import hiredis
import pytest

from ratelimit.model import Charge
from ratelimit.stores.batching.queue import DecisionQueue
from ratelimit.stores.connection import link as link_module
from ratelimit.stores.connection.dial import ConnectionPool
from ratelimit.stores.connection.errors import Redirected, error_of
from ratelimit.stores.connection.socket import Reply
from ratelimit.stores.redis import ClusterStore
from ratelimit.stores.routing.nodes import ClusterNodes
from ratelimit.stores.routing.slotmap import slot_of
from tests import clusters
from tests.stores import SCRIPTS, Subject, _prefixes, at
from tests.stores.wires import FakeWire, never_paused

FIRST, SECOND, THIRD = clusters.shares()


class ClusterSubject(Subject):
    """A Subject whose store is a ClusterStore."""

    def __init__(self, cluster: clusters.Cluster, timeout: float = 10.0) -> None:
        self.name = cluster.name
        self.prefix = next(_prefixes)
        self.store = ClusterStore(cluster.url, prefix=self.prefix, timeout=timeout)

    def at(self, now_ms: int) -> ClusterSubject:
        for name, script in SCRIPTS.items():
            setattr(self.store.scripts, name, at(script, now_ms))
        return self


def of(user: str, *charges: Charge) -> tuple[Charge, ...]:
    """The charges as a user's own: in the slot of the user."""
    return tuple([replace(charge, key=charge.key.replace("{user=ana}", f"{{user={user}}}")) for charge in charges])


def user_in(slots: range, number: int = 0) -> str:
    """A user whose counters are in one of these slots, another one for each number."""
    names = (name for n in range(100_000) if slot_of(f"{{user={(name := f'u{number}-{n}')}}}") in slots)
    return next(names)


def slot(user: str) -> int:
    return slot_of(f"{{user={user}}}")


def told(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often nodes have sent calls elsewhere, and by which reply."""
    seen: Counter[str] = Counter()
    follow = ClusterNodes.follow

    def counted(nodes: ClusterNodes, queue: DecisionQueue, number: int, reply: Redirected) -> DecisionQueue | None:
        seen[type(reply).__name__] += 1
        return follow(nodes, queue, number, reply)

    monkeypatch.setattr(ClusterNodes, "follow", counted)
    return seen


class Node(FakeWire):
    """A FakeWire that knows every command of a write. `made` is the newest connection by the port of its node."""

    made: ClassVar[dict[int, Node]]
    silent: ClassVar[set[int]]  # ports to which no connection can be made
    slots: ClassVar[object]  # what every node says who has which slots; None: the test says it
    looks: ClassVar[int]  # how often it was said for the test
    _looking = False

    def write(self, commands: bytes) -> None:
        reader = hiredis.Reader()
        reader.feed(commands)
        while (call := reader.gets()) is not False:
            self.written.append(call)
        self._look()

    @property
    def names(self) -> list[bytes]:
        return [call[0] for call in self.written]

    def say(self, reply: object) -> None:
        """Answer the oldest command."""
        del self.written[:1]
        self.reply(error_of(reply) if isinstance(reply, str) else reply)
        self._looking = False
        self._look()

    def _look(self) -> None:
        if self.names[:1] == [b"CLUSTER"] and Node.slots is not None and not self._looking:
            Node.looks += 1
            self._looking = True
            asyncio.get_running_loop().call_soon(self.say, Node.slots)


async def connect_node(
    pool: ConnectionPool, on_reply: Callable[[Reply], None], on_lost: Callable[[str], None], _proof: object
) -> FakeWire:
    """In the place of ratelimit.stores.connection.connect."""
    port = pool.connection_kwargs["port"]
    if port in Node.silent:
        raise OSError(f"nobody at {port}")
    Node.made[port] = node = Node(on_reply, on_lost)
    return node


def fake_cluster(monkeypatch: pytest.MonkeyPatch, *ports: int, timeout: float = 0.1) -> ClusterStore:
    """A store that finds a Node wherever it connects."""
    monkeypatch.setattr(Node, "made", {}, raising=False)
    monkeypatch.setattr(Node, "silent", set(), raising=False)
    monkeypatch.setattr(Node, "slots", None, raising=False)
    monkeypatch.setattr(Node, "looks", 0, raising=False)
    monkeypatch.setattr(link_module, "connect", connect_node)
    never_paused(monkeypatch)
    return ClusterStore(f"redis+cluster://{','.join(f'h:{port}' for port in ports)}", timeout=timeout)


def whole(port: int, host: bytes = b"h") -> list[object]:
    """What CLUSTER SLOTS says where one master has all."""
    return [[0, 16_383, [host, port, b"id"]]]
