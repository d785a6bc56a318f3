"""Where a request comes from: the client's address, behind any number of trusted proxies.

A forwarded header is a claim that anyone can write. It counts only when the peer of the socket is trusted, and then
from the right: every trusted proxy has appended the address it saw, so the first hop that is not trusted is the client,
and what stands left of it is the client's own claim. Servers can rewrite the peer themselves (uvicorn does so for a
proxy on loopback): do it there or here, never in both.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Literal, NamedTuple

from ratelimit.forwarded import hops_of_forwarded, hops_of_x_forwarded_for
from ratelimit.model import Scope

MAX_HOPS = 100  # of forwarded headers that are walked, from the right
MAX_TEXT = 128  # characters of a hop: an address with zone and port has 70; a longer peer is counted by its hash
CACHED = 4096  # peers and hops; about 1.5 MB when full

_log = logging.getLogger("ratelimit")

_NAT64 = int(IPv6Address("64:ff9b::")) >> 32
_PORT = re.compile(r":(?:[0-9]{1,5}|_[0-9A-Za-z._-]+)\Z")  # RFC 7239, section 6: a number or an obfuscated name


class _Hop(NamedTuple):
    text: str  # what is counted
    known: bool  # whether it is an address
    trusted: bool


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """Called with a scope, returns the text that the client is counted by: `192.0.2.7`, `2001:db8:1:2::/64`.

    `trusted_proxies` are networks or addresses, or the word "unix" for a peer on a Unix socket. `forwarded` is the one
    header that they write: X-Forwarded-For, or Forwarded (RFC 7239). An IPv6 client is counted by its network of
    `ipv6_prefix` bits, because a single customer is given at least a /64; 128 is the address itself. An IPv4 address in
    IPv6 clothes (`::ffff:192.0.2.7`) is the IPv4 address, and is counted by it also where a translator or a tunnel made
    the IPv6 address of it. A peer that is no address is counted by its literal text, and no peer at all as `unix`.

    Of any header the last 16 kB and 100 hops are looked at: where these are all trusted proxies, the last of them is
    counted. Raises ValueError for settings that make no sense.
    """

    trusted_proxies: tuple[str, ...] = ()
    forwarded: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    ipv6_prefix: int = 64
    _networks: tuple[tuple[int, int, int], ...] = field(init=False, repr=False, compare=False)
    _look: Callable[[str], _Hop] = field(init=False, repr=False, compare=False)
    _logged: list[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.trusted_proxies, str):
            raise ValueError(f"trusted_proxies is the text {self.trusted_proxies!r}; it must be a list")  # noqa: TRY004
        if self.forwarded not in ("x-forwarded-for", "forwarded"):
            raise ValueError(f'forwarded is {self.forwarded!r}; it must be "x-forwarded-for" or "forwarded"')
        if type(self.ipv6_prefix) is not int or not 1 <= self.ipv6_prefix <= 128:
            raise ValueError(f"ipv6_prefix is {self.ipv6_prefix!r}; it must be a whole number from 1 to 128")
        networks = (trusted_network(text) for text in self.trusted_proxies)
        object.__setattr__(self, "_networks", tuple(network for network in networks if network is not None))
        object.__setattr__(self, "_look", lru_cache(maxsize=CACHED)(self._read))
        object.__setattr__(self, "_logged", [])

    def __call__(self, scope: Scope) -> str:
        client = scope.get("client")
        text = (client[0] if client else "") or ""
        counted, known, trusted = peer = self._look(text) if len(text) <= MAX_TEXT else self._read(text)  # kept: short
        if trusted:
            counted, known, _ = self._walk(peer, scope)
        if not known and not self._logged:
            self._log_once(text or counted)
        return counted

    def _walk(self, last_good: _Hop, scope: Scope) -> _Hop:
        name = self.forwarded.encode()
        lines = [value for header, value in scope["headers"] if header == name]
        hops = hops_of_x_forwarded_for if self.forwarded == "x-forwarded-for" else hops_of_forwarded
        for text in islice(hops(lines), MAX_HOPS):
            hop = self._look(text) if 0 < len(text) <= MAX_TEXT else None
            if hop is None or not hop.known:
                break
            last_good = hop
            if not hop.trusted:
                break
        return last_good

    def _read(self, text: str) -> _Hop:
        if not text:
            return _Hop("unix", known=False, trusted="unix" in self.trusted_proxies)
        address = _address(text)
        if address is None:
            short = text if len(text) <= MAX_TEXT else f"#{sha256(text.encode(errors='surrogatepass')).hexdigest()}"
            return _Hop(short, known=False, trusted=False)
        number, version = int(address), address.version
        trusted = any(number & mask == base and version == v for v, base, mask in self._networks)
        if isinstance(address, IPv6Address):
            address = _ipv4_of(address) or address
        if isinstance(address, IPv4Address) or self.ipv6_prefix == 128:
            return _Hop(str(address), known=True, trusted=trusted)
        shift = 128 - self.ipv6_prefix
        return _Hop(f"{IPv6Address(number >> shift << shift)}/{self.ipv6_prefix}", known=True, trusted=trusted)

    def _log_once(self, text: str) -> None:
        self._logged.append(text[:MAX_TEXT])
        _log.warning(
            "the client's address is %r, which is no IP address: every caller that arrives so is counted as one. If a "
            'proxy connects over a Unix socket, set [identity] trusted_proxies = ["unix"] and let the proxy send the '
            "header %s, which [identity] forwarded names. This is logged once.",
            text[:MAX_TEXT],
            self.forwarded,
        )


def trusted_network(text: str) -> tuple[int, int, int] | None:
    """IP version, base and mask; None is "unix". ValueError for anything else that is no network.

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
    return network.version, int(network.network_address), int(network.netmask)


def _address(text: str) -> IPv4Address | IPv6Address | None:
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


def _ipv4_of(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address of a client that an IPv6 address was made of; it is counted by it, and never trusted for it.

    64:ff9b::/96 (RFC 6052): IPv4 clients behind a translator in front of a server with IPv6 alone; by network all
    would be one. 6to4 (2002::/16) gives 65,536 networks to whoever has one IPv4 address, Teredo (2001::/32) as many as
    there are servers, and all clients of a server the same.
    """
    if int(address) >> 32 == _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.teredo[1] if address.teredo else address.sixtofour
