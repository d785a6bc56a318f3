"""Addresses and networks: what a peer or a hop is, which networks may be trusted, and what is near."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)

Network = IPv4Network | IPv6Network

_NAT64 = int(IPv6Address("64:ff9b::")) >> 32
_PORT = re.compile(r":(?:[0-9]{1,5}|_[0-9A-Za-z._-]+)\Z")  # RFC 7239, section 6: a number or an obfuscated name

# In each of these is everybody: all of IPv6 that was given out, and what IPv4 becomes (RFC 6052, 3056, 4380).
_EVERYBODY = [IPv6Network(text) for text in ("2000::/4", "64:ff9b::/96", "2002::/16", "2001::/32")]
_HALF = 2**31  # IPv4 addresses: nobody has so many proxies

_NEAR: list[Network] = [
    *(IPv4Network(text) for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    *(IPv4Network(text) for text in ("169.254.0.0/16", "100.64.0.0/10")),  # link-local, and shared (RFC 6598)
    *(IPv6Network(text) for text in ("::1/128", "fc00::/7", "fe80::/10")),
]


def trusted_network(text: str) -> Network | None:
    """A network of trusted proxies; None is "unix". ValueError for anything else that is no network, or is everybody.

    A mapped IPv4 network is the IPv4 network, as a mapped address is the address.
    """
    if text == "unix":
        return None
    allowed = 'a network such as "10.0.0.0/8", an address, or "unix" for a proxy on a Unix socket'
    try:
        network = ip_network(text)
    except (ValueError, TypeError):
        try:
            hint = f'; did you mean "{ip_network(text, strict=False)}"?'
        except (ValueError, TypeError):
            hint = ""
        raise ValueError(f"{text!r} can't be a trusted proxy; write {allowed}{hint}") from None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        network = network if mapped is None else IPv4Network((mapped, network.prefixlen - 96))
    check_not_everybody([network], repr(text))
    return network


def check_not_everybody(networks: Iterable[Network], called: str) -> None:
    """ValueError where networks come to all addresses, or to half of all IPv4: then every caller is a trusted proxy,
    and chooses by a header whom it is counted as."""
    networks = list(networks)
    v4 = list(collapse_addresses([network for network in networks if isinstance(network, IPv4Network)]))
    v6 = list(collapse_addresses([network for network in networks if isinstance(network, IPv6Network)]))
    of_v6 = any(whole.subnet_of(network) for network in v6 for whole in _EVERYBODY)
    if of_v6 or sum(network.num_addresses for network in v4) >= _HALF:
        why = "every caller could write the address that it is counted by"
        advice = "name the networks of your proxies, or where these are not fixed, write trusted_hops = 1 instead"
        raise ValueError(f"{called} is everybody, so that {why}; {advice}")


def is_near(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is private, of this machine or of this link: where one's own proxies are."""
    return any(address in network for network in _NEAR)


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """`1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]:80`, `fe80::1%eth0`, without port and zone; None for anything else."""
    host = text
    if text[0] == "[":
        host, bracket, port = text[1:].partition("]")
        if not bracket or ":" not in host or (port and not _PORT.match(port)):
            return None
    elif text.count(":") == 1:
        host = _PORT.sub("", text)
    if ":" in host:
        host = host.partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def ipv4_of(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address of a client that an IPv6 address was made of; it is counted by it, and never trusted for it.

    64:ff9b::/96 (RFC 6052): IPv4 clients behind a translator in front of a server with IPv6 alone; by network all
    would be one. 6to4 (2002::/16) gives 65,536 networks to whoever has one IPv4 address, Teredo (2001::/32) as many as
    there are servers, and all clients of a server the same.
    """
    if int(address) >> 32 == _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.teredo[1] if address.teredo else address.sixtofour
