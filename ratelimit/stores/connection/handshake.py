"""What is done before redis-py connects and after it has: the look-up of a name, TLS contexts, and what kind of server
is there."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any, NamedTuple, Protocol

from ratelimit.ground.loops import PerLoop
from ratelimit.ground.printable import in_a_line
from ratelimit.ground.repeats import Once
from ratelimit.model import StoreUnavailable

logger = logging.getLogger("ratelimit")


class Address(NamedTuple):
    """Of a server. An IPv6 address stands without its brackets."""

    host: str
    port: int

    @property
    def netloc(self) -> str:
        """As a URL has it: `h1:7000`, `[::1]:7000`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


# Names: one look-up at a time for each, however long a resolver hangs.

LookUps = dict[tuple[str, int], asyncio.Future[Any]]
_look_ups: PerLoop[LookUps] = PerLoop(dict)


async def looked_up(host: str, port: int) -> None:
    """Return when the resolver has answered, whatever it says: the attempt that follows tells.

    A look-up takes one of the threads that the app has for other things, until the resolver gives up (half a minute),
    and nothing ends it before. So the next attempt to connect waits for the one that is under way.
    """
    if _is_address(host):
        return
    loop = asyncio.get_running_loop()
    pending = _look_ups[loop]
    look = pending.get((host, port))
    if look is None:
        look = loop.run_in_executor(None, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
        pending[host, port] = look
        look.add_done_callback(partial(_forget, pending, (host, port)))
    await asyncio.wait([look])


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _forget(pending: LookUps, name: tuple[str, int], look: asyncio.Future[Any]) -> None:
    del pending[name]
    look.exception()  # perhaps nobody waits for it any more


# TLS contexts, kept: to make one at each attempt to connect would halt the event loop for some 30 ms each time.

KEPT = 8  # one for each set of options in a process; a certificate that was renewed makes one more
FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")

_kept: dict[object, SSLContext] = {}


class Maker(Protocol):
    """What a connection of redis-py has its context from. It makes one where `context` is None."""

    context: SSLContext | None

    def get(self) -> SSLContext:
        """Raises OSError where a file can't be read, or is not what it should be."""


def reuse_context(maker: Maker, options: Mapping[str, Any]) -> None:
    """Give it the context that was made with the same options and files. Raises ValueError where none can be made."""
    files = [options[name] for name in FILES if options.get(name)]
    try:
        asked = str([(name, options[name]) for name in sorted(options) if name.startswith("ssl_")])
        key = (asked, *map(_version, files))
        maker.context = _kept.get(key)
        maker.context = maker.get()
    except OSError as error:  # that of a bad certificate is one too
        why = error.strerror or str(error)
    else:
        if key not in _kept and len(_kept) >= KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = maker.context
        return
    raise ValueError(f"no TLS with the files that the URL's ssl_ options name, {', '.join(map(str, files))}: {why}")


def _version(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size


# A server that is another kind than the URL of the store says: told once, with the URL to use.

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
_said = Once(SAID)


def check_single(hello: object, scheme: str, address: Address | None) -> None:
    """Raises StoreUnavailable where a server that the URL names as a single one is, by its reply to HELLO, none that
    has counters. `scheme` is redis or rediss; on a Unix socket it has no address."""
    mode = _mode(hello)
    where = in_a_line(address.netloc) if address else "the Unix socket"
    if mode in TOLD and _said.first(f"{mode} {where}"):
        told, example = TOLD[mode]
        logger.error(told, where, scheme, where if address else example)
    if mode == "sentinel":
        raise StoreUnavailable("the server that the store's URL names is a sentinel, and keeps no counters")


def _mode(hello: object) -> str:
    """What it says that it is: standalone, cluster, sentinel; nothing where it does not."""
    if isinstance(hello, list):  # in RESP2
        hello = dict(zip(hello[::2], hello[1::2], strict=False))
    found = (hello.get(b"mode") or hello.get("mode")) if isinstance(hello, dict) else None
    return found.decode(errors="replace") if isinstance(found, bytes) else str(found or "")
