"""A server that is another kind than the URL of the store says: told once, with the URL to use."""

from __future__ import annotations

import logging

from ratelimit.ground.printable import in_a_line
from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.socket import Reply
from ratelimit.stores.routing.slotmap import Address

logger = logging.getLogger("ratelimit")

SAID = 100  # servers; of more nothing is said
A_NODE = (
    "the server at %s is a node of a cluster, and decides only for callers whose slots it has: let the URL of the store"
    " be %s+cluster://%s"
)
A_SENTINEL = (
    "the server at %s is a sentinel, and keeps no counters: let the URL of the store be %s+sentinel://%s/mymaster/0,"
    " with the name of your master"
)
TOLD = {"cluster": (A_NODE, "h1:7000,h2:7001"), "sentinel": (A_SENTINEL, "h1:26379,h2:26379")}
_said: set[tuple[str, str]] = set()


def check_single(hello: Reply, scheme: str, address: Address | None) -> None:
    """Raises StoreUnavailable where a server that the URL names as a single one is, by its reply to HELLO, none that
    has counters. `scheme` is redis or rediss; on a Unix socket it has no address."""
    mode = _mode(hello)
    where = in_a_line(address.netloc) if address else "the Unix socket"
    if mode in TOLD and (where, mode) not in _said and len(_said) < SAID:
        _said.add((where, mode))
        told, example = TOLD[mode]
        logger.error(told, where, scheme, where if address else example)
    if mode == "sentinel":
        raise StoreUnavailable("the server that the store's URL names is a sentinel, and keeps no counters")


def _mode(hello: Reply) -> str:
    """What it says that it is: standalone, cluster, sentinel; nothing where it does not."""
    if isinstance(hello, list):  # in RESP2
        hello = dict(zip(hello[::2], hello[1::2], strict=False))
    found = (hello.get(b"mode") or hello.get("mode")) if isinstance(hello, dict) else None
    return found.decode(errors="replace") if isinstance(found, bytes) else str(found or "")
