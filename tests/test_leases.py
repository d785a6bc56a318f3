"""Slots of requests that run longer than a lease."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from ratelimit.leases import Leases
from ratelimit.model import Charge, Decision, Lease, StoreUnavailable


class Clocked(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when there is nothing else to do: nobody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.jumped = 0.0
        select = self._selector.select

        def jump(timeout: float | None) -> object:
            if timeout:
                self.jumped += timeout
            return select(0)

        self._selector.select = jump

    def time(self) -> float:
        return super().time() + self.jumped


class Recorder:
    """A store that only notes when it is asked to renew, and answers as it is told."""

    def __init__(self) -> None:
        self.renewed: list[tuple[float, list[str]]] = []
        self.released: list[str] = []
        self.lost: list[Lease] = []
        self.failing = 0

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        raise NotImplementedError

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        self.renewed.append((asyncio.get_running_loop().time(), [lease.id for lease in leases]))
        if self.failing:
            self.failing -= 1
            raise StoreUnavailable("gone")
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


def test_a_failed_renewal_is_tried_again_before_the_lease_ends(caplog: pytest.LogCaptureFixture) -> None:
    """While the store is away a renewal is tried every twentieth of the lease, and each failure is in the log."""
    store = Recorder()
    store.failing = 3

    async def test() -> None:
        leases = Leases(store)
        start = asyncio.get_running_loop().time()
        leases.hold([lease("a", 20)])
        await asyncio.sleep(30)
        assert [round(at - start) for at, _ in store.renewed] == [10, 11, 12, 13, 23]
        await leases.release([lease("a", 20)])

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test())
    assert [record.getMessage() for record in caplog.records] == [
        "slots of concurrency limits not renewed, tried again soon: 1 (gone)"
    ] * 3


def test_a_lost_lease_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A slot that was given to somebody else while its request ran is in the log, and not renewed again."""
    store = Recorder()
    store.lost = [lease("a", 20)]

    async def test() -> None:
        leases = Leases(store)
        leases.hold([lease("a", 20)])
        await asyncio.sleep(100)
        assert len(store.renewed) == 1

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test())
    assert [record.getMessage() for record in caplog.records] == [
        "slots of concurrency limits lost while their requests ran: 1"
    ]


def test_released_while_a_renewal_is_under_way() -> None:
    """What is released during a renewal is not held again afterwards."""

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
    """A store that is away when a slot is given back is in the log, and raises nothing into the app."""
    store = Recorder()
    store.failing = 1

    async def test() -> None:
        leases = Leases(store)
        leases.hold([lease("a", 20)])
        await leases.release([lease("a", 20)])

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test())
    assert "may not have been given back; then it frees when its lease ends: gone" in caplog.text
