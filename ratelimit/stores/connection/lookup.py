"""The look-up of a server's name: one at a time for each name, however long a resolver hangs."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from functools import partial
from typing import Any

from ratelimit.ground.loops import PerLoop

Pending = dict[tuple[str, int], asyncio.Future[Any]]
_pending: PerLoop[Pending] = PerLoop(dict)


async def looked_up(host: str, port: int) -> None:
    """Return when the resolver has answered, whatever it says: the attempt that follows tells.

    A look-up takes one of the threads that the app has for other things, until the resolver gives up (half a minute),
    and nothing ends it before. So the next attempt to connect waits for the one that is under way.
    """
    if _is_address(host):
        return
    loop = asyncio.get_running_loop()
    pending = _pending[loop]
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


def _forget(pending: Pending, name: tuple[str, int], look: asyncio.Future[Any]) -> None:
    del pending[name]
    look.exception()  # perhaps nobody waits for it any more
