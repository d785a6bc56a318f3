"""A real cluster for tests: three masters on loopback, of the servers of tests/servers.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise

from redis import Redis

from ratelimit.stores.routing.slotmap import SLOTS
from tests import servers
from tests.certificates import Certificate

OPTIONS = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no")
OPTIONS = (*OPTIONS, "--repl-diskless-sync-delay", "0")  # a replica that is made waits for no other


@dataclass(frozen=True)
class Cluster:
    """Masters with a third of the slots each, in their order, then replicas of the first of them."""

    nodes: tuple[servers.Server, ...]
    certificate: Certificate | None = None

    @property
    def name(self) -> str:
        return self.nodes[0].name

    @property
    def url(self) -> str:
        if self.certificate:
            return f"rediss+cluster://{self.hosts}?ssl_ca_certs={self.certificate.certificate}"
        return f"redis+cluster://{self.hosts}"

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{node.tls_port or node.port}" for node in self.nodes)

    def of(self, slot: int) -> servers.Server:
        return self.nodes[next(n for n, slots in enumerate(shares()) if slot in slots)]

    def calls(self, *names: str) -> list[int]:
        """How often each node has run these commands."""
        return [calls(node, *names) for node in self.nodes]


def calls(node: servers.Server, *names: str) -> int:
    with node.client() as client:
        stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)


def shares(masters: int = 3) -> list[range]:
    edges = [SLOTS * n // masters for n in range(masters + 1)]
    return [range(first, last) for first, last in pairwise(edges)]


def node_id(client: Redis) -> str:
    return client.execute_command("CLUSTER", "MYID").decode()


@contextmanager
def run_cluster(
    name: str, *arguments: str, replicas: int = 0, password: str = "", certificate: Certificate | None = None
) -> Iterator[Cluster]:
    """Of "valkey" or "redis", with nothing in it; stopped at the end. With a certificate its nodes speak TLS."""
    tls = ("--tls-cluster", "yes") if certificate else ()
    with ExitStack() as stack:
        nodes = []
        for _ in range(3 + replicas):
            options = [*OPTIONS, *tls, "--cluster-port", str(servers.free_port()), *arguments]
            nodes.append(stack.enter_context(servers.run(name, *options, certificate=certificate)))
        clients = [stack.enter_context(node.client()) for node in nodes]
        for epoch, (client, slots) in enumerate(zip(clients, shares(), strict=False), 1):
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", slots.start, slots.stop - 1)
        for node, client in zip(nodes[1:], clients[1:], strict=True):
            bus = client.config_get("cluster-port")["cluster-port"]
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.tls_port or node.port, bus)
        servers.until(lambda: all(len(_known(client)) == len(nodes) for client in clients))
        for client in clients[3:]:
            client.execute_command("CLUSTER", "REPLICATE", node_id(clients[0]))
        servers.until(lambda: all(_is_up(client, replicas) for client in clients))
        if password:
            for client in clients:
                client.config_set("masterauth", password)
                client.config_set("requirepass", password)
        yield Cluster(tuple(nodes), certificate)


def _known(client: Redis) -> list[bytes]:
    return [line for line in client.execute_command("CLUSTER", "NODES").splitlines() if b"handshake" not in line]


def _is_up(client: Redis, replicas: int) -> bool:
    ranges = client.execute_command("CLUSTER", "SLOTS")
    up = b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO")
    return up and len(ranges) == 3 and sum(len(nodes) for _, _, *nodes in ranges) == 3 + replicas


class Move:
    """A slot on its way from one master to another, by hand: `begin`, then `keys` as often as there are some, `end`."""

    def __init__(self, cluster: Cluster, slot: int, source: int, target: int) -> None:
        self._slot = str(slot)
        self._clients = [node.client() for node in cluster.nodes[:3]]  # replicas follow their masters
        self._source, self._target = self._clients[source], self._clients[target]
        self._port = cluster.nodes[target].port

    def __enter__(self) -> Move:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()

    def begin(self) -> None:
        self._set(self._target, "IMPORTING", node_id(self._source))
        self._set(self._source, "MIGRATING", node_id(self._target))

    def keys(self, most: int = 1, prefix: str = "") -> bool:
        """Take some keys over, of those that begin so; False if none is left."""
        there = self._source.execute_command("CLUSTER", "GETKEYSINSLOT", self._slot, 1_000 if prefix else most)
        keys = [key for key in there if key.startswith(prefix.encode())][:most]
        if keys:
            self._source.execute_command("MIGRATE", "127.0.0.1", self._port, "", 0, 5_000, "KEYS", *keys)
        return bool(keys)

    def end(self) -> None:
        for client in (self._target, self._source, *self._clients):
            self._set(client, "NODE", node_id(self._target))

    def _set(self, client: Redis, *what: str) -> None:
        client.execute_command("CLUSTER", "SETSLOT", self._slot, *what)
