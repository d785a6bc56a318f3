"""Forwarded headers: whatever is in them, the client is the peer or an address right of which all hops are trusted."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ratelimit.identity.address import MAX_HOPS, ClientAddress
from tests.fuzz import edited, fuzzed, grows_linearly

pytestmark = pytest.mark.repeated

PEER = "10.0.0.1"
TRUSTED = [ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48")]
PROXIES = tuple(map(str, TRUSTED))
BY_HEADER = {
    name: ClientAddress(trusted_proxies=PROXIES, forwarded=name, ipv6_prefix=128)
    for name in ("x-forwarded-for", "forwarded")
}

ADDRESSES = st.one_of(
    st.sampled_from(["10.0.0.2", "10.255.0.3", "2001:db8:ffff::2", "::ffff:10.0.0.4", "203.0.113.9", "2001:db8::7"]),
    st.sampled_from(["192.0.2.1", "::ffff:192.0.2.1", "64:ff9b::c000:201", "2002:c000:201::1", "::1", "fe80::1%eth0"]),
    st.ip_addresses().map(str),
)
NO_ADDRESSES = st.sampled_from(
    ["unknown", "_hidden", "", "1.2.3", "010.0.0.2", "10.0.0.2 10.0.0.3", "[]", "[::1", ":", "é"]
)
PIECES = [
    b",",
    b" ",
    b"\t",
    b";",
    b"=",
    b'"',
    b"\\",
    b":80",
    b"[",
    b"]",
    b"%",
    b"for=",
    b'for="',
    b"10.0.0.2",
    b"\xff",
    b"\0",
]


@st.composite
def hops(draw: st.DrawFn) -> str:
    hop = draw(st.one_of(ADDRESSES, ADDRESSES, ADDRESSES, NO_ADDRESSES))
    if ":" in hop and draw(st.booleans()):
        hop = f"[{hop}]"
    port = draw(st.sampled_from(["", "", "", ":80", ":65535", ":port", ":_obf"]))
    return hop + (port if "]" in hop or ":" not in hop else "")


@st.composite
def x_forwarded_for(draw: st.DrawFn) -> bytes:
    separator = draw(st.sampled_from([",", ", ", " ,\t", ",,"]))
    return separator.join(draw(st.lists(hops(), max_size=6))).encode("latin-1")


@st.composite
def elements(draw: st.DrawFn, nodes: st.SearchStrategy[str]) -> str:
    node = draw(nodes)
    quoted = '"' + re.sub(r'(["\\])', r"\\\1", node) + '"'
    pairs = [
        draw(st.sampled_from(["for", "For", "FOR"])) + "=" + (quoted if draw(st.booleans()) or ":" in node else node)
    ]
    pairs += draw(st.lists(st.sampled_from(["proto=https", "by=10.0.0.9", 'host="a,b;c"', r'x="\""']), max_size=2))
    return draw(st.sampled_from([";", "; "])).join(draw(st.permutations(pairs)))


FORWARDED = st.lists(elements(hops()), max_size=5).map(lambda these: ", ".join(these).encode("latin-1"))


def scope(header: str, lines: list[bytes]) -> dict[str, Any]:
    return {"client": (PEER, 1), "headers": [(b"host", b"x"), *[(header.encode(), line) for line in lines]]}


_IPV4 = re.compile(r"([0-9]+(?:\.[0-9]+){3})(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?")
_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(?:%[^\]]*)?\](?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?")
_IPV6 = re.compile(r"([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(?:%.*)?", re.DOTALL)


def read(hop: str) -> tuple[str, bool] | None:
    """What a hop is counted by and whether it is trusted, in other words than the code has for it."""
    written = _IPV4.fullmatch(hop) or _BRACKETS.fullmatch(hop) or (None if "[" in hop else _IPV6.fullmatch(hop))
    try:
        address = ip_address(written[1] if written and len(hop) <= 128 else "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    trusted = any(address in network for network in TRUSTED)
    if isinstance(address, IPv6Address):
        if address in ip_network("64:ff9b::/96"):
            address = ip_address(address.packed[12:])
        elif address in ip_network("2001::/32"):
            address = ip_address(bytes(byte ^ 255 for byte in address.packed[12:]))
        elif address in ip_network("2002::/16"):
            address = ip_address(address.packed[2:6])
    return str(address), trusted


@fuzzed
@given(st.lists(edited(x_forwarded_for(), PIECES), max_size=3))
@example([b"203.0.113.9," * 3 + b"10.0.0.2," * MAX_HOPS])
def test_x_forwarded_for(lines: list[bytes]) -> None:
    """The first hop from the right that is not trusted, as it is read in other words."""
    client = PEER
    written = [hop.strip(" \t") for hop in b",".join(lines).decode("latin-1").split(",")]
    for hop in [hop for hop in written if hop][: -MAX_HOPS - 1 : -1]:
        found = read(hop)
        if found is None:
            break
        client = found[0]
        if not found[1]:
            break
    assert BY_HEADER["x-forwarded-for"](scope("x-forwarded-for", lines)) == client


@fuzzed
@given(st.lists(elements(ADDRESSES), min_size=1, max_size=5), st.data())
def test_forwarded_as_it_should_be(written: list[str], data: st.DataObject) -> None:
    """Of well-formed elements, in one line or several, the first from the right that is not trusted."""
    client = PEER
    for element in reversed(written):
        node = re.search(r'for=(?:"([^"]*)"|([^;]*))', element, re.IGNORECASE)
        assert node
        found = read(node[1] or node[2].strip())
        assert found
        client = found[0]
        if not found[1]:
            break
    cut = data.draw(st.integers(0, len(written)))
    lines = [", ".join(part).encode() for part in (written[:cut], written[cut:])]
    assert BY_HEADER["forwarded"](scope("forwarded", lines)) == client


@fuzzed
@given(st.lists(edited(FORWARDED, PIECES), max_size=3))
@example([b"for=1.2.3.4;" + b" " * 8_000 + b'"x"'])  # took a second
@example([b'for="' * 3_000])
def test_forwarded_edited(lines: list[bytes]) -> None:
    """Whatever is in it, the client is the peer or an address that stands in the header."""
    client = BY_HEADER["forwarded"](scope("forwarded", lines))
    text = b"\n".join(lines).decode("latin-1").replace("\\", "")
    literals = re.findall(r"[0-9A-Fa-f:.]+", text)
    ports_off = [re.sub(":[0-9]*$", "", literal) for literal in literals]
    parts = [literal[a:b] for literal in literals for a in range(len(literal)) for b in range(a + 2, len(literal) + 1)]
    assert client == PEER or any(
        (found := read(part)) and found[0] == client for part in [*literals, *ports_off, *parts]
    )


@fuzzed
@given(
    st.lists(edited(FORWARDED, PIECES), max_size=3),
    st.sampled_from(["203.0.113.9", "198.51.100.4"]),
    st.sampled_from(['for="{}:80";proto=https', "for={}", "proto=http;for={};by=10.0.0.1"]),
    st.booleans(),
)
def test_what_the_proxy_appends_counts(claims: list[bytes], client: str, form: str, in_the_line: bool) -> None:
    """Behind anything that the client wrote, in its line or its own, the proxy's element is the client."""
    appended = form.format(client).encode()
    lines = [*claims[:-1], claims[-1] + b", " + appended] if claims and in_the_line else [*claims, appended]
    assert BY_HEADER["forwarded"](scope("forwarded", lines)) == client


