"""The client's address: which one is counted, and whose word is taken for it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.identity.address import CACHED, LOOKED, MAX_HOPS, ClientAddress
from ratelimit.identity.forwarded import MAX_BYTES

PROXIES = ("10.0.0.0/8", "2001:db8:ffff::/48", "unix")


def scope(peer: str | None, *values: str | bytes, header: bytes = b"x-forwarded-for") -> dict[str, Any]:
    headers = [(b"host", b"api.example.com")]
    headers += [(header, value.encode("latin-1") if isinstance(value, str) else value) for value in values]
    return {"type": "http", "client": None if peer is None else (peer, 50000), "headers": headers}


def forwarded(*values: str | bytes, peer: str | None = "10.0.0.1") -> str:
    address = ClientAddress(trusted_proxies=PROXIES, forwarded="forwarded")
    return address(scope(peer, *values, header=b"forwarded"))


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("192.0.2.7:80", "192.0.2.7"),
        ("[2001:db8:1:2::6]:80", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        ("", "unix"),
        (None, "unix"),
    ],
)
def test_the_peer_is_the_client(peer: str | None, counted: str) -> None:
    """Without trusted proxies the peer of the socket is the client, and no header changes that."""
    assert ClientAddress()(scope(peer)) == counted
    assert ClientAddress()(scope(peer, "203.0.113.9", "203.0.113.10")) == counted


@pytest.mark.parametrize(
    ("prefix", "counted"),
    [
        (128, "2001:db8:1:2:3:4:5:6"),
        (127, "2001:db8:1:2:3:4:5:6/127"),
        (64, "2001:db8:1:2::/64"),
        (56, "2001:db8:1::/56"),
        (1, "::/1"),
    ],
)
def test_ipv6_prefix(prefix: int, counted: str) -> None:
    """An IPv6 client is counted by its network, or by its address with a prefix of 128."""
    assert ClientAddress(ipv6_prefix=prefix)(scope("2001:db8:1:2:3:4:5:6")) == counted


def test_mapped_addresses_are_not_one_network() -> None:
    """Two IPv4 clients that arrive in IPv6 clothes are two clients, whatever the prefix."""
    address = ClientAddress(ipv6_prefix=1)
    assert address(scope("::ffff:192.0.2.7")) != address(scope("::ffff:192.0.2.8"))


@pytest.mark.parametrize(
    ("peer", "values", "counted"),
    [
        # the header counts only from a trusted peer
        ("192.0.2.7", ["203.0.113.9"], "192.0.2.7"),
        ("11.0.0.1", ["203.0.113.9"], "11.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("2001:db8:ffff::1", ["203.0.113.9"], "203.0.113.9"),
        (None, ["203.0.113.9"], "203.0.113.9"),
        ("", ["203.0.113.9"], "203.0.113.9"),
        ("testclient", ["203.0.113.9"], "testclient"),
        ("10.0.0.1", [], "10.0.0.1"),
        # from the right, the first hop that is not trusted
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9, 10.0.0.3, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
        # all lines joined
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9", "10.0.0.3", "10.0.0.2"], "203.0.113.9"),
        # all trusted: the leftmost
        ("10.0.0.1", ["10.0.0.4, 10.0.0.3", "10.0.0.2"], "10.0.0.4"),
        # a hop that is no address: the last good one
        ("10.0.0.1", ["203.0.113.9, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.9, 10.0.0.256"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, 010.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, 1.2.3.4:port"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, [1.2.3.4]:80"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, [2001:db8::1"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, [2001:db8::1]80"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, " + "9" * 200], "10.0.0.1"),
        # empty list elements are none
        ("10.0.0.1", ["198.51.100.1,, 203.0.113.9 ,, ,\t"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9", ""], "203.0.113.9"),
        # ports and zones
        ("10.0.0.1", ["203.0.113.9:4711, 10.0.0.2:80"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8:1:2::6]:80"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["[2001:db8:1:2::6]"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["2001:db8:1:2::6, fe80::1%eth0"], "fe80::/64"),
        ("10.0.0.1", ["[fe80::1%eth0]:80"], "fe80::/64"),
    ],
)
def test_x_forwarded_for(peer: str | None, values: list[str], counted: str) -> None:
    """The client is the first hop from the right that is not a trusted proxy."""
    assert ClientAddress(trusted_proxies=PROXIES)(scope(peer, *values)) == counted


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        (["for=203.0.113.9"], "203.0.113.9"),
        (["FOR=203.0.113.9;Proto=https;by=10.0.0.1"], "203.0.113.9"),
        (["proto=https; for=203.0.113.9 ;host=a"], "203.0.113.9"),
        (['for="203.0.113.9:4711"'], "203.0.113.9"),
        (['for="203.0.113.9:_port"'], "203.0.113.9"),
        (['for="[2001:db8:1:2::17]:4711"'], "2001:db8:1:2::/64"),
        (["for=[2001:db8:1:2::17]:4711"], "2001:db8:1:2::/64"),  # against the RFC, but sent
        ([r'for="203.0.113\.9"'], "203.0.113.9"),
        # several elements, several lines
        (["for=198.51.100.1, for=203.0.113.9, for=10.0.0.2"], "203.0.113.9"),
        (["for=198.51.100.1", "for=203.0.113.9;proto=http,, for=10.0.0.2"], "203.0.113.9"),
        (["for=10.0.0.3, for=10.0.0.2"], "10.0.0.3"),
        # separators inside quoted strings
        (['for=203.0.113.9;by="a,for=1.2.3.4;b", for=10.0.0.2'], "203.0.113.9"),
        ([r'for=203.0.113.9;by="a\",for=1.2.3.4"'], "203.0.113.9"),
        ([r'for=198.51.100.1, for=203.0.113.9;by="a\\"'], "203.0.113.9"),
        # a hop that is no address
        (["for=203.0.113.9, for=unknown"], "10.0.0.1"),
        (["for=203.0.113.9, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (["for=203.0.113.9, proto=https"], "10.0.0.1"),
        (["for=203.0.113.9, for="], "10.0.0.1"),
        (['for=203.0.113.9, for=""'], "10.0.0.1"),
        (["for=203.0.113.9, 198.51.100.1"], "10.0.0.1"),
        (["for=203.0.113.9;for=198.51.100.1"], "10.0.0.1"),
        (['for="203.0.113.9"x'], "10.0.0.1"),
        (["for = 203.0.113.9"], "10.0.0.1"),
        # a quote that the client left open does not swallow what the proxy appended
        (['for="198.51.100.1, for=203.0.113.9'], "203.0.113.9"),
        (['for="198.51.100.1', "for=203.0.113.9"], "203.0.113.9"),
        (['for=198.51.100.1;x="\\, for="203.0.113.9";proto="https"'], "203.0.113.9"),
        (['for="198.51.100.1, for=10.0.0.2'], "10.0.0.2"),
    ],
)
def test_forwarded(values: list[str], counted: str) -> None:
    """RFC 7239 is read with its quotes, ports, obfuscated names and several elements."""
    assert forwarded(*values) == counted


def test_only_the_named_header_is_read() -> None:
    """The header that the proxy does not write is the client's, so it is never read."""
    both = scope("10.0.0.1", "203.0.113.9")
    both["headers"].append((b"forwarded", b"for=198.51.100.1"))
    assert ClientAddress(trusted_proxies=PROXIES)(both) == "203.0.113.9"
    assert ClientAddress(trusted_proxies=PROXIES, forwarded="forwarded")(both) == "198.51.100.1"


