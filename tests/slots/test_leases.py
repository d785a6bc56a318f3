"""Slots of requests that run longer than a lease."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from ratelimit.model import Charge, Decision, Lease, StoreUnavailable
from ratelimit.slots.leases import Leases
from ratelimit.slots.report import QUIET
from ratelimit.stores.memory import MemoryStore
from tests.clocked import Clocked
from tests.stores import concurrency


class Recorder:
    """A store that only notes when it is asked to renew, and answers as it is told."""

    def __init__(self) -> None:
        self.renewed: list[tuple[float, list[str]]] = []
        self.released: list[str] = []
        self.lost: list[Lease] = []
        self.failing = 0
        self.error: Exception = StoreUnavailable("gone")

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        raise NotImplementedError

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        self.renewed.append((asyncio.get_running_loop().time(), [lease.id for lease in leases]))
        if self.failing:
            self.failing -= 1
            raise self.error
        return self.lost

    async def release(self, leases: Sequence[Lease]) -> None:
        if self.failing:
            raise StoreUnavailable("gone")
        self.released += [lease.id for lease in leases]

    async def close(self) -> None: ...


def run(test: object) -> None:
    loop = Clocked()
    try:
        loop.run_until_complete(test)
        assert not asyncio.all_tasks(loop)
    finally:
        loop.close()


def lease(name: str, seconds: float) -> Lease:
    return Lease("key", name, int(seconds * 1000))


def test_renewed_together_when_half_is_left() -> None:
    """All that the process holds is renewed in one call, each time half of the shortest lease has passed."""
    store = Recorder()

    async def test() -> None:
        leases = Leases(store)
        start = asyncio.get_running_loop().time()
        leases.hold([lease("long", 60)])
        leases.hold([lease("short", 20)])
        await asyncio.sleep(25)
        await leases.release([lease("short", 20)])
        await asyncio.sleep(100)
        await leases.release([lease("long", 60)])
        await asyncio.sleep(1_000)
        seen = [(round(at - start), ids) for at, ids in store.renewed]
        both = ["long", "short"]
        # the timer for "short" at 30 finds it gone; "long" was last renewed at 20
        assert seen == [(10, both), (20, both), (50, ["long"]), (80, ["long"]), (110, ["long"])]
        assert store.released == ["short", "long"]

    run(test())


def test_short_requests_cost_no_renewal() -> None:
    """A request that ends before half of its lease is never renewed, and leaves no timer."""
    store = Recorder()

    async def test() -> None:
        leases = Leases(store)
        for number in range(10):
            leases.hold([lease(str(number), 10)])
            await asyncio.sleep(1)
            await leases.release([lease(str(number), 10)])
        await asyncio.sleep(100)
        assert store.renewed == []
        assert leases._held[asyncio.get_running_loop()]._timer is None

    run(test())


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), ValueError("gone")])
def test_a_failed_renewal_is_tried_again_before_the_lease_ends(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """While the store is away a renewal is tried every twentieth of the lease, whatever a store of the user's raises;
    the log has when that began and when it was over."""
    store = Recorder()
    store.failing, store.error = 3, error

    async def test() -> None:
        leases = Leases(store)
        start = asyncio.get_running_loop().time()
        leases.hold([lease("a", 20)])
        await asyncio.sleep(30)
        assert [round(at - start) for at, _ in store.renewed] == [10, 11, 12, 13, 23]
        await leases.release([lease("a", 20)])

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test())
    assert lines(caplog) == [
        "slots of concurrency limits not renewed, tried again until they are: 1 (gone)",
        "slots of concurrency limits are renewed again, after 3 s without the store",
    ]


EXCEEDED = (
    "concurrency limits are exceeded by 1: slots of running requests had expired, others have come in, and they are "
    "counted again until they end: "
)


@pytest.mark.parametrize(
    ("stall", "failing", "why"),
    [
        (0, 0, "the store has lost them: a restart, a flush, an eviction or a failover; or this process was suspended"),
        (61, 0, "the event loop stood still for 61 s, so that nothing was renewed"),
        (0, 30, "the store was out of reach for 30 s"),
    ],
)
def test_an_exceeded_limit_is_said(stall: int, failing: int, why: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where slots were lost and there is no room to take all of them again, one line says how many and why, and they
    are renewed from then on."""
    store = Recorder()
    store.lost, store.failing = [lease("a", 20)], failing

    async def test() -> None:
        leases = Leases(store)
        leases.hold([lease("a", 20), lease("b", 20)])
        await asyncio.sleep(5)
        asyncio.get_running_loop().jumped += stall + bool(stall) * 5  # due after 10 s: 61 s late
        await asyncio.sleep(7 + failing)  # the first is due after 10 s, and tried again each second
        store.lost = []
        await asyncio.sleep(25)
        assert all(ids == ["a", "b"] for _, ids in store.renewed)
        assert len(store.renewed) - failing > 2
        await leases.release([lease("a", 20), lease("b", 20)])

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test())
    assert [line for line in lines(caplog) if "exceeded" in line] == [EXCEEDED + why]


