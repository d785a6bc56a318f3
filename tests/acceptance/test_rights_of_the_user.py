"""What the user of the store's URL needs, and what is said at the start where a right is missing."""

from __future__ import annotations

import asyncio
import re

import pytest
from redis import Redis

from ratelimit.ground.repeats import Once
from ratelimit.model import Lease, StoreUnavailable
from ratelimit.stores import open_store
from ratelimit.stores.connection.errors import ADVICE
from ratelimit.stores.lua import rights
from tests import clusters, servers
from tests.packaging import ROOT
from tests.stores import concurrency, quota, rate

ALL = (rate(9, 60_000), quota(9), concurrency(3))
ENOUGH = ["+@read", "+@write", "+@scripting", "+time"]


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "_said", Once())


def decided(url: str, *charges: object) -> list[int]:
    """What was used of each limit: by a decision, with its lease renewed and given back."""

    async def test() -> list[int]:
        store = open_store(url, timeout=10)
        try:
            decision = await store.acquire(charges)  # type: ignore[arg-type]
            leases: list[Lease] = [*decision.leases]
            assert decision.allowed
            assert await store.renew(leases) == []
            await store.release(leases)
            return [state.used for state in decision.states]
        finally:
            await store.close()

    return asyncio.run(test())


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_the_rights_of_a_user(name: str, protocol: int, caplog: pytest.LogCaptureFixture) -> None:
    """Those that the advice names suffice, on the store's own keys; one that is missing is said once, by its command,
    and only limits that need it fail."""
    with servers.run(name) as server, server.client() as root:
        root.execute_command("ACL", "SETUSER", "ana", "on", ">x", "~ratelimit:*", *ENOUGH)
        url = f"redis://ana:x@127.0.0.1:{server.port}?protocol={protocol}"
        assert decided(url, *ALL) == [1, 1, 1]
        assert not caplog.messages
        assert named(*ENOUGH)
        for right, command in (("-@write", "DEL, PEXPIRE, "), ("-time", "TIME: "), ("-@scripting", "")):
            root.execute_command("ACL", "SETUSER", "ana", right)
            with pytest.raises(StoreUnavailable, match=re.escape(ADVICE["NOPERM"])):
                decided(url, *ALL)
            root.execute_command("ACL", "SETUSER", "ana", *ENOUGH)
            assert not command or f"can't call {command}" in caplog.text
        caplog.clear()
        root.execute_command("ACL", "SETUSER", "ana", "-zadd")
        for number in (1, 2):
            assert decided(url, rate(9, 60_000, key="r")) == [number]
        assert len(caplog.messages) == 1
        assert "the store's scripts can't call ZADD: " in caplog.text
        assert ADVICE["NOPERM"] in caplog.text


@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_a_command_that_was_renamed(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said by its name at the start; HELLO is done without."""
    monkeypatch.setattr(servers.Server, "client", lambda server: Redis(unix_socket_path=str(server.socket), protocol=2))
    renamed = [option for command in ("HELLO", "ZADD") for option in ("--rename-command", command, f"{command}2")]
    with servers.run(name, *renamed) as server:
        url = f"redis://127.0.0.1:{server.port}?protocol=3"
        assert decided(url, rate(9, 60_000), quota(9)) == [1, 1]
        assert ["can't call ZADD: " in said for said in caplog.messages] == [True]
        with pytest.raises(StoreUnavailable):
            decided(url, *ALL)


def test_another_database(valkey: servers.Server) -> None:
    """One more right, which the advice and the README name."""
    with valkey.client() as root:
        root.execute_command("ACL", "SETUSER", "eva", "on", ">x", "~ratelimit:*", *ENOUGH)
        url = f"redis://eva:x@127.0.0.1:{valkey.port}/7"
        with pytest.raises(StoreUnavailable, match="'select'"):
            decided(url, *ALL)
        root.execute_command("ACL", "SETUSER", "eva", *named("+select"))
        assert decided(url, *ALL) == [1, 1, 1]
        root.execute_command("ACL", "DELUSER", "eva")


def test_on_a_cluster(valkey_cluster: clusters.Cluster) -> None:
    """Two more, to find a caller's node and to ask it while its slot moves."""
    url = valkey_cluster.url.replace("://", "://eva:x@")
    to_all(valkey_cluster, "SETUSER", "eva", "on", ">x", "~ratelimit:*", *ENOUGH)
    with pytest.raises(StoreUnavailable, match=re.escape("'cluster|slots'")):
        decided(url, *ALL)
    to_all(valkey_cluster, "SETUSER", "eva", *named("+cluster|slots", "+asking"))
    assert decided(url, *ALL) == [1, 1, 1]
    to_all(valkey_cluster, "DELUSER", "eva")


def to_all(cluster: clusters.Cluster, *what: str) -> None:
    for node in cluster.nodes:
        with node.client() as root:
            root.execute_command("ACL", *what)


def named(*rights: str) -> tuple[str, ...]:
    """Rights, as the advice and the README name them."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert all(
        f" {right}" in ADVICE["NOPERM"] and re.search(rf"[` ]{re.escape(right)}[` ]", readme) for right in rights
    )
    return rights