@pytest.mark.parametrize(
    ("trusted", "peer", "counted"),
    [
        ("::ffff:10.0.0.0/104", "10.9.9.9", "203.0.113.9"),
        ("::ffff:10.0.0.0/104", "::ffff:10.9.9.9", "203.0.113.9"),
        ("::ffff:10.0.0.0/104", "11.0.0.1", "11.0.0.1"),
        ("10.1.2.3", "10.1.2.3", "203.0.113.9"),
        ("10.1.2.3", "10.1.2.4", "10.1.2.4"),
        ("2001:db8::1", "2001:db8::1", "203.0.113.9"),
        ("::/16", "10.1.2.3", "10.1.2.3"),
        ("::a00:0/104", "10.1.2.3", "10.1.2.3"),
        ("10.0.0.0/8", "::a01:203", "::/64"),
        ("unix", None, "203.0.113.9"),
        ("unix", "10.1.2.3", "10.1.2.3"),
        ("10.0.0.0/8", None, "unix"),
    ],
)
def test_trusted_networks(trusted: str, peer: str | None, counted: str) -> None:
    """A trusted network is of one IP version, and one of mapped addresses is the IPv4 network."""
    assert ClientAddress(trusted_proxies=(trusted,))(scope(peer, "203.0.113.9")) == counted


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"trusted_proxies": ("10.0.0.1/8",)},
            r'^\'10.0.0.1/8\' can\'t be a trusted proxy.*did you mean "10.0.0.0/8"\?',
        ),
        ({"trusted_proxies": ("*",)}, r"'\*' can't be a trusted proxy; write a network such as .*\"unix\""),
        ({"trusted_proxies": (None,)}, "None can't be a trusted proxy"),
        ({"trusted_proxies": "10.0.0.0/8"}, "is the text '10.0.0.0/8'; it must be a list"),
        ({"forwarded": "X-Real-IP"}, "forwarded is 'X-Real-IP'; it must be \"x-forwarded-for\" or"),
        ({"ipv6_prefix": 0}, "ipv6_prefix is 0; it must be a whole number from 1 to 128"),
        ({"ipv6_prefix": 129}, "ipv6_prefix is 129"),
        ({"ipv6_prefix": True}, "ipv6_prefix is True"),
        ({"ipv6_prefix": "64"}, "ipv6_prefix is '64'"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    """A setting that makes no sense is a ValueError that says what is allowed."""
    with pytest.raises(ValueError, match=message):
        ClientAddress(**settings)


def test_a_peer_without_address_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log says once that callers are counted as one, and names the setting to use."""
    address = ClientAddress()
    with caplog.at_level(logging.WARNING, "ratelimit"):
        for peer in (None, "testclient", None, "x" * 1000, "192.0.2.7"):
            address(scope(peer))
    (record,) = caplog.records
    assert "'unix'" in record.getMessage()
    assert 'trusted_proxies = ["unix"]' in record.getMessage()


def test_a_trusted_peer_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A proxy on a Unix socket that names the client is as it should be."""
    ClientAddress(trusted_proxies=("unix",))(scope(None, "203.0.113.9"))
    assert not caplog.records


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_only_the_right_end_of_a_long_header_is_read(header: Any) -> None:
    """Of hops and bytes only the last count, and a hop that was cut in the middle is not taken for an address."""
    address = ClientAddress(trusted_proxies=PROXIES, forwarded=header)
    name, hop = header.encode(), (b"%s" if header == "x-forwarded-for" else b"for=%s")
    trusted = hop % b"10.0.0.2"
    near = b",".join([hop % b"203.0.113.9", *[trusted] * (MAX_HOPS - 1)])
    far = b",".join([hop % b"203.0.113.9", *[trusted] * MAX_HOPS])
    assert address(scope("10.0.0.1", near, header=name)) == "203.0.113.9"
    assert address(scope("10.0.0.1", far, header=name)) == "10.0.0.2"
    # what is left of the last 16 kB, in the same line, in another, and in one that starts within and is cut
    padding = b" " * (MAX_BYTES - len(trusted) - 1)
    assert address(scope("10.0.0.1", hop % b"203.0.113.9" + b"," + padding + trusted, header=name)) == "10.0.0.2"
    assert address(scope("10.0.0.1", hop % b"203.0.113.9", padding + b" " + trusted, header=name)) == "10.0.0.2"
    assert address(scope("10.0.0.1", hop % b"203.0.113.9", padding[5:] + trusted, header=name)) == "10.0.0.2"
    assert address(scope("10.0.0.1", hop % b"203.0.113.9", padding[20:] + trusted, header=name)) == "203.0.113.9"


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
@pytest.mark.parametrize("over", [0, 1, 2])
@pytest.mark.parametrize("lines", [1, 2, 3])
def test_16_384_bytes_are_read(header: Any, over: int, lines: int) -> None:
    """Of all lines together, from the right: what stands left of them counts for nothing, however many hops it has,
    also where they end with a line."""
    address = ClientAddress(trusted_proxies=PROXIES, forwarded=header)
    name, hop = header.encode(), (b"%s" if header == "x-forwarded-for" else b"for=%s")
    claim, trusted = hop % b"203.0.113.9", hop % b"10.0.0.2"
    read = b" " * (16_384 - (lines - 1) * len(trusted) - len(claim) - 1 - len(trusted) + over)
    near = [claim + b"," + read + trusted, *[trusted] * (lines - 1)]
    assert sum(map(len, near)) == 16_384 + over
    assert address(scope("10.0.0.1", *near, header=name)) == ("10.0.0.2" if over else "203.0.113.9")
    full = [b" " * (16_384 - lines * len(trusted)) + trusted, *[trusted] * (lines - 1)]
    far = b",".join([claim, hop % b"203.0.113.8", claim])
    assert address(scope("10.0.0.1", far, *full, header=name)) == "10.0.0.2"
    full[0] = far + b"," + full[0]
    assert address(scope("10.0.0.1", *full, header=name)) in ("10.0.0.1", "10.0.0.2")  # one line is cut in this hop
    assert address(scope("10.0.0.1", far, *full[1:], header=name)) == "203.0.113.9"


@pytest.mark.parametrize("read", range(1, 12))
def test_a_hop_that_is_cut_is_none(read: int) -> None:
    """ "11.2.3.4" of "211.2.3.4" would be another's address, and what is left of an element another element."""
    for header, claim in ((b"x-forwarded-for", b"211.255.3.41"), (b"forwarded", b"by=_x;for=11.2.3.4")):
        address = ClientAddress(trusted_proxies=PROXIES, forwarded=header.decode())
        trusted = b"10.0.0.2" if header == b"x-forwarded-for" else b"for=10.0.0.2"
        line = claim + b"," + b" " * (16_384 - read - 1 - len(trusted)) + trusted
        assert address(scope("10.0.0.1", line, header=header)) == "10.0.0.2"


@pytest.mark.parametrize("network", ["10.0", "192.0"])
def test_memory_is_bounded(network: str) -> None:
    """However many peers come by, and however long their names are, only so many are remembered."""
    address = ClientAddress()
    for number in range(CACHED + 200):
        address(scope(f"{network}.{number >> 8}.{number & 255}"))
        assert len(address._passes) <= CACHED
    address(scope("x" * 100_000))
    assert address(scope("2001:db8::1%" + "x" * 100_000)) == "2001:db8::/64"  # an address, with a zone
    assert address._look.cache_info().currsize == CACHED  # type: ignore[attr-defined]
    assert max(map(len, address._passes)) < 20


@pytest.mark.parametrize("peer", ["192.0.2.7", "10.0.0.7", "::1", "testclient", "", None])
def test_a_peer_that_comes_again(peer: str | None) -> None:
    """It is counted as it was at first, however often it comes, and in whatever form the server has it."""
    address = ClientAddress()
    first = address(scope(peer))
    assert {address(scope(peer)) for _ in range(3 * LOOKED)} == {first}
    if peer:
        assert address({"client": [peer, 1], "headers": []}) == first
        assert address({"client": peer, "headers": []}) == first
        assert address({"client": (peer.encode(), 1), "headers": []}) == first
    else:
        assert address({"headers": []}) == first
        assert address({"client": (), "headers": []}) == first


@pytest.mark.parametrize(
    ("client", "of"),
    [((5, 80), "tuple"), (([], 80), "tuple"), (5, "int"), ({"host": "192.0.2.7"}, "dict"), ({"10.0.0.7"}, "set")],
)
def test_a_client_that_is_none(client: Any, of: str) -> None:
    """What is no client is an error that says so, also after others came by."""
    address = ClientAddress()
    assert address(scope("192.0.2.7")) == address(scope("192.0.2.7")) == "192.0.2.7"
    with pytest.raises(ValueError, match=f"the client of a request is of type {of}, which is not ASGI"):
        address({"client": client, "headers": []})


def test_a_private_peer_is_looked_at_now_and_then() -> None:
    """Its first hundred requests, and then one in a hundred: the headers of the others are not even read."""

    class Headers(list[tuple[bytes, bytes]]):
        read = False

        def __iter__(self) -> Any:
            self.read = True
            return super().__iter__()

    def looked(peer: str, requests: int) -> list[int]:
        sent = [Headers() for _ in range(requests)]
        for headers in sent:
            assert address({"client": (peer, 1), "headers": headers}) == peer
        return [number for number, headers in enumerate(sent) if headers.read]

    address = ClientAddress()
    assert looked("10.0.0.7", 350) == [*range(100), 100, 200, 300]
    assert looked("10.0.0.8", 150) == [0, 100]  # another one, later


@given(st.lists(st.binary(max_size=60), max_size=4), st.text(max_size=20))
def test_no_header_raises(values: list[bytes], peer: str) -> None:
    """Any bytes in a forwarded header and any peer give a text to count by."""
    for header in ("x-forwarded-for", "forwarded"):
        address = ClientAddress(trusted_proxies=("10.0.0.0/8", "unix"), forwarded=header)
        for peer_text in (peer, "10.0.0.1", None):
            assert address(scope(peer_text, *values, header=header.encode()))


@given(st.lists(st.text(alphabet='for=",;\\ 1.[]:', max_size=40), max_size=3), st.sampled_from(["", ", "]))
def test_the_client_cannot_hide_what_the_proxy_appended(claims: list[str], comma: str) -> None:
    """Whatever the client wrote, in its own lines or left of the proxy's element, the proxy's element counts."""
    if claims and comma:
        claims = [*claims[:-1], claims[-1] + comma + 'for="203.0.113.9:80";proto=https']
    else:
        claims = [*claims, 'for="203.0.113.9:80";proto=https']
    assert forwarded(*claims) == "203.0.113.9"
