"""Where a request comes from: the client's address, behind any number of trusted proxies.

A forwarded header is a claim that anyone can write. It counts only when the peer of the socket is trusted, and then
from the right: every trusted proxy has appended the address it saw, so the first hop that is not trusted is the client,
and what stands left of it is the client's own claim. Servers can rewrite the peer themselves (uvicorn does so for a
proxy on loopback): do it there or here, never in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from itertools import count, islice, repeat
from typing import Literal, NamedTuple

from ratelimit.ground.malformed import host_of
from ratelimit.identity.advice import OTHER_HEADER, PROXY, Advice
from ratelimit.identity.forwarded import hops_of_forwarded, hops_of_x_forwarded_for
from ratelimit.identity.networks import check_not_everybody, ipv4_of, is_near, read_address, trusted_network
from ratelimit.model import Scope

MAX_HOPS = 100  # of forwarded headers that are walked, from the right
MAX_TEXT = 128  # characters of a hop: an address with zone and port has 70; a longer peer is counted by its hash
CACHED = 4096  # peers and hops; about 1.5 MB when full, peers that pass among them
LOOKED = 100  # first requests of a private peer that are looked at for what a proxy sends, and then one in so many

_HOPS: dict[bytes, Callable[[list[bytes]], Iterable[str]]] = {
    b"x-forwarded-for": hops_of_x_forwarded_for,
    b"forwarded": hops_of_forwarded,
}

_NO_PEER = ("",)  # no client at all, which is a Unix socket
_NOBODY: Iterator[str] = iter(())  # who does not pass


class _Hop(NamedTuple):
    text: str  # what is counted
    known: bool  # whether it is an address
    trusted: bool
    near: bool = False  # a private address while none is trusted: it may be that of a proxy


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """Called with a scope, returns the text that the client is counted by: `192.0.2.7`, `2001:db8:1:2::/64`.

    `trusted_proxies` are networks or addresses, or the word "unix" for a peer on a Unix socket. Instead of them
    `trusted_hops` is how many proxies there are, each of which appends what it saw: the client is that hop from the
    right, and the peer where there are fewer, as such a request came around a proxy. `forwarded` is the one header that
    they write: X-Forwarded-For, or Forwarded (RFC 7239).

    An IPv6 client is counted by its network of `ipv6_prefix` bits, because a single customer is given at least a /64;
    128 is the address itself. An IPv4 address in IPv6 clothes (`::ffff:192.0.2.7`) is the IPv4 address, and is counted
    by it also where a translator or a tunnel made the IPv6 address of it. A peer that is no address is counted by its
    literal text, and no peer at all as `unix`.

    Of any header the last 16 kB and 100 hops are looked at: where these are all trusted proxies, the last of them is
    counted. Raises ValueError for settings that make no sense.
    """

    trusted_proxies: tuple[str, ...] = ()
    forwarded: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    ipv6_prefix: int = 64
    trusted_hops: int | None = None
    _header: bytes = field(init=False, repr=False, compare=False)
    _networks: tuple[tuple[int, int, int], ...] = field(init=False, repr=False, compare=False)
    _look: Callable[[str], _Hop] = field(init=False, repr=False, compare=False)
    _passes: dict[str, Iterator[str]] = field(init=False, repr=False, compare=False)  # by peer; see `_let_pass`
    _advice: Advice = field(init=False, repr=False, compare=False)
    _near: Iterator[int] = field(init=False, repr=False, compare=False)  # numbers the requests from near

    def __post_init__(self) -> None:
        if isinstance(self.trusted_proxies, str):
            raise ValueError(f"trusted_proxies is the text {self.trusted_proxies!r}; it must be a list")  # noqa: TRY004
        if self.forwarded not in ("x-forwarded-for", "forwarded"):
            raise ValueError(f'forwarded is {self.forwarded!r}; it must be "x-forwarded-for" or "forwarded"')
        if type(self.ipv6_prefix) is not int or not 1 <= self.ipv6_prefix <= 128:
            raise ValueError(f"ipv6_prefix is {self.ipv6_prefix!r}; it must be a whole number from 1 to 128")
        if self.trusted_hops is not None and (
            type(self.trusted_hops) is not int or not 1 <= self.trusted_hops <= MAX_HOPS
        ):
            raise ValueError(f"trusted_hops is {self.trusted_hops!r}; it must be a whole number from 1 to {MAX_HOPS}")
        if self.trusted_hops is not None and self.trusted_proxies:
            raise ValueError("trusted_hops and trusted_proxies are two ways to say whom to trust; write one of them")
        networks = [network for text in self.trusted_proxies if (network := trusted_network(text)) is not None]
        check_not_everybody(networks, "trusted_proxies together")
        by_number = tuple((net.version, int(net.network_address), int(net.netmask)) for net in networks)
        object.__setattr__(self, "_header", self.forwarded.encode())
        object.__setattr__(self, "_networks", by_number)
        object.__setattr__(self, "_look", lru_cache(maxsize=CACHED)(self._read))
        object.__setattr__(self, "_passes", {})
        object.__setattr__(self, "_advice", Advice(self.forwarded, self.trusted_hops))
        object.__setattr__(self, "_near", count())

    def __call__(self, scope: Scope) -> str:
        try:
            # Nearly always a peer that passes: in a quarter of the bytecode that it takes to consider one.
            counted = next(self._passes.get((scope["client"] or _NO_PEER)[0], _NOBODY), None)
        except (KeyError, TypeError):  # a scope without a client, or with one that is no pair of a host and a port
            counted = None
        return counted or self._considered(scope)

    def _considered(self, scope: Scope) -> str:
        client = scope.get("client")
        text = client[0] if type(client) is tuple and client else None
        if type(text) is not str:
            text = host_of(client)
        counted, known, trusted, near = peer = self._look(text) if len(text) <= MAX_TEXT else self._read(text)
        if trusted or self.trusted_hops:
            counted, known, _, _ = self._walk(peer, scope)
        elif near and PROXY not in self._advice.said:
            self._look_for_a_proxy(peer, text, scope)
            if next(self._near) >= LOOKED:
                self._let_pass(text, repeat(counted, LOOKED - 1))
        elif known:
            self._let_pass(text, repeat(counted))
        if not known:
            self._advice.no_address((text or counted)[:MAX_TEXT])
        return counted

    def _let_pass(self, peer: str, counted: Iterator[str]) -> None:
        """Requests of a peer are counted without another look at them: those of an address that is not trusted always,
        of a private one until its next look."""
        if len(peer) > MAX_TEXT:  # an address with a long zone
            return
        if len(self._passes) >= CACHED:
            self._passes.clear()
        self._passes[peer] = counted

    def _walk(self, peer: _Hop, scope: Scope) -> _Hop:
        """The first hop from the right that is not trusted, or the one that `trusted_hops` counts to."""
        name = self._header
        lines = [value for header, value in scope["headers"] if header == name]
        if not lines and OTHER_HEADER not in self._advice.said:
            self._look_for_the_other_header(peer, scope)
        last_good, walked = peer, 0
        hops = self.trusted_hops
        for text in islice(_HOPS[name](lines), hops or MAX_HOPS):
            hop = self._look(text) if 0 < len(text) <= MAX_TEXT else None
            if hop is None or not hop.known:
                return last_good
            last_good, walked = hop, walked + 1
            if not (hop.trusted or hops):
                return hop
        if 0 < walked < (hops or 0):
            self._advice.fewer(walked)
            return peer
        return last_good

    def _read(self, text: str) -> _Hop:
        if not text:
            return _Hop("unix", known=False, trusted="unix" in self.trusted_proxies)
        address = read_address(text)
        if address is None:
            short = text if len(text) <= MAX_TEXT else f"#{sha256(text.encode(errors='surrogatepass')).hexdigest()}"
            return _Hop(short, known=False, trusted=False)
        number, version = int(address), address.version
        trusted = any(number & mask == base and version == v for v, base, mask in self._networks)
        near = not (self.trusted_proxies or self.trusted_hops) and is_near(address)
        if isinstance(address, IPv6Address):
            address = ipv4_of(address) or address
        if isinstance(address, IPv4Address) or self.ipv6_prefix == 128:
            return _Hop(str(address), known=True, trusted=trusted, near=near)
        shift = 128 - self.ipv6_prefix
        network = f"{IPv6Address(number >> shift << shift)}/{self.ipv6_prefix}"
        return _Hop(network, known=True, trusted=trusted, near=near)

    def _look_for_a_proxy(self, peer: _Hop, text: str, scope: Scope) -> None:
        """Whether somebody near sends what a proxy sends, while nobody is trusted. Where it names the peer itself, the
        server has already made the client of it, and all is well."""
        for name, _ in scope["headers"]:
            if name in _HOPS:
                break
        else:
            return
        hops = islice(_HOPS[name]([value for header, value in scope["headers"] if header == name]), MAX_HOPS)
        if any(peer.text == self._look(hop).text for hop in hops if 0 < len(hop) <= MAX_TEXT):
            self._advice.said.add(PROXY)
        else:
            self._advice.proxy(text, name)

    def _look_for_the_other_header(self, peer: _Hop, scope: Scope) -> None:
        for name, _ in scope["headers"]:
            if name in _HOPS:  # not the one that is named: there is none
                self._advice.other_header(peer.text, name)
                return
