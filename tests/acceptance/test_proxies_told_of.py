"""A proxy that nobody trusts, or that writes the other header, is told of once, with the line to write."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ratelimit.identity.address import ClientAddress

XFF, FWD, CLIENT = b"x-forwarded-for", b"forwarded", b"203.0.113.9"


def scope(peer: str | None, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "client": None if peer is None else (peer, 1), "headers": [(b"host", b"a"), *headers]}


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        *(("10.0.0.7", "10.0.0.7"), ("172.17.0.1", "172.17.0.1"), ("192.168.1.1", "192.168.1.1")),
        *(("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::ffff:10.0.0.7", "10.0.0.7"), ("fd00::7", "fd00::7")),
        *(("fe80::1%eth0", "fe80::1"), ("100.64.0.1", "100.64.0.1"), ("169.254.1.1", "169.254.1.1")),
    ],
)
@pytest.mark.parametrize(("header", "value"), [(XFF, CLIENT), (FWD, b"for=203.0.113.9"), (XFF, b"nonsense" * 99)])
def test_nobody_is_trusted(
    peer: str, shown: str, header: bytes, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A private peer with a forwarded header: one warning, which names it, the setting and the header; and it goes on
    being counted by its own address."""
    address = ClientAddress(ipv6_prefix=128)
    with caplog.at_level(logging.WARNING, "ratelimit"):
        for _ in range(3):
            assert address(scope(peer, (header, value))) == shown
    (record,) = caplog.records
    said = record.getMessage()
    assert f"a request from {shown} carries {header.decode()}, and no proxy is trusted" in said
    assert (
        f'write [identity] trusted_proxies = ["{shown}"], or its network, and forwarded = "{header.decode()}"' in said
    )
    assert "trusted_hops = 1" in said
    trusting = ClientAddress((shown,), header.decode())  # type: ignore[arg-type]
    if b"nonsense" not in value:
        assert trusting(scope(peer, (header, value))) == "203.0.113.9"


@pytest.mark.parametrize(
    ("address", "peer", "headers"),
    [
        (ClientAddress(), "192.0.2.7", [(XFF, CLIENT)]),  # anybody's own claim
        (ClientAddress(), "2001:db8::7", [(FWD, b"for=203.0.113.9")]),
        (ClientAddress(), "10.0.0.7", []),
        (ClientAddress(), "10.0.0.7", [(b"x-real-ip", CLIENT)]),
        (ClientAddress(("10.0.0.0/8",)), "10.0.0.7", [(XFF, CLIENT), (FWD, b"for=203.0.113.9")]),
        (ClientAddress(("10.0.0.0/8",)), "10.0.0.7", []),
        (ClientAddress(("10.0.0.0/8",)), "192.168.0.1", [(XFF, CLIENT)]),  # somebody has thought about it
        (ClientAddress(trusted_hops=1), "192.168.0.1", [(XFF, CLIENT)]),
        (ClientAddress(), "10.9.9.9", [(XFF, b"10.9.9.9")]),  # the server has made the client of it already
        (ClientAddress(), "fd00::9", [(FWD, b'for=203.0.113.9, for="[fd00::9]:5"')]),
    ],
)
def test_nothing_to_tell(
    address: ClientAddress, peer: str, headers: list[tuple[bytes, bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    """No warning of a peer from outside, without such a header, where somebody is trusted, or where the server has read
    the header itself."""
    with caplog.at_level(logging.WARNING, "ratelimit"):
        for _ in range(2):
            address(scope(peer, *headers))
    assert not caplog.records


@pytest.mark.parametrize("settings", [{"trusted_proxies": ("10.0.0.0/8",)}, {"trusted_hops": 1}])
@pytest.mark.parametrize(("configured", "sent"), [(XFF, FWD), (FWD, XFF)])
def test_the_other_header(
    settings: dict[str, Any], configured: bytes, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A trusted proxy that sends the header which is not configured, and not the one that is: one warning."""
    address = ClientAddress(**settings, forwarded=configured.decode())
    with caplog.at_level(logging.WARNING, "ratelimit"):
        assert address(scope("10.0.0.7")) == "10.0.0.7"
        for _ in range(3):
            assert address(scope("10.0.0.7", (sent, CLIENT))) == "10.0.0.7"
    (record,) = caplog.records
    said = record.getMessage()
    assert f"the proxy 10.0.0.7 sends {sent.decode()}, and not {configured.decode()}" in said
    assert f'write forwarded = "{sent.decode()}"' in said


def test_once_said_no_header_is_looked_at() -> None:
    """After the warning a request costs nothing more: its headers are not even read."""
    address = ClientAddress()
    address(scope("10.0.0.7", (XFF, CLIENT)))
    assert address({"type": "http", "client": ("10.0.0.7", 1)}) == "10.0.0.7"


@pytest.mark.parametrize("before", [0, 99, 250])
def test_a_proxy_that_comes_later(before: int, caplog: pytest.LogCaptureFixture) -> None:
    """It is told of after thousands of requests without it as well, within a hundred of its own: to look at each one's
    headers for ever would cost callers of a private network for nothing."""
    address = ClientAddress()
    with caplog.at_level(logging.WARNING, "ratelimit"):
        for _ in range(before):
            address(scope("10.0.0.7"))
        assert not caplog.records
        for _ in range(100):
            address(scope("10.0.0.7", (XFF, CLIENT)))
    assert len(caplog.records) == 1
