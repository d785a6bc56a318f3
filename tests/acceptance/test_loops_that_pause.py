"""A loop that runs only during a request, as under an adapter for functions: the first request after a pause is decided
by the store, and charged once, whatever became of the connection meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvloop

from ratelimit.model import Decision, StoreUnavailable
from ratelimit.stores import open_store
from ratelimit.stores.connection.breaker import PAUSE
from tests import clusters, sentinels, servers
from tests.faults.proxy import Proxy
from tests.stores import _prefixes, concurrency, rate

CHARGES = (rate(99, 3_600_000), concurrency(99))
MOMENT, HOUR = 1.0, 3_600.0  # seconds; longer than any timeout
PATIENT = 5.0  # a timeout for a busy machine: what is lost is never decided, however long it waits


class Paused(asyncio.SelectorEventLoop):
    """Its clock goes on while it stands still."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Adapter:
    """Requests one by one, each with a loop that runs for it alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str, timeout: float) -> None:
        self._loop = loop
        self._store = open_store(url, prefix=next(_prefixes), timeout=timeout)

    def used(self) -> int:
        """What is used with one request more. The reply to its release is read by nobody before the pause."""

        async def request() -> Decision:
            decision = await self._store.acquire(CHARGES)
            await self._store.release(decision.leases)
            return decision

        return self._loop.run_until_complete(request()).states[0].used

    def used_together(self, number: int) -> list[int]:
        """The same with several at once."""

        async def requests() -> list[Decision]:
            return await asyncio.gather(*[self._store.acquire(CHARGES) for _ in range(number)])

        return sorted(decision.states[0].used for decision in self._loop.run_until_complete(requests()))

    def pause(self, seconds: float) -> None:
        if isinstance(self._loop, Paused):
            self._loop.ahead += seconds

    @contextmanager
    def busy(self, seconds: float) -> Iterator[None]:
        """Each turn of the loop takes so long, by its clock."""

        def turn() -> None:
            self.pause(seconds)
            time.sleep(0.001)  # for the store
            self._handle = self._loop.call_soon(turn)

        turn()
        yield
        self._handle.cancel()

    def close(self) -> None:
        self._loop.run_until_complete(self._store.close())
        self._loop.close()


@contextmanager
def adapter(url: str, timeout: float = PATIENT, loop: type[asyncio.AbstractEventLoop] = Paused) -> Iterator[Adapter]:
    made = Adapter(loop(), url, timeout)
    try:
        yield made
    finally:
        made.close()


def hang_up(*nodes: servers.Server) -> None:
    """The server closes every connection, as by its `timeout`."""
    for node in nodes:
        with node.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@pytest.mark.parametrize("pause", [MOMENT, HOUR])
def test_closed_by_the_server(valkey: servers.Server, pause: float) -> None:
    """A connection that the server closed in the pause costs a request nothing but the time to make another."""
    with adapter(valkey.url) as app:
        assert app.used() == 1
        for number in (2, 3):
            hang_up(valkey)
            app.pause(pause)
            assert app.used() == number


def test_many_at_once(valkey: servers.Server) -> None:
    """The same for all that come in the first turn after the pause, also where they are so many that they would be sent
    at once."""
    with adapter(valkey.url) as app:
        assert app.used() == 1
        app.pause(MOMENT)  # in which nothing happened
        assert app.used_together(40) == list(range(2, 42))
        hang_up(valkey)
        app.pause(MOMENT)
        assert app.used_together(40) == list(range(42, 82))


def test_closed_on_uvloop(valkey: servers.Server) -> None:
    """The same where the loop is uvloop, whose clock can't be moved."""
    with Proxy(valkey.port) as proxy, adapter(f"redis://127.0.0.1:{proxy.port}", loop=uvloop.Loop) as app:
        assert app.used() == 1
        for number, end in ((2, lambda: hang_up(valkey)), (3, proxy.reset)):
            end()
            time.sleep(1.1 * PAUSE)
            assert app.used() == number


@pytest.mark.parametrize("pause", [MOMENT, HOUR])
def test_cut_on_the_way(valkey: servers.Server, pause: float) -> None:
    """The same for one that is answered with a reset."""
    with Proxy(valkey.port) as proxy, adapter(f"redis://127.0.0.1:{proxy.port}") as app:
        assert app.used() == 1
        for number in (2, 3):
            proxy.reset()
            app.pause(pause)
            assert app.used() == number


def test_forgotten_on_the_way(valkey: servers.Server) -> None:
    """The same for one that a firewall has forgotten without a word: after a long pause it is made anew."""
    with Proxy(valkey.port) as proxy, adapter(f"redis://127.0.0.1:{proxy.port}") as app:
        assert app.used() == 1
        for number in (2, 3):
            with proxy.swallowing():
                """It never passes anything on again."""
            app.pause(HOUR)
            assert app.used() == number


def test_a_store_that_was_away(valkey: servers.Server) -> None:
    """Where the store was out of reach before the pause, it is asked afterwards: what was known of it is old."""
    with Proxy(valkey.port) as proxy, adapter(f"redis://127.0.0.1:{proxy.port}") as app:
        with proxy.refusing(), pytest.raises(StoreUnavailable):
            app.used()
        app.pause(HOUR)
        assert app.used() == 1


def test_a_connection_that_was_being_made(valkey: servers.Server) -> None:
    """An attempt to connect that was under way in the pause has not failed: it is begun anew, for who comes then."""
    with Proxy(valkey.port) as proxy, adapter(f"redis://127.0.0.1:{proxy.port}", 0.2) as app:
        with proxy.swallowing(), pytest.raises(StoreUnavailable):
            app.used()
        for _ in range(10):  # at a timeout that a busy machine may exceed
            app.pause(HOUR)
            try:
                assert app.used() == 1
            except StoreUnavailable:
                continue
            return
        pytest.fail("it was never decided")


def test_a_store_that_said_nothing(valkey: servers.Server) -> None:
    """A store that left a request without a reply before the pause is asked over another connection."""
    with Proxy(valkey.port) as proxy, adapter(f"redis://127.0.0.1:{proxy.port}", 0.2) as app:
        assert app.used() == 1
        with proxy.swallowing(), pytest.raises(StoreUnavailable):
            app.used()
        app.pause(HOUR)
        assert app.used() in (2, 3)  # what was lost may have been applied


def test_a_busy_loop(valkey: servers.Server) -> None:
    """A pause costs some turns of the loop, and a loop whose turns take half a timeout each is given them."""
    with adapter(valkey.url, 0.1) as app:
        assert app.used() == 1
        app.pause(MOMENT)
        with app.busy(0.05):
            assert app.used() == 2


def test_a_cluster(valkey_cluster: clusters.Cluster) -> None:
    """The same for the nodes of a cluster."""
    with adapter(valkey_cluster.url) as app:
        assert app.used() == 1
        for number, pause in ((2, MOMENT), (3, HOUR)):
            hang_up(*valkey_cluster.nodes)
            app.pause(pause)
            assert app.used() == number


def test_sentinels() -> None:
    """The same where sentinels name the master."""
    with sentinels.run_sentinel("valkey", replicas=0, sentinels=1) as watched, adapter(watched.url) as app:
        assert app.used() == 1
        for number, pause in ((2, MOMENT), (3, HOUR)):
            hang_up(*watched.servers)
            app.pause(pause)
            assert app.used() == number
