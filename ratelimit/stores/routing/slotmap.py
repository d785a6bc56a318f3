"""Which slot a key is in, and which node has a slot: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ratelimit.stores.connection.handshake import Address

SLOTS = 16_384


class Range(NamedTuple):
    """A run of slots, the last included, and the master that has them."""

    first: int
    last: int
    master: Address


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
