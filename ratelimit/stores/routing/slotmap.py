"""Which slot a key is in, and which node has a slot: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, NamedTuple
from urllib.parse import SplitResult

from ratelimit.stores.connection.handshake import Address
from ratelimit.stores.routing.parts import hosts_of, split_url

SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}  # of a cluster, and of each of its nodes
SLOTS = 16_384
PORT = 6_379

_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^\s\[\]:,@/?#]*))(?::([0-9]{1,5}))?")


class Range(NamedTuple):
    """A run of slots, the last included, and the master that has them."""

    first: int
    last: int
    master: Address


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """`redis+cluster://user:password@h1:7000,h2:7001/0?option=…`: the nodes to ask first, and what holds for all."""

    nodes: tuple[Address, ...]
    _parts: SplitResult = field(repr=False)  # may hold a password

    @classmethod
    def of(cls, url: str) -> ClusterUrl:
        """Raises ValueError, without the URL: it may hold a password."""
        parts = split_url(url)
        try:
            nodes = tuple([read_address(text, PORT) for text in hosts_of(parts)])
        except ValueError:
            nodes = ()
        if not nodes:  # not from within `except`: the first error quotes a piece of the URL
            raise ValueError("has an address that can't be read; write redis+cluster://h1:7000,h2:7001")
        return cls(nodes, parts)

    @property
    def any_node(self) -> str:
        return self.node(self.nodes[0])

    def node(self, address: Address) -> str:
        """The URL of one node: redis://user:password@h1:7000/0?option=…"""
        user, at, _ = self._parts.netloc.rpartition("@")
        scheme = SCHEMES[self._parts.scheme]
        return self._parts._replace(scheme=scheme, netloc=f"{user}{at}{address.netloc}").geturl()


def slot_of(key: str) -> int:
    """CRC16 (XMODEM) of its tag."""
    return crc_hqx(tag_of(key).encode(), 0) % SLOTS


def tag_of(key: str) -> str:
    """What is between the first { and the next }, or all where nothing is."""
    _, opened, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    return tag if opened and closed and tag else key


def address_of(text: str, asked: Address) -> Address:
    """What MOVED and ASK name, `10.0.0.7:7001`. Without a host it is at that of the node that was asked."""
    host, _, port = text.rpartition(":")
    return Address(host or asked.host, int(port))


def ranges_of(reply: Any, asked: Address) -> list[Range]:
    """What CLUSTER SLOTS says. Raises what comes of reading it if it is no such reply."""
    if not isinstance(reply, list) or not 0 < len(reply) <= SLOTS:
        raise ValueError("no list of slots, or one without any")
    return list(_ranges(reply, asked))


def _ranges(reply: Iterable[Any], asked: Address) -> Iterator[Range]:
    for first, last, (host, port, *_), *_ in reply:
        numbers = {type(first), type(last), type(port)} == {int}
        if not numbers or not 0 <= first <= last < SLOTS or not isinstance(host, bytes | None):
            raise ValueError("what is there of a run of slots can't be read")
        yield Range(first, last, Address(host.decode() if host else asked.host, port or asked.port))


def read_address(text: str, port: int) -> Address:
    """`h1`, which is at `port`, `h1:7000`, `[::1]:7000`. Raises ValueError."""
    found = _HOST.fullmatch(text)
    number = port if found is None or found[3] is None else int(found[3])
    if found is None or not (found[1] or found[2]) or not 0 < number < 65_536:
        raise ValueError(text)
    if found[1] is None:
        return Address(found[2].lower(), number)
    IPv6Address(found[1])
    host, percent, zone = found[1].partition("%")
    return Address(host.lower() + percent + zone, number)
