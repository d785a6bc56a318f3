"""Slots, addresses and URLs of a cluster, as they are written."""

from __future__ import annotations

import traceback

import pytest

from ratelimit.stores import open_store
from ratelimit.stores.connection.handshake import Address
from ratelimit.stores.redis import ClusterStore
from ratelimit.stores.routing.slotmap import Range, address_of, ranges_of, slot_of
from ratelimit.stores.routing.urls import ClusterUrl

ASKED = Address("10.0.0.9", 7009)


@pytest.mark.parametrize(
    ("key", "slot"),
    [  # as CLUSTER KEYSLOT has it
        ("123456789", 12_739),
        ("ratelimit:{user=ana}:rate", slot_of("user=ana")),
        ("foo{hash_tag}", 2_515),
        ("foo{}{bar}", 8_363),
        ("foo{{bar}}zap", slot_of("{bar")),
        ("foo{bar}{zap}", 5_061),
        ("foo{bar", slot_of("foo{bar")),
        ("", 0),
    ],
)
def test_slots(key: str, slot: int) -> None:
    """A key is in the slot of its hash tag: what is between the first { and the next }, if there is anything."""
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("redis+cluster://h1:7000,h2:7001", ["redis://h1:7000", "redis://h2:7001"]),
        ("redis+cluster://h1,[::1]:7001/0", ["redis://h1:6379/0", "redis://[::1]:7001/0"]),
        ("REDISS+cluster://ana:p%40,ss@h1:7000/?protocol=3", ["rediss://ana:p%40,ss@h1:7000/?protocol=3"]),
    ],
)
def test_urls(url: str, nodes: list[str]) -> None:
    """User, password, database and options hold for every node, and so does TLS."""
    cluster = ClusterUrl.of(url)
    assert [cluster.node(address) for address in cluster.nodes] == nodes
    assert isinstance(open_store(url), ClusterStore)


BAD = ("", "h1,", "h1:x", "h1:0", "h1:99999", "[::1", ":7000", "h1/mydb", "h1?socket_timeout=x", "h1?no_such_option=1")


@pytest.mark.parametrize("rest", BAD)
@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster"])
def test_urls_that_cannot_be_read(scheme: str, rest: str) -> None:
    """What can't be read is refused, and no message, cause or context has the password."""
    url = f"{scheme}://:s3cret@{rest}"
    with pytest.raises(ValueError, match=r"the URL of the store has an (address|option)|has a database") as raised:
        open_store(url)
    assert "s3cret" not in "".join(traceback.format_exception(raised.value))


def test_no_password_is_shown() -> None:
    """Neither the store nor what it is made of shows the password."""
    url = "redis+cluster://ana:s3cret@h1:7000"
    assert "s3cret" not in f"{ClusterUrl.of(url)!r} {ClusterStore(url)!r}"


def test_addresses() -> None:
    """A reply without a host means that of the node that was asked; IPv6 has no brackets."""
    assert address_of("10.0.0.7:7001", ASKED) == Address("10.0.0.7", 7001)
    assert address_of(":7001", ASKED) == Address("10.0.0.9", 7001)
    assert address_of("::1:7001", ASKED) == Address("::1", 7001)


def test_ranges() -> None:
    """Of CLUSTER SLOTS the runs of slots and their masters; without a host it is that of the node that was asked."""
    reply = [
        [0, 5_460, [b"10.0.0.1", 7000, b"id", []], [b"10.0.0.4", 7003, b"id"]],
        [5_461, 10_922, [None, 7001, b"id", []]],
        [10_923, 16_383, [b"", 0, b"id"]],
    ]
    assert ranges_of(reply, ASKED) == [
        Range(0, 5_460, Address("10.0.0.1", 7000)),
        Range(5_461, 10_922, Address("10.0.0.9", 7001)),
        Range(10_923, 16_383, ASKED),
    ]


@pytest.mark.parametrize(
    "reply", [[], b"OK", 7, None, [[0, 1]], [[5, 4, [b"h", 1]]], [[0, 16_384, [b"h", 1]]], [[0, 1, []]]]
)
def test_what_is_no_map(reply: object) -> None:
    """What is no map of slots, or one without slots, is an error and no map."""
    with pytest.raises((TypeError, ValueError)):
        ranges_of(reply, ASKED)