def test_a_stall_that_others_did_not_use() -> None:
    """A process that stood still for longer than its lease takes its slots again, and nobody else comes in."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        store = MemoryStore(clock=lambda: int(loop.time() * 1000))
        leases, cap = Leases(store), (concurrency(2, 20_000),)
        for _ in range(2):
            leases.hold((await store.acquire(cap)).leases)
        loop.jumped += 61
        await asyncio.sleep(1)
        assert not (await store.acquire(cap)).allowed
        await leases.close()
        assert (await store.acquire(cap)).states[0].used == 1

    run(test())


@pytest.mark.parametrize(("others", "exceeded"), [(1, 0), (2, 1), (3, 2)])
def test_a_stall_that_others_used(others: int, exceeded: int, caplog: pytest.LogCaptureFixture) -> None:
    """Slots that were given to others meanwhile are taken again where there is room; where there is none they count all
    the same, so that nobody comes in until there is."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        store = MemoryStore(clock=lambda: int(loop.time() * 1000))
        leases, cap = Leases(store), (concurrency(3, 20_000),)
        for _ in range(2):
            leases.hold((await store.acquire(cap)).leases)
        loop.jumped += 61
        theirs = [(await store.acquire(cap)).leases for _ in range(others)]
        await asyncio.sleep(1)
        assert (await store.acquire(cap)).states[0].used == others + 2
        for lease in theirs:
            await store.release(lease)
        assert (await store.acquire(cap)).states[0].used == 3
        await leases.close()

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test())
    expected = (
        EXCEEDED.replace("by 1", f"by {exceeded}") + "the event loop stood still for 51 s, so that nothing was renewed"
    )
    assert lines(caplog) == [expected] * bool(exceeded)


def test_released_while_a_renewal_is_under_way() -> None:
    """What is released during a renewal is not held again afterwards, and given back once more: the renewal may have
    taken it again."""

    class Slow(Recorder):
        async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
            await asyncio.sleep(1)
            return await super().renew(leases)

    store = Slow()

    async def test() -> None:
        leases = Leases(store)
        leases.hold([lease("a", 20), lease("b", 20)])
        await asyncio.sleep(10.5)
        await leases.release([lease("a", 20)])
        await asyncio.sleep(12)
        assert [ids for _, ids in store.renewed] == [["a", "b"], ["b"]]
        assert store.released == ["a", "a"]
        await leases.release([lease("b", 20)])

    run(test())


def test_a_renewal_is_no_part_of_a_request() -> None:
    """A renewal has none of the context variables (a trace, a request id) of the request that was first."""
    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen = []

    class Looking(Recorder):
        async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
            seen.append(variable.get())
            return []

    async def test() -> None:
        variable.set("the first request")
        leases = Leases(Looking())
        leases.hold([lease("a", 20)])
        await asyncio.sleep(11)
        await leases.release([lease("a", 20)])

    run(test())
    assert seen == ["none"]


def test_one_renewal_at_a_time() -> None:
    """A store that takes longer than a lease to renew is not asked again meanwhile."""

    class Slow(Recorder):
        async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
            await asyncio.sleep(8)
            return await super().renew(leases)

    store = Slow()

    async def test() -> None:
        leases = Leases(store)
        start = asyncio.get_running_loop().time()
        leases.hold([lease("a", 20)])
        await asyncio.sleep(10.5)
        leases.hold([lease("b", 2)])  # due while the first renewal is under way
        await asyncio.sleep(10)
        assert [(round(at - start), ids) for at, ids in store.renewed] == [(18, ["a"])]
        await leases.release([lease("a", 20), lease("b", 2)])
        await asyncio.sleep(10)

    run(test())


def test_loops_that_have_ended_are_forgotten() -> None:
    """Of event loops that come and go, no more is kept than the last."""
    leases = Leases(Recorder())

    async def test() -> None:
        leases.hold([lease("a", 20)])
        await leases.release([lease("a", 20)])

    for _ in range(5):
        run(test())
    assert len(leases._held) == 1


def test_a_release_that_fails_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A store that is away when slots are given back is in the log, a line an outage however many requests end in it
    and though some are given back (on a cluster one node may be away), and raises nothing into the app."""
    store = Recorder()

    async def test() -> None:
        leases = Leases(store)
        for _ in range(2):
            for number in range(100):
                store.failing = number % 10
                leases.hold([lease("a", 60)])
                await asyncio.sleep(1)
                await leases.release([lease("a", 60)])
            store.failing = 0
            await asyncio.sleep(QUIET)

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test())
    said = "slots of concurrency limits may not have been given back; then each frees when its lease ends: gone"
    assert lines(caplog) == [said] * 2


def test_close_gives_back_what_is_held() -> None:
    """At a shutdown all that this loop holds goes back in one call, also while a renewal hangs, and only once."""

    class Hanging(Recorder):
        async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
            await asyncio.Event().wait()
            return []

    store = Hanging()

    async def test() -> None:
        leases = Leases(store)
        await leases.close()  # nothing was ever held
        leases.hold([lease("a", 20), lease("b", 20), lease("over", 20)])
        await leases.release([lease("over", 20)])
        await asyncio.sleep(11)
        await leases.close()
        await leases.release([lease("a", 20)])  # its request ends after all
        await leases.close()
        assert store.released == ["over", "a", "b"]

    run(test())


def test_loops_hold_their_own() -> None:
    """Each event loop renews and gives back what it holds, and nothing of another."""
    store = Recorder()
    leases = Leases(store)

    async def test(name: str) -> None:
        leases.hold([lease(name, 20)])
        await asyncio.sleep(11)
        assert store.renewed.pop()[1] == [name]
        await leases.close()

    one, other = Clocked(), Clocked()
    one.run_until_complete(asyncio.sleep(0))
    for loop, name in ((one, "a"), (other, "b"), (one, "c")):
        loop.run_until_complete(test(name))
    assert store.released == ["a", "b", "c"]
    one.close()
    other.close()