SHAPES = [
    b" ",
    b"\t",
    b",",
    b", ",
    b'"',
    b"\\",
    b'\\"',
    b'",',
    b";",
    b"=",
    b"for=",
    b'for="',
    b"for=10.0.0.2,",
    b"10.0.0.2,",
]
SHAPES += [
    b"10.0.0.2",
    b":",
    b"1:",
    b"[",
    b"%",
    b"0",
    b"a",
    b"a=b;",
    b'a="b";',
    b" ;",
    b"\xff",
    b"for=10.0.0.2; ",
    b'x="\\,',
]


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
@pytest.mark.parametrize("end", [b"", b'"', b'"x', b'"x"', b"for=10.0.0.2", b";x"])
@pytest.mark.parametrize("unit", SHAPES)
def test_time(unit: bytes, end: bytes, header: Literal["x-forwarded-for", "forwarded"]) -> None:
    """Four times the header, in one line or in many, takes no more than linear work; and only the end of it is read."""
    client, start = BY_HEADER[header], b"for=10.0.0.2;" if header == "forwarded" else b""

    def one_line(n: int) -> dict[str, Any]:
        return scope(header, [start + unit * (n // len(unit)) + end])

    def many_lines(n: int) -> dict[str, Any]:
        return scope(header, [start + unit + end] * (n // len(unit + end)))

    assert grows_linearly(client, one_line, 4_000)
    assert grows_linearly(client, many_lines, 4_000)
