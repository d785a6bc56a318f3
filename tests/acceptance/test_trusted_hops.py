"""Behind proxies without fixed addresses the client is the hop that they wrote, counted from the right, and never a
claim that stands left of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import parse_policy
from ratelimit.identity.address import MAX_HOPS, ClientAddress

PEER, CLIENT, CLAIM = "35.191.0.7", "203.0.113.9", "198.51.100.1"
XFF, FWD = "x-forwarded-for", "forwarded"


def scope(*lines: str, peer: str | None = PEER, header: str = XFF) -> dict[str, Any]:
    headers = [(header.encode(), line.encode("latin-1")) for line in lines]
    return {"type": "http", "client": None if peer is None else (peer, 1), "headers": [(b"host", b"a"), *headers]}


@pytest.mark.parametrize(
    ("hops", "lines", "counted"),
    [
        (1, [CLIENT], CLIENT),
        (1, [f"{CLAIM}, {CLIENT}"], CLIENT),
        (1, [CLAIM, CLIENT], CLIENT),
        (1, [f"{CLAIM}, 10.0.0.1, {CLIENT}:4711"], CLIENT),
        (1, ["2001:db8:1:2::6"], "2001:db8:1:2::/64"),
        (1, ["10.0.0.9"], "10.0.0.9"),  # a private address is a client like any other
        (2, [f"{CLIENT}, 10.0.0.1"], CLIENT),
        (2, [f"{CLAIM}, {CLIENT}, 10.0.0.1"], CLIENT),
        (2, [f"{CLAIM}, {CLIENT}", "10.0.0.1"], CLIENT),
        (2, [f"{CLAIM},, {CLIENT},, 10.0.0.1,"], CLIENT),
        (3, [f"{CLAIM}, {CLIENT}, 10.0.0.2, 10.0.0.1"], CLIENT),
        # fewer than there should be: it came around a proxy, or the setting is wrong
        (1, [], PEER),
        (1, [""], PEER),
        (2, [CLAIM], PEER),
        (3, [f"{CLAIM}, 10.0.0.1"], PEER),
        # no address: the last good one
        (1, ["unknown"], PEER),
        (1, [f"{CLIENT}, unknown"], PEER),
        (2, ["unknown, 10.0.0.1"], "10.0.0.1"),
        (2, [f"{CLAIM}, unknown, 10.0.0.1"], "10.0.0.1"),
        (2, [f"{CLAIM}, {'9' * 500}, 10.0.0.1"], "10.0.0.1"),
    ],
)
def test_the_hop_that_is_counted_to(hops: int, lines: list[str], counted: str) -> None:
    """All lines joined, from the right; the peer where there are fewer hops; a hop that is no address ends the walk."""
    assert ClientAddress(trusted_hops=hops)(scope(*lines)) == counted
    elements = [
        ", ".join(f'for="[{h}]"' if h.count(":") > 1 else f'for="{h}"' for h in line.split(", ")) for line in lines
    ]
    if not any(",," in line or line == "" for line in lines):
        by_rfc = ClientAddress(trusted_hops=hops, forwarded="forwarded")
        assert by_rfc(scope(*elements, header=FWD)) == counted


@given(st.lists(st.text(alphabet="0123456789., :[]\"'unk", max_size=40), max_size=4), st.integers(1, 4))
def test_no_claim_moves_it(claims: list[str], hops: int) -> None:
    """Whatever a caller sends, in lines of its own or left of what the proxies append, the same hop counts."""
    proxies = [f"10.0.0.{n}" for n in range(hops - 1)]
    appended = ", ".join([CLIENT, *proxies])
    address = ClientAddress(trusted_hops=hops)
    assert address(scope(*claims, appended)) == CLIENT
    assert address(scope(*claims[:-1], f"{claims[-1] if claims else ''}, {appended}")) == CLIENT


def test_any_peer_and_the_other_header() -> None:
    """Of any peer the header counts, also of one without an address; the header that is not named never does."""
    address = ClientAddress(trusted_hops=1)
    assert [address(scope(CLIENT, peer=peer)) for peer in (None, "", "testclient", "10.0.0.1")] == [CLIENT] * 4
    assert address(scope(f"for={CLAIM}", header=FWD)) == PEER


def test_long_headers() -> None:
    """As many hops as can be set are walked, of a header however long."""
    address = ClientAddress(trusted_hops=MAX_HOPS)
    near = ", ".join([CLIENT, *["10.0.0.1"] * (MAX_HOPS - 1)])
    assert address(scope(", ".join([CLAIM] * 20_000 + [near]))) == CLIENT


@pytest.mark.parametrize("hops", [0, -1, MAX_HOPS + 1, True, 1.0, "1"])
def test_what_makes_no_sense(hops: Any) -> None:
    """A number that is none is refused, and so are both ways at once, by hand as in a file."""
    with pytest.raises(ValueError, match=f"trusted_hops is {hops!r}; it must be a whole number from 1 to 100"):
        ClientAddress(trusted_hops=hops)
    with pytest.raises(ValueError, match="trusted_hops and trusted_proxies are two ways to say whom to trust"):
        ClientAddress(trusted_proxies=("10.0.0.0/8",), trusted_hops=1)


def test_too_few_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log says once that requests have fewer hops than the setting; one without the header is nothing to tell."""
    address = ClientAddress(trusted_hops=2)
    with caplog.at_level(logging.WARNING, "ratelimit"):
        address(scope())
        assert not caplog.records
        for _ in range(3):
            address(scope(CLIENT))
    (record,) = caplog.records
    assert "x-forwarded-for has 1 of the 2 hops that [identity] trusted_hops says" in record.getMessage()


def test_in_a_file() -> None:
    """`[identity] trusted_hops = 1` is all that a platform with one proxy needs."""
    policy = parse_policy("identity.trusted_hops = 1\ntiers.anonymous.limits = []")
    assert policy.address(scope(f"{CLAIM}, {CLIENT}")) == CLIENT


@pytest.mark.parametrize(
    "proxies",
    [
        *(["0.0.0.0/0"], ["::/0"], ["::ffff:0:0/96"], ["0.0.0.0/1", "128.0.0.0/1"], ["2000::/3"], ["::/1"]),
        *(["64.0.0.0/2", "128.0.0.0/2"], ["64:ff9b::/96"], ["2002::/16"], ["2001::/32"], ["2000::/5", "2800::/5"]),
        *(["10.0.0.0/8", "::ffff:0.0.0.0/97", "::ffff:128.0.0.0/97"], [f"{n}.0.0.0/8" for n in range(1, 224)]),
    ],
)
def test_everybody_is_no_proxy(proxies: list[str]) -> None:
    """Networks that come to all addresses would let every caller write its own; the error says what to do instead."""
    with pytest.raises(ValueError, match=r"everybody.*write trusted_hops = 1 instead"):
        ClientAddress(trusted_proxies=tuple(proxies))


def test_large_networks_that_are_no_everybody() -> None:
    """Private space of any size, and the networks of a provider, can be trusted."""
    ClientAddress(
        trusted_proxies=("10.0.0.0/8", "fc00::/7", "fe80::/10", "172.64.0.0/13", "2400:cb00::/32", "::1", "unix")
    )
