"""Whatever redis-py can connect to by a URL, the store decides on: protocol, password, database, TLS."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvloop

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.dial import connections
from ratelimit.stores.connection.socket import Socket
from ratelimit.stores.redis import RedisStore
from tests import servers
from tests.certificates import Certificate
from tests.stores import Subject, concurrency, queue_of, quota, rate
from tests.stores.test_differential import comparable
from tests.stores.wires import WARM, T, run

LOOPS = pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, uvloop.Loop], ids=["asyncio", "uvloop"])
REQUESTS = [
    (rate(2, 60_000), quota(9)),
    (rate(2, 60_000), concurrency(1), quota(9, "day", key="d")),
    (rate(2, 60_000), quota(9)),
    (rate(9, 60_000, key="s", mode="shadow"), quota(9, cost=0)),
]


def agree(subject: Subject, loop: type[asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop) -> None:
    """The subject decides as the memory store does, over a wire without redis-py's own path."""
    memory = Subject("memory").at(T)

    async def test() -> None:
        subject.at(T)
        for charges in REQUESTS:
            one, other = await memory.acquire(*charges), await subject.acquire(*charges)
            assert comparable(one) == comparable(other)
            assert await subject.store.renew(other.leases) == []
            await subject.release(*other.leases)
            await memory.release(*one.leases)
        together = await asyncio.gather(*(subject.store.acquire(WARM) for _ in range(1_000)))
        assert [d.states[0].used for d in together[:10]] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
        assert isinstance(queue_of(subject.store).link._wire, Socket)

    run(subject.store, test(), loop)


@LOOPS
@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols(server: servers.Server, protocol: int, loop: type[asyncio.AbstractEventLoop]) -> None:
    """RESP2 and RESP3 make no difference."""
    agree(Subject(server.name, f"{server.url}?protocol={protocol}"), loop)


def test_a_database(server: servers.Server) -> None:
    """The counters are in the database that the URL names."""
    subject = Subject(server.name, server.url.removesuffix("/0") + "/5")
    agree(subject)
    with server.client(db=5) as client, server.client() as elsewhere:
        assert client.keys(f"{subject.prefix}:*")
        assert not elsewhere.keys(f"{subject.prefix}:*")


@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_a_password(name: str) -> None:
    """A password in the URL is presented on each connection, and a wrong one is in no message."""

    async def refused() -> None:
        with pytest.raises(StoreUnavailable, match=r"invalid") as raised:
            await wrong.acquire(WARM)
        assert "sesame" not in str(raised.value)

    async def test() -> None:
        for used in (1, 2):
            assert (await right.acquire(WARM)).states[0].used == used
            await right.close()

    with servers.run(name) as server:
        with server.client() as client:
            client.config_set("requirepass", "open sesame")
        right = RedisStore(f"redis://:open%20sesame@127.0.0.1:{server.port}", timeout=10)
        wrong = RedisStore(f"redis://:closed%20sesame@127.0.0.1:{server.port}", timeout=10)
        run(right, test(), asyncio.SelectorEventLoop)
        run(wrong, refused(), asyncio.SelectorEventLoop)


@dataclass(frozen=True)
class Tls:
    """A server behind TLS: its URL with the certificate to trust, and without."""

    url: str
    untrusted: str


@pytest.fixture(scope="module")
def tls(certificate: Certificate) -> Iterator[Tls]:
    """Redis, as Debian builds it; Valkey's wheel is built without TLS."""
    with servers.run("redis", certificate=certificate) as server:
        url = f"rediss://127.0.0.1:{server.tls_port}/0"
        yield Tls(f"{url}?ssl_ca_certs={certificate.certificate}", url)


@LOOPS
def test_tls(tls: Tls, loop: type[asyncio.AbstractEventLoop]) -> None:
    """Over TLS the same decisions come the same way, alone and in bursts."""
    agree(Subject("redis", tls.url), loop)


@LOOPS
def test_a_certificate_that_is_not_trusted(tls: Tls, loop: type[asyncio.AbstractEventLoop]) -> None:
    """A server that can't prove who it is gets no command, and the reason is told."""
    store = RedisStore(tls.untrusted, timeout=10)

    async def test() -> None:
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await store.acquire(WARM)

    run(store, test(), loop)


@LOOPS
def test_much_over_tls(tls: Tls, loop: type[asyncio.AbstractEventLoop]) -> None:
    """What does not fit into the socket at once is waited for, also where it is encrypted on the way."""
    subject = Subject("redis", tls.url)

    async def test() -> None:
        await subject.acquire(*WARM)
        link = queue_of(subject.store).link
        echoes = [link.call(b"*2\r\n$4\r\nECHO\r\n$3000000\r\n%b\r\n" % (b"x" * 3_000_000)) for _ in range(5)]
        *echoed, decision = await asyncio.gather(*echoes, subject.store.acquire(WARM))
        assert [len(text) for text in echoed] == [3_000_000] * 5
        assert decision.states[0].used == 2
        assert link.ready

    run(subject.store, test(), loop)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://:s3cret@h:99999", "its host, its port, its database or an option can't be read"),
        ("redis://:s3cret@h?foo=1", "it has an option 'foo', which this kind of URL does not know"),
        ("rediss://:s3cret@h?ssl_cert_reqs=sometimes", "Invalid SSL Certificate Requirements Flag: sometimes"),
    ],
)
def test_what_the_installed_library_does_not_take(url: str, why: str) -> None:
    """What our own reading of a URL let through and redis-py refuses, as an older one may, is an error without it."""
    with pytest.raises(ValueError, match="no connection to Redis can be made from this URL: ") as error:
        connections(url)
    assert why in str(error.value)
    assert "s3cret" not in "".join(traceback.format_exception(error.value))
