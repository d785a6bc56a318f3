"""Whom a store believes when sentinels and servers say different things."""

from __future__ import annotations

import asyncio

import pytest

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.dial import ConnectionPool
from ratelimit.stores.connection.handshake import Address
from ratelimit.stores.connection.socket import Reply
from ratelimit.stores.routing import sentinel
from ratelimit.stores.routing.sentinel import NoMaster, Sentinels
from ratelimit.stores.routing.urls import SentinelUrl

OLD, NEW = Address("10.0.0.1", 6379), Address("10.0.0.2", 6379)


def found(monkeypatch: pytest.MonkeyPatch, named: list[Reply], roles: dict[str, Reply]) -> Address:
    """Where the master is, by what sentinels say (one at port 1, one at 2 and so on) and by what the servers say; an
    exception is raised, and None never comes: `later` has it."""

    async def ask(pool: ConnectionPool, *parts: str) -> Reply:
        options = pool.connection_kwargs
        reply = roles[options["host"]] if parts == ("ROLE",) else named[options["port"] - 1]
        if reply == "later":
            await asyncio.sleep(3600)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Address):
            return [reply.host.encode(), b"%d" % reply.port]
        return reply

    monkeypatch.setattr(sentinel, "ask", ask)
    hosts = ",".join(f"h:{number}" for number in range(1, len(named) + 1))
    sentinels = Sentinels(SentinelUrl.of(f"redis+sentinel://{hosts}/m"))
    return asyncio.run(sentinels.discover_master("m"))


MASTER = [b"master", 7, []]
REPLICA = [b"slave", b"10.0.0.1", 6379, b"connected", 7]


@pytest.mark.parametrize("named", [[OLD, NEW, NEW], [NEW, OLD, NEW], [NEW, NEW, "later"], [NEW, OSError(), None]])
def test_what_most_say(monkeypatch: pytest.MonkeyPatch, named: list[Reply]) -> None:
    """A sentinel that was cut off together with the old master, and names it still, is one against two; one that does
    not answer is not waited for, and of those that know nothing nothing follows."""
    assert found(monkeypatch, named, {OLD.host: MASTER, NEW.host: MASTER}) == NEW


@pytest.mark.parametrize("role", [REPLICA, OSError("gone"), TimeoutError(), StoreUnavailable("LOADING"), [], b"OK"])
def test_what_the_server_says(monkeypatch: pytest.MonkeyPatch, role: Reply) -> None:
    """A server that most still name but that is gone, or says that it is no master, is passed over for the next."""
    assert found(monkeypatch, [OLD, NEW, OLD], {OLD.host: role, NEW.host: MASTER}) == NEW


def test_no_master(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, the error has what was wrong with each."""
    named = [None, OSError("gone"), [b"10.0.0.1"], StoreUnavailable("ERR unknown command"), OLD, NEW]
    with pytest.raises(NoMaster) as raised:
        found(monkeypatch, named, {OLD.host: REPLICA, NEW.host: TimeoutError()})
    start, *wrong = str(raised.value).split("; ")
    assert start == "no master 'm' was found: sentinel h:1: knows no master of this name"
    assert wrong == [
        "sentinel h:2: OSError: gone",
        "sentinel h:3: ValueError: not enough values to unpack (expected 2, got 1)",
        "sentinel h:4: ERR unknown command",
        "10.0.0.1:6379: is no master yet, or no more",
        "10.0.0.2:6379: no reply within 0.25 s",
    ]
