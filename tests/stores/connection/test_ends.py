"""What a request sees that comes just when its connection, its store or its calendar ends: an answer, and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection import link as link_module
from ratelimit.stores.connection import socket as wire_module
from ratelimit.stores.redis import RedisStore
from tests import servers
from tests.stores import Subject, concurrency, quota, rate

YEAR_11476 = 300_000_000_000_000  # no datetime goes as far


@pytest.mark.parametrize("loop_factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_a_connection_that_ends_in_this_turn(
    server: servers.Server, loop_factory: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be sent in the very turn in which the connection ends goes over the next one, and raises nothing."""
    lost = wire_module.Socket.connection_lost

    async def test() -> None:
        store = RedisStore(server.unix_url, prefix="ends-in-this-turn", timeout=5)
        held = (await store.acquire((concurrency(5),))).leases
        tasks: list[asyncio.Task[Any]] = []

        def losing(socket: wire_module.Socket, error: Exception | None) -> None:
            tasks.append(loop.create_task(store.release(held)))
            tasks.append(loop.create_task(store.acquire((rate(5, 60_000),))))
            lost(socket, error)

        loop = asyncio.get_running_loop()
        with monkeypatch.context() as patch, server.client() as client:
            patch.setattr(wire_module.Socket, "connection_lost", losing)
            client.client_kill_filter(_type="normal", skipme=True)
            async with asyncio.timeout(10):
                while not tasks:  # noqa: ASYNC110 - it happens in another process
                    await asyncio.sleep(0)
        released, decision = await asyncio.gather(*tasks)
        assert released is None
        assert decision.allowed
        await store.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(test())


def test_a_connection_that_ends_as_it_is_made(server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that has ended before it is handed over is not used: who waits goes over the next one."""
    connect, made = link_module.connect, []

    async def ending_at_first(pool: Any, on_reply: Any, on_lost: Callable[[str], None], proof: Any) -> Any:
        made.append(await connect(pool, on_reply, on_lost, proof))
        if len(made) == 1:
            on_lost("the server closed the connection")
        return made[-1]

    monkeypatch.setattr(link_module, "connect", ending_at_first)

    async def test() -> None:
        store = RedisStore(server.unix_url, prefix="ends-as-it-is-made", timeout=5)
        assert (await store.acquire((rate(5, 60_000),))).states[0].used == 1
        assert len(made) == 2
        await store.close()

    asyncio.run(test())


def test_closed_beside_a_request(server: servers.Server) -> None:
    """A request that close() overtakes is told so, and no connection is made that nobody would end."""

    async def test() -> None:
        store = RedisStore(server.unix_url)
        call = asyncio.create_task(store.acquire((rate(5, 60_000),)))
        await asyncio.sleep(0)
        with server.client() as client:
            before = client.info("stats")["total_connections_received"]
            await store.close()
            with pytest.raises(StoreUnavailable, match="the store was closed"):
                await call
            await asyncio.sleep(0)
            assert client.info("stats")["total_connections_received"] == before

    asyncio.run(test())


def test_a_calendar_that_ends(server: servers.Server) -> None:
    """A store's clock that no calendar reaches is told as such, and nobody waits for ever."""
    subject = Subject(server.name, server.unix_url)

    async def test() -> None:
        subject.at(YEAR_11476)
        with pytest.raises(StoreUnavailable, match="no calendar goes beyond the year"):
            await subject.store.acquire((quota(5),))

    subject.run(test())
