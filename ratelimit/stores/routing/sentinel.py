"""Where the master is, by the word of the sentinels: https://redis.io/docs/latest/develop/reference/sentinel-clients

Asked before every connection that is made: after a failover the old master hangs, is gone, or answers READONLY, and
each of these ends the connection to it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.breaker import OF_A_NODE
from ratelimit.stores.connection.deadline import resolve
from ratelimit.stores.connection.dial import ConnectionPool, connect, connections, reason
from ratelimit.stores.connection.handshake import Address
from ratelimit.stores.connection.socket import Reply, command
from ratelimit.stores.routing.urls import SentinelUrl

# Seconds for a connection and a reply, of all sentinels together and then of each server that they name: an attempt to
# connect to the store has 0.8 for all of it.
PATIENCE = 0.25
REFUSED = {"NOAUTH", "WRONGPASS"}  # the advice on these is for the master
ITS_OWN = "its password is the option sentinel_password of the URL, or RATELIMIT_STORE_SENTINEL_PASSWORD"


class NoMaster(StoreUnavailable):
    """No server that the sentinels named says that it is the master."""


class Sentinels:
    """All are asked at once, so that one that is gone costs no time, and what more than half of them say is tried
    first: a sentinel that was cut off still names the old master for a while, and so may that master itself."""

    def __init__(self, url: SentinelUrl) -> None:
        """Connects nowhere. Raises ValueError, without the URL, where an option can't be read."""
        self._url = url
        self._pools = {address: connections(url.sentinel(address)) for address in url.sentinels}

    async def discover_master(self, name: str) -> Address:
        """What a connection of redis-py to a master asks. Raises NoMaster, with what was wrong with each."""
        wrong: list[str] = []
        for address in await self._named(wrong):
            try:
                role, *_ = await ask(connections(self._url.node(address)), "ROLE")
            except Exception as error:  # noqa: BLE001 - whatever it was, another may be the master
                if str(error).startswith("NOPERM"):  # of a user who may not ask; a replica will say READONLY
                    return address
                wrong.append(f"{address.host}:{address.port}: {_why(error)}")
            else:
                if role == b"master":
                    return address
                wrong.append(f"{address.host}:{address.port}: is no master yet, or no more")
        raise NoMaster(f"no master {name!r} was found: {'; '.join(wrong)}")

    async def _named(self, wrong: list[str]) -> list[Address]:
        """The servers that sentinels name, the most named first; as soon as more than half name the same one."""
        loop = asyncio.get_running_loop()
        asked = [loop.create_task(self._ask(address)) for address in self._pools]
        named: Counter[Address] = Counter()
        try:
            for answer in asyncio.as_completed(asked):
                said = await answer
                if isinstance(said, str):
                    wrong.append(said)
                    continue
                named[said] += 1
                if named[said] > len(asked) / 2:
                    break
        finally:
            for task in asked:
                task.cancel()
        return [address for address, _ in named.most_common()]

    async def _ask(self, sentinel: Address) -> Address | str:
        """Whom it names, or what is wrong with it."""
        where = f"sentinel {sentinel.host}:{sentinel.port}"
        try:
            reply = await ask(self._pools[sentinel], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.name)
            if reply is None:
                return f"{where}: knows no master of this name"
            host, port = reply
            return Address(host.decode(), int(port))
        except Exception as error:  # noqa: BLE001 - whatever it was, another sentinel may know
            word = _why(error).partition(" ")[0]
            return f"{where}: {word} ({ITS_OWN})" if word in REFUSED else f"{where}: {_why(error)}"


async def ask(pool: ConnectionPool, *parts: str) -> Reply:
    """The reply to one command on a connection of its own. Raises what redis-py raises, and StoreUnavailable."""
    replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    async with asyncio.timeout(PATIENCE):
        tell = partial(resolve, replied)
        wire = await connect(pool, tell, lambda why: tell(StoreUnavailable(why)), OF_A_NODE)
        try:
            wire.write(command(*parts))
            return await replied
        finally:
            wire.abort()


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no reply within {PATIENCE} s"
    return str(error) if isinstance(error, StoreUnavailable) else reason(error)
