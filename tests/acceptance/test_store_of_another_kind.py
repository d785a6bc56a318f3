"""A URL that names a node of a cluster, or a sentinel, as a single server is told once, with the URL to use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from ratelimit.ground.repeats import Once
from ratelimit.model import StoreUnavailable
from ratelimit.stores import open_store
from ratelimit.stores.connection import handshake
from ratelimit.stores.connection.handshake import Address
from tests import servers
from tests.stores import rate

AT_ONCE = 0.3  # a timeout: what has no slots is asked for as long


@dataclass(frozen=True)
class Three:
    single: servers.Server
    node: servers.Server  # of a cluster that has no slots yet
    sentinel: servers.Server


@pytest.fixture(scope="module", params=["valkey", "redis"])
def three(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    file: Path = tmp_path_factory.mktemp("sentinel") / "sentinel.conf"
    file.touch()
    with ExitStack() as stack:
        sentinel = stack.enter_context(servers.run(request.param, program=(str(file), "--sentinel")))
        options = ["--cluster-enabled", "yes", "--cluster-port", str(servers.free_port())]
        yield Three(
            request.getfixturevalue(request.param), stack.enter_context(servers.run(request.param, *options)), sentinel
        )


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(handshake, "_said", Once())
    caplog.set_level(logging.INFO, "ratelimit")
    return caplog


def asked(url: str, timeout: float = 5) -> str:
    """What two requests are told, on a loop and with a store of their own."""

    async def test() -> str:
        store = open_store(url, timeout=timeout)
        try:
            for _ in range(2):
                with pytest.raises(StoreUnavailable) as raised:
                    await store.acquire((rate(9, 60_000),))
                await asyncio.sleep(0.06)  # it is tried again in the background
        finally:
            await store.close()
        return str(raised.value)

    return asyncio.run(test())


@pytest.mark.parametrize("options", ["", "?protocol=2", "?protocol=3&decode_responses=true"])
def test_a_node_of_a_cluster(three: Three, said: pytest.LogCaptureFixture, options: str) -> None:
    """Once, however many requests, loops and stores there are; the address is that of the URL,
    without its credentials."""
    address = f"127.0.0.1:{three.node.port}"
    for _ in range(2):
        asked(f"redis://{address}{options}", AT_ONCE)
    assert said.messages == [
        f"the server at {address} is a node of a cluster, and decides only for callers whose slots it has:"
        f" let the URL of the store be redis+cluster://{address}"
    ]


@pytest.mark.parametrize("options", ["", "?protocol=2"])
def test_a_sentinel(three: Three, said: pytest.LogCaptureFixture, options: str) -> None:
    """As it can never decide, it is as if it could not be reached: nobody waits for it."""
    address = f"127.0.0.1:{three.sentinel.port}"
    for _ in range(2):
        assert asked(f"redis://{address}{options}") == (
            "the server that the store's URL names is a sentinel, and keeps no counters"
        )
    assert said.messages == [
        f"the server at {address} is a sentinel, and keeps no counters: let the URL of the store be"
        f" redis+sentinel://{address}/mymaster/0, with the name of your master"
    ]


def test_on_a_unix_socket(three: Three, said: pytest.LogCaptureFixture) -> None:
    """Without an address the example has some."""
    asked(three.node.unix_url, AT_ONCE)
    asked(f"unix://{three.sentinel.socket}")
    assert [message.rpartition(" be ")[2] for message in said.messages] == [
        "redis+cluster://h1:7000,h2:7001",
        "redis+sentinel://h1:26379,h2:26379/mymaster/0, with the name of your master",
    ]


def test_with_tls_and_ipv6(said: pytest.LogCaptureFixture) -> None:
    """The URL to use has TLS where this one has, and an IPv6 address in its brackets. No more than 100 are told of."""
    for port in (1, 1, 2):
        handshake.check_single({b"mode": b"cluster"}, "rediss", Address("::1", port))
    assert [message.rpartition(" be ")[2] for message in said.messages] == [
        "rediss+cluster://[::1]:1",
        "rediss+cluster://[::1]:2",
    ]
    for port in range(1_000):
        handshake.check_single({b"mode": b"cluster"}, "redis", Address("h", port))
    assert len(said.messages) == handshake.SAID


@pytest.mark.parametrize("hello", [b"OK", {}, [], [b"mode"], {b"mode": b"\xff"}, {"mode": 7}, None, {b"mode": [1]}])
def test_what_says_nothing_of_itself(hello: object, said: pytest.LogCaptureFixture) -> None:
    """What is no reply to HELLO says nothing."""
    handshake.check_single(hello, "redis", None)
    assert said.messages == []


def test_the_other_way_round(three: Three, said: pytest.LogCaptureFixture) -> None:
    """A URL of a cluster or of sentinels that names something else says so in its error, without the caller's names."""
    single, node, sentinel = (f"127.0.0.1:{one.port}" for one in (three.single, three.node, three.sentinel))
    for url, advice in (
        (f"redis+cluster://{single}", "it is a single server: its URL begins with redis:// or rediss://"),
        (f"redis+cluster://{sentinel}", "it is no node of a cluster: "),
        (f"redis+sentinel://{single}/m", "it is no sentinel: a single server's URL begins with redis://"),
        (f"redis+sentinel://{node}/m", "it is no sentinel: "),
        (f"redis://{sentinel}/1", "it is a sentinel: a URL with sentinels begins with redis+sentinel://"),
    ):
        assert advice in (told := asked(url))
        assert "beginning with" not in told
    assert said.messages == []


def test_a_single_server(three: Three, said: pytest.LogCaptureFixture) -> None:
    """A URL that is right says nothing."""

    async def test() -> None:
        store = open_store(three.single.url, prefix="kind", timeout=5)
        assert (await store.acquire((rate(9, 60_000),))).allowed
        await store.close()

    asyncio.run(test())
    assert said.messages == []
