"""TLS, users and passwords for each kind of store, on real servers: one, a cluster, one with sentinels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ratelimit.model import StoreUnavailable
from ratelimit.stores import open_store
from tests import clusters, sentinels, servers
from tests.certificates import Certificate
from tests.secrets_shown import in_frames, in_reprs
from tests.stores import concurrency, rate
from tests.stores.clustered import FIRST, SECOND, THIRD, of, user_in

KINDS = ("single", "cluster", "sentinel")
RIGHT, WRONG = "open sésame/@#?", "closed sesame"
SENTINELS_OWN = "watch me &=%"
QUOTED = {RIGHT: "open%20s%C3%A9same%2F%40%23%3F", WRONG: "closed%20sesame"}
REQUESTS = [of(user_in(slots), rate(9, 60_000), concurrency(9)) for slots in (FIRST, SECOND, THIRD)]


@contextmanager
def secured(kind: str, name: str, certificate: Certificate | None = None) -> Iterator[str]:
    """The URL, without credentials, of servers that want user ana, and of sentinels that want a password too."""
    tls = f"?ssl_ca_certs={certificate.certificate}" if certificate else ""
    with ExitStack() as stack:
        if kind == "cluster":
            cluster = stack.enter_context(clusters.run_cluster(name, password=RIGHT, certificate=certificate))
            nodes, url = cluster.nodes, cluster.url
        elif kind == "sentinel":
            watched = stack.enter_context(
                sentinels.run_sentinel(
                    name, password=RIGHT, sentinel_password=SENTINELS_OWN, certificate=certificate, replicas=1
                )
            )
            nodes, url = watched.servers, watched.url
        else:
            server = stack.enter_context(servers.run(name, certificate=certificate))
            nodes, url = (server,), server.url
            with server.client() as client:
                client.config_set("requirepass", RIGHT)
            if certificate:
                url = f"rediss://127.0.0.1:{server.tls_port}{tls}"
        for node in nodes:
            with node.client(password=RIGHT) as client:
                client.acl_setuser("ana", enabled=True, passwords=[f"+{RIGHT}"], keys=["*"], categories=["+@all"])
        yield url


def decide(url: str) -> None:
    """Every kind of call over a store: decisions in each third of the slots, a renewal, a release."""

    async def test() -> None:
        store = open_store(url, timeout=10)
        try:
            for charges in REQUESTS:
                decision = await store.acquire(charges)
                assert decision.allowed
                assert await store.renew(decision.leases) == []
                await store.release(decision.leases)
        finally:
            await store.close()

    asyncio.run(test())


def refusal(url: str) -> str:
    async def test() -> str:
        store = open_store(url, timeout=10)
        try:
            with pytest.raises(StoreUnavailable) as raised:
                await store.acquire(REQUESTS[0])
        finally:
            await store.close()
        for secret in (*QUOTED.values(), RIGHT, WRONG, SENTINELS_OWN):
            assert in_frames(raised.value, secret) == []
            assert in_reprs(store, secret)[1] == []
        return f"{raised.value!r} {store!r}"

    return asyncio.run(test())


def with_user(url: str, password: str, sentinels_own: str = "watch%20me%20%26%3D%25") -> str:
    """The URL with user ana, and with the password of sentinels where there are some."""
    scheme, _, rest = url.partition("://")
    url = f"{scheme}://ana:{QUOTED[password]}@{rest}"
    return f"{url}{'&' if '?' in url else '?'}sentinel_password={sentinels_own}" if "sentinel" in scheme else url


@pytest.mark.parametrize("kind", KINDS)
def test_tls_with_a_password(kind: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS, with user and password in the URL or from the environment, every node is reached, and the options of
    the URL hold for all; a server whose certificate is not trusted gets no password. On Redis, as Debian builds it;
    Valkey's wheel is built without TLS."""
    with secured(kind, "redis", certificate) as url:
        assert url.startswith("rediss")
        decide(with_user(url, RIGHT))
        told = refusal(with_user(url, RIGHT).replace(f"ssl_ca_certs={certificate.certificate}", ""))
        assert "CERTIFICATE_VERIFY_FAILED" in told
        assert "sésame" not in told
        monkeypatch.setenv("RATELIMIT_STORE_USERNAME", "ana")
        monkeypatch.setenv("RATELIMIT_STORE_PASSWORD", RIGHT)
        monkeypatch.setenv("RATELIMIT_STORE_SENTINEL_PASSWORD", SENTINELS_OWN)
        decide(url)


@pytest.mark.parametrize(("name", "kind"), [("redis", "single"), *[("valkey", kind) for kind in KINDS]])
def test_credentials(name: str, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """User and password come from the URL, or from the environment where it has none; a wrong one is told as that, and
    is in no error, in no repr and in no log."""
    caplog.set_level(logging.DEBUG)
    with secured(kind, name) as url:
        decide(with_user(url, RIGHT))
        told = refusal(with_user(url, WRONG))
        assert "invalid username-password pair" in told
        if kind == "sentinel":
            assert "the option sentinel_password of the URL" in refusal(with_user(url, RIGHT, "closed%20sesame"))
            for more in ("", "&protocol=2"):  # refused when it greets, and when it asks
                told_own = refusal(with_user(url, RIGHT, "") + more)
                assert "the option sentinel_password of the URL" in told_own
        assert "NOAUTH" in refusal(url)
        monkeypatch.setenv("RATELIMIT_STORE_USERNAME", "ana")
        monkeypatch.setenv("RATELIMIT_STORE_PASSWORD", RIGHT)
        monkeypatch.setenv("RATELIMIT_STORE_SENTINEL_PASSWORD", SENTINELS_OWN)
        decide(url)
        told += refusal(with_user(url, WRONG, "closed%20sesame"))
        monkeypatch.setenv("RATELIMIT_STORE_PASSWORD", WRONG)
        told += refusal(url)
        decide(with_user(url, RIGHT))  # the URL's own counts
    assert "sesame" not in told + caplog.text


def test_a_user_of_the_sentinels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentinels may have users of their own, in the URL or from the environment."""
    with sentinels.run_sentinel("valkey", replicas=0, sentinels=1) as watched:
        with watched.client(watched.sentinels[0]) as client:
            client.acl_setuser("bob", enabled=True, passwords=[f"+{RIGHT}"], categories=["+@all"])
            client.acl_setuser("default", enabled=False)
        decide(f"{watched.url}?sentinel_username=bob&sentinel_password={QUOTED[RIGHT]}")
        monkeypatch.setenv("RATELIMIT_STORE_SENTINEL_USERNAME", "bob")
        monkeypatch.setenv("RATELIMIT_STORE_SENTINEL_PASSWORD", RIGHT)
        decide(watched.url)
