"""A connection over TLS costs the event loop little: the context is made once, and again for another certificate."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from ratelimit.stores.connection import handshake
from ratelimit.stores.connection.breaker import OF_A_NODE
from ratelimit.stores.connection.dial import connect, connections, reason
from tests import certificates, servers


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_kept", {})


async def _attempt(url: str) -> None:
    await connect(connections(url), lambda _: None, lambda _: None, OF_A_NODE)


def test_one_context_for_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a server is down it is tried twice a second, and the machine's certificates are not read each time; another
    set of options has a context of its own."""
    made = []
    default = handshake.SSLContext.load_default_certs
    monkeypatch.setattr(handshake.SSLContext, "load_default_certs", lambda *of: (made.append(1), default(*of))[1])
    url = f"rediss://127.0.0.1:{servers.free_port()}/0"
    for attempted in (url, url, f"{url}?ssl_check_hostname=false", url):
        with pytest.raises(RedisConnectionError):
            asyncio.run(_attempt(attempted))
    assert len(made) == 2


def test_a_certificate_that_is_renewed(tmp_path: Path) -> None:
    """A file that was replaced counts from the next connection on, without a restart; contexts are few all the same."""
    made = certificates.make(tmp_path)
    options = {"ssl_ca_certs": str(made.certificate), "host": "h"}
    contexts = []
    for renewed in range(handshake.KEPT + 2):
        os.utime(made.certificate, (renewed, renewed))
        for _ in range(2):
            maker = SimpleNamespace(context=None)
            maker.get = lambda maker=maker: maker.context or object()
            handshake.reuse_context(maker, options)
            contexts.append(maker.context)
    assert len(set(map(id, contexts))) == handshake.KEPT + 2
    assert contexts[0::2] == contexts[1::2]
    assert len(handshake._kept) == handshake.KEPT


@pytest.mark.parametrize(("text", "why"), [(None, "No such file"), ("no certificate", "NO_CERTIFICATE|PEM")])
def test_a_file_that_is_missing_or_wrong(tmp_path: Path, text: str | None, why: str) -> None:
    """It is named: of the server there is nothing wrong."""
    authority = tmp_path / "ca.pem"
    if text:
        authority.write_text(text)
    with pytest.raises(ValueError, match=why) as raised:
        asyncio.run(_attempt(f"rediss://127.0.0.1:1/0?ssl_ca_certs={authority}"))
    assert str(authority) in reason(raised.value)
