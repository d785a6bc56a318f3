"""What servers refuse, on real ones: told with what to do, and nothing was done that is not told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hiredis
import pytest
from redis import Redis

from ratelimit.model import Charge, StoreUnavailable
from ratelimit.stores.connection.errors import ADVICE
from ratelimit.stores.redis import RedisStore
from tests import servers
from tests.stores import concurrency, queue_of, quota, rate
from tests.stores.test_redis import eventually
from tests.stores.wires import WARM, T

# None that was counted before: of such a one PEXPIRE may come first, which a full server takes, and the rest with it.
ALL: tuple[Charge, ...] = (rate(9, 60_000, key="own"), quota(9), concurrency(9))


def out_of_memory(client: Redis) -> Callable[[], Any]:
    client.config_set("maxmemory", "1")
    return lambda: client.config_set("maxmemory", "0")


def too_few_replicas(client: Redis) -> Callable[[], Any]:
    client.config_set("min-replicas-to-write", 1)
    return lambda: client.config_set("min-replicas-to-write", 0)


def no_disk(client: Redis) -> Callable[[], Any]:
    (Path(client.config_get("dir")["dir"]) / "dump.rdb").mkdir()  # it can't be written over
    client.config_set("save", "900 1")
    client.bgsave()
    while client.info("persistence")["rdb_bgsave_in_progress"]:
        """It is about to fail."""
    return lambda: client.config_set("save", "")


def nothing_but_reading(client: Redis) -> Callable[[], Any]:
    client.execute_command("ACL", "SETUSER", "default", "-hset")
    return lambda: client.execute_command("ACL", "SETUSER", "default", "+@all")


CASES = {
    "OOM": out_of_memory,
    "NOREPLICAS": too_few_replicas,
    "MISCONF": no_disk,
    "NOPERM": nothing_but_reading,
}


@pytest.mark.parametrize("word", CASES)
def test_a_server_that_may_not_write(own_server: servers.Server, word: str) -> None:
    """What a server does not let the script write fails with what to do about it, at once; nothing of the request was
    charged, and when it is over the next one is."""

    async def test() -> None:
        store = RedisStore(own_server.url, timeout=5)
        assert (await eventually(store)).allowed
        with own_server.client() as client:
            end = CASES[word](client)
            try:
                before = {key: client.dump(key) for key in client.scan_iter("*")}
                with pytest.raises(StoreUnavailable) as raised:
                    await store.acquire(ALL)
                assert ADVICE[word] in str(raised.value)
                assert {key: client.dump(key) for key in client.scan_iter("*")} == before
                await store.close()
                with pytest.raises(StoreUnavailable) as raised:  # a new connection is made all the same
                    await store.acquire(ALL)
                assert ADVICE[word] in str(raised.value)
            finally:
                end()
            decision = await eventually(store)
            assert decision.allowed
            assert [state.used for state in (await store.acquire(ALL)).states] == [1, 1, 1]
        await store.close()

    asyncio.run(test())


class Loading:
    """A server that loads its data for as long as it is told, also on connections that are up."""

    def __init__(self) -> None:
        self.loading, self.tries = True, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(65_536):
            commands.feed(data)
            while sent := commands.gets():
                writer.write(self._answer(sent))
        writer.close()

    def _answer(self, sent: list[bytes]) -> bytes:
        if not sent[0].startswith(b"EVAL"):
            return b"+OK\r\n"
        self.tries += 1
        if self.loading:
            return b"-LOADING Redis is loading the dataset in memory\r\n"
        if sent[2] == b"0":  # the proof of a new connection: a decision for nobody
            return b"*1\r\n:%d\r\n" % T if len(sent) == 5 else b":1\r\n"
        if len(sent) == 6:  # and what its user may do
            return b"*0\r\n"
        return b"*3\r\n:%d\r\n:1\r\n:1\r\n" % T


def test_a_server_that_loads_its_data() -> None:
    """A server that is loading is down until it has its data; one that begins to while it is up fails
    at once, and decides when it has it again."""

    async def test() -> None:
        liar = Loading()
        server = await asyncio.start_server(liar.serve, "127.0.0.1", 0)
        store = RedisStore(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}?protocol=2", timeout=10)
        try:
            with pytest.raises(StoreUnavailable, match="LOADING"):
                await store.acquire(WARM)
            assert queue_of(store).link.breaker.down
            liar.loading = False
            assert (await eventually(store)).allowed
            liar.loading, liar.tries = True, 0
            with pytest.raises(StoreUnavailable, match="LOADING"):
                await store.acquire(WARM)
            assert liar.tries == 1
            liar.loading = False
            assert (await store.acquire(WARM)).allowed
        finally:
            await store.close()
            server.close()
            await server.wait_closed()

    asyncio.run(test())
