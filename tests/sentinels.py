"""A master with replicas and the sentinels that watch it, for tests, of the servers of tests/servers.py."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from tests import servers
from tests.certificates import Certificate

NAME = "mymaster"
DOWN_AFTER = 0.5  # seconds without an answer after which a sentinel takes a server for down
FAILOVER_TIMEOUT = 1.0  # seconds: an election that was split is held again after twice as long
# Seconds in which there is a new master and a store has found it, with room for some elections and a slow machine; on
# an idle one it takes about 2: DOWN_AFTER, an election, a promotion.
RECOVERED = DOWN_AFTER + 5 * 2 * FAILOVER_TIMEOUT
# How often sentinels look and tell each other (ms): their defaults are seconds. Not `ping-period`: a replica that was
# not heard of for five of them is not promoted, and while the master is down they hear of it once a second.
PERIODS = {"info-period": 200, "publish-period": 200, "ask-period": 100}
OPTIONS = ("--repl-diskless-sync-delay", "0", "--repl-timeout", "5")  # a replica that is made waits for no other


@dataclass(frozen=True)
class Sentinels:
    """`servers` are the master and its replicas, as it was when they were started."""

    servers: tuple[servers.Server, ...]
    sentinels: tuple[servers.Server, ...]
    certificate: Certificate | None = None
    password: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        return self.servers[0].name

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{self.port(one)}" for one in self.sentinels)

    @property
    def url(self) -> str:
        """Without passwords."""
        if self.certificate:
            return f"rediss+sentinel://{self.hosts}/{NAME}?ssl_ca_certs={self.certificate.certificate}"
        return f"redis+sentinel://{self.hosts}/{NAME}"

    def port(self, server: servers.Server) -> int:
        """Where others find it."""
        return server.tls_port or server.port

    def client(self, server: servers.Server) -> Redis:
        """To look inside, whoever it is."""
        password = self.sentinel_password if server in self.sentinels else self.password
        return server.client(password=password or None)

    def named(self) -> list[int]:
        """The port of the master as each sentinel that answers names it."""
        ports = []
        for sentinel in self.sentinels:
            if sentinel.process.poll() is None:
                with self.client(sentinel) as client:
                    ports.append(int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1]))
        return ports

    @property
    def master(self) -> servers.Server:
        """As more than half of the sentinels name it."""
        port = max(ports := self.named(), key=ports.count)
        return next(server for server in self.servers if self.port(server) == port)

    @property
    def replicas(self) -> list[servers.Server]:
        master = self.master
        return [server for server in self.servers if server is not master]

    def fail_over(self) -> servers.Server:
        """By command; returns the new master when all sentinels name it. The old one has become a replica by then."""
        before = self.master
        with self.client(self.sentinels[0]) as client:
            servers.until(lambda: _accepted(client, "SENTINEL", "FAILOVER", NAME))
        self.until_not(before)
        with self.client(before) as client:
            servers.until(lambda: client.execute_command("ROLE")[0] == b"slave")
        return self.master

    def set(self, option: str, value: int) -> None:
        """What the sentinels go by, as "down-after-milliseconds"."""
        for sentinel in self.sentinels:
            with self.client(sentinel) as client:
                client.execute_command("SENTINEL", "SET", NAME, option, value)

    def until_not(self, before: servers.Server) -> None:
        """Wait until no sentinel names this server any more."""
        port = self.port(before)
        servers.until(lambda: port not in self.named())


def _accepted(client: Redis, *command: str) -> bool:
    try:
        client.execute_command(*command)
    except ResponseError:  # NOGOODSLAVE, INPROG: not yet
        return False
    return True


@contextmanager
def run_sentinel(
    name: str,
    *arguments: str,
    replicas: int = 2,
    sentinels: int = 3,
    down_after: float = DOWN_AFTER,
    password: str = "",
    sentinel_password: str = "",
    certificate: Certificate | None = None,
) -> Iterator[Sentinels]:
    """Of "valkey" or "redis", empty, stopped at the end. `arguments` are of the master and the replicas."""
    with ExitStack() as stack:
        started = []
        for _ in range(1 + replicas):
            server = stack.enter_context(servers.run(name, *OPTIONS, *arguments, certificate=certificate))
            started.append(server)
        ports = [server.tls_port or server.port for server in started]
        for server in started:
            with server.client() as client:
                if server is not started[0]:
                    client.execute_command("REPLICAOF", "127.0.0.1", ports[0])
                if password:
                    client.config_set("masterauth", password)
                    client.config_set("requirepass", password)
        settings = {
            "monitor": f"{NAME} 127.0.0.1 {ports[0]} {sentinels // 2 + 1}",
            "down-after-milliseconds": f"{NAME} {down_after * 1000:.0f}",
            "failover-timeout": f"{NAME} {FAILOVER_TIMEOUT * 1000:.0f}",
            **({"auth-pass": f'{NAME} "{password}"'} if password else {}),
            **({"sentinel-pass": f'"{sentinel_password}"'} if sentinel_password else {}),
        }
        watching = [
            stack.enter_context(_run_one(name, settings, sentinel_password, certificate)) for _ in range(sentinels)
        ]
        made = Sentinels(tuple(started), tuple(watching), certificate, password, sentinel_password)
        servers.until(lambda: all(_knows_all(made, sentinel) for sentinel in watching))
        yield made


@contextmanager
def _run_one(
    name: str, settings: Mapping[str, str], password: str, certificate: Certificate | None
) -> Iterator[servers.Server]:
    with tempfile.TemporaryDirectory(prefix="ratelimit-") as folder:
        file = Path(folder) / "sentinel.conf"
        file.write_text("".join(f"sentinel {setting} {text}\n" for setting, text in settings.items()))
        with servers.run(name, program=(str(file), "--sentinel"), certificate=certificate) as server:
            with server.client() as client:
                for period, ms in PERIODS.items():
                    client.execute_command("SENTINEL", "DEBUG", period, ms)
                if password:  # what `requirepass` does; a sentinel knows no CONFIG SET
                    client.execute_command("ACL", "SETUSER", "default", "resetpass", f">{password}")
            yield server


def _knows_all(made: Sentinels, sentinel: servers.Server) -> bool:
    """Whether a failover could begin: replicas that follow the master, and the other sentinels, are known."""
    try:
        with made.client(sentinel) as client:
            (master,), replicas = _fields(client, "MASTERS"), _fields(client, "REPLICAS", NAME)
    except RedisError:
        return False
    return (
        master[b"flags"] == b"master"
        and int(master[b"num-other-sentinels"]) == len(made.sentinels) - 1
        and len(replicas) == len(made.servers) - 1
        and all((one[b"flags"], one[b"master-link-status"]) == (b"slave", b"ok") for one in replicas)
    )


def _fields(client: Redis, *what: str) -> list[dict[bytes, bytes]]:
    """What a sentinel says of servers. Past redis-py's own reading of it, which changes from release to release."""
    connection = client.connection_pool.get_connection()
    connection.send_command("SENTINEL", *what)
    replies = connection.read_response()
    client.connection_pool.release(connection)
    return [one if isinstance(one, dict) else dict(zip(one[::2], one[1::2], strict=True)) for one in replies]
