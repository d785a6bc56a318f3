"""The faults: what is done to a store, for how long, and what it is then allowed to have forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest
from redis import Redis

from tests import clusters, servers
from tests.faults.field import Field, Pair
from tests.faults.proxy import Proxy, reserved_port
from tests.faults.server import PASSWORD, USER, Server

HELD = 1.0  # seconds that a fault lasts which is a state


@dataclass(frozen=True)
class Fault:
    """`over` is the fault as a context: entered it is there, left it is over, and the store answers again.

    `felt` says whether some requests are decided without the store; None where that depends on the moment. A store that
    `forgets` has lost what was counted, or may have, so that callers begin anew.
    """

    name: str
    route: str  # how the app reaches its store: the server itself, the proxy before it, or a cluster
    over: Callable[[Field, Pair], AbstractContextManager[None]]
    held: float = HELD
    felt: bool | None = True
    forgets: bool = False


def _server(field: Field) -> Server:
    assert field.server
    return field.server


def _proxy(field: Field) -> Proxy:
    assert field.proxy
    return field.proxy


def stopped(field: Field, _: Pair) -> AbstractContextManager[None]:
    return _server(field).stopped()


@contextmanager
def killed(field: Field, _: Pair) -> Iterator[None]:
    _server(field).kill()
    try:
        yield
    finally:
        _server(field).start()


@contextmanager
def restarted(field: Field, _: Pair) -> Iterator[None]:
    _server(field).kill()
    _server(field).start()
    yield


@contextmanager
def restarted_empty(field: Field, _: Pair) -> Iterator[None]:
    _server(field).kill()
    _server(field).forget()
    _server(field).start()
    yield


def at_once(what: Callable[[Redis], object]) -> Callable[[Field, Pair], AbstractContextManager[None]]:
    """A fault that is one command to the server."""

    @contextmanager
    def over(field: Field, _: Pair) -> Iterator[None]:
        with _server(field).client() as client:
            what(client)
        yield

    return over


@contextmanager
def out_of_memory(field: Field, _: Pair) -> Iterator[None]:
    with _server(field).client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


@contextmanager
def wrong_type(field: Field, callers: Pair) -> Iterator[None]:
    with _server(field).client() as client:
        keys = list(client.scan_iter(f"*{callers.pattern}*", count=1_000))
        if not keys:
            pytest.fail(f"no key of {callers.organization} is there: nothing would be wrong")
        for key in keys:
            client.set(key, "not a counter")
        try:
            yield
        finally:
            client.delete(*keys)


@contextmanager
def wrong_password(field: Field, _: Pair) -> Iterator[None]:
    with _server(field).client() as client:
        client.execute_command("ACL", "SETUSER", USER, "resetpass", ">another")
        client.execute_command("CLIENT", "KILL", "USER", USER)
        try:
            yield
        finally:
            client.execute_command("ACL", "SETUSER", USER, "resetpass", f">{PASSWORD}")


@contextmanager
def read_only_replica(field: Field, _: Pair) -> Iterator[None]:
    """Of a master that is not there: it keeps its data, and refuses to write."""
    with _server(field).client() as client, reserved_port() as nobody:
        client.replicaof("127.0.0.1", nobody.getsockname()[1])
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def slot_migrating(field: Field, callers: Pair) -> Iterator[None]:
    """There and back again, key by key, with a pause in the middle of it."""
    assert field.cluster
    for source, target in ((0, 1), (1, 0)):
        with clusters.Move(field.cluster, callers.slot, source, target) as move:
            move.begin()
            time.sleep(HELD / 4)
            while move.keys():
                """One by one."""
            time.sleep(HELD / 4)
            move.end()
    yield


@contextmanager
def failover(field: Field, _: Pair) -> Iterator[None]:
    """A master is killed under load. It is over when its replica has been promoted; the master does not come back."""
    assert field.cluster
    master, *_, replica = field.cluster.nodes
    master.process.kill()
    master.process.wait()
    with replica.client() as client:
        servers.until(lambda: client.role()[0] == b"master" and b"cluster_state:ok" in info(client))
    yield


def info(client: Redis) -> bytes:
    answer: bytes = client.execute_command("CLUSTER", "INFO")
    return answer


@contextmanager
def gone(field: Field, _: Pair) -> Iterator[None]:
    """A host that is gone behind its load balancer: connections end, and new ones are accepted for nobody."""
    with _proxy(field).swallowing():
        _proxy(field).reset()
        yield


FAULTS = (
    Fault("stopped (SIGSTOP)", "server", stopped),
    Fault("killed", "server", killed),
    Fault("restarted empty", "server", restarted_empty, held=0, felt=None, forgets=True),
    Fault("restarted with data", "server", restarted, held=0, felt=None),
    Fault("SCRIPT FLUSH", "server", at_once(Redis.script_flush), held=0, felt=False),
    Fault("FLUSHALL", "server", at_once(Redis.flushall), held=0, felt=False, forgets=True),
    Fault("out of memory", "server", out_of_memory),
    Fault("wrong type under our key", "server", wrong_type, forgets=True),
    Fault("wrong password", "server", wrong_password),
    Fault("read-only replica", "server", read_only_replica),
    Fault("blackhole", "proxy", lambda field, _: _proxy(field).swallowing()),
    Fault("connections reset, then blackhole", "proxy", gone),
    Fault("1 s latency", "proxy", lambda field, _: _proxy(field).delaying(1.0), held=1.5),
    Fault("connection reset in the middle of a reply", "proxy", lambda field, _: _proxy(field).cutting(after=3)),
    Fault("garbage reply", "proxy", lambda field, _: _proxy(field).corrupting(seed=1)),
    Fault("a slot migrating under load", "cluster", slot_migrating, held=0, felt=None),
    Fault("failover under load", "cluster", failover, held=0, forgets=True),  # the last: one master is gone after it
)
