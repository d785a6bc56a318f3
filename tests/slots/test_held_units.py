"""Units that are held while a request works: renewed with its slots, never taken again, and given back by the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest

from ratelimit.model import Charge, Hold, Lease
from ratelimit.slots.leases import Leases
from ratelimit.stores.memory import MemoryStore
from tests.clocked import Clocked
from tests.slots.test_leases import Recorder, lease, lines, run
from tests.stores import concurrency, quota

LIMIT = (quota(10, key="tokens", hold=True),)
GONE = "holds whose units went back, while their work goes on and is charged in the end: 1: "


def units(name: str, seconds: float) -> Lease:
    return Lease("key", name, int(seconds * 1000), counters=("key",))


def store_of(loop: asyncio.AbstractEventLoop) -> MemoryStore:
    return MemoryStore(clock=lambda: int(loop.time() * 1000))


async def holding() -> tuple[MemoryStore, Leases, Hold]:
    """Six units, for 20 s if they are not renewed."""
    store = store_of(asyncio.get_running_loop())
    leases = Leases(store)
    hold = (await store.hold(LIMIT, 6, 20_000)).hold
    assert hold
    leases.hold([hold.lease])
    return store, leases, hold


async def used(store: MemoryStore, charges: Sequence[Charge] = LIMIT) -> int:
    return (await store.peek(charges, 0)).states[0].used


def test_units_are_held_for_as_long_as_the_work_goes_on() -> None:
    """However long it takes: then they are settled, and renewed no more."""

    async def test() -> None:
        store, leases, hold = await holding()
        for _ in range(20):
            await asyncio.sleep(47)
            assert not (await store.acquire((replace(LIMIT[0], cost=5),))).allowed
            assert await used(store) == 6
        await leases.release([hold.lease])
        await store.settle(hold, 2)
        await asyncio.sleep(100)
        assert await used(store) == 2

    run(test())


def test_units_of_nobody_go_back_within_a_lease() -> None:
    """A process that is gone renews nothing."""

    async def test() -> None:
        store, leases, _ = await holding()
        await asyncio.sleep(35)  # renewed at 10, 20 and 30 s
        leases._held[asyncio.get_running_loop()]._timer.cancel()
        await asyncio.sleep(14)
        assert await used(store) == 6
        await asyncio.sleep(2)
        assert await used(store) == 0

    run(test())


@pytest.mark.parametrize("comes", [True, False])
def test_a_stall(comes: bool, caplog: pytest.LogCaptureFixture) -> None:
    """After a stall units are held on, if nobody came for them. Where somebody did they are not taken again: that is
    told once, and what was used is charged in the end."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Clocked)
        store = store_of(loop)
        leases = Leases(store)
        hold = (await store.hold(LIMIT, 6, 20_000)).hold
        assert hold
        leases.hold([hold.lease])
        loop.jumped += 61
        if comes:
            assert (await store.hold(LIMIT, 10, 60_000)).allowed
        await asyncio.sleep(15)
        assert await used(store) == (10 if comes else 6)
        await store.settle(hold, 4)
        await leases.release([hold.lease])
        assert await used(store) == (14 if comes else 4)

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test())
    assert lines(caplog) == [GONE + "the event loop stood still for 51 s, so that nothing was renewed"] * comes


def test_what_is_gone_is_not_renewed_any_more() -> None:
    """Of slots and units that are renewed together, what the store says of each is done with it; what was settled
    while a renewal was under way is not told."""

    class Slow(Recorder):
        async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
            await asyncio.sleep(1)
            return await super().renew(leases)

    store = Slow()
    store.lost = [lease("slot", 20), units("gone", 20), units("settled", 20)]

    async def test() -> None:
        leases = Leases(store)
        leases.hold([lease("slot", 20), units("gone", 20), units("settled", 20), units("held", 20)])
        await asyncio.sleep(10.5)
        await leases.release([units("settled", 20)])
        await asyncio.sleep(12)
        store.lost = []
        await asyncio.sleep(10)
        first, *others = [ids for _, ids in store.renewed]
        assert first == ["slot", "gone", "settled", "held"]
        assert others == [["slot", "held"]] * 2
        await leases.release([units("held", 20), lease("slot", 20)])
        assert store.released == ["slot"]

    run(test())


def test_nothing_is_given_back_of_units() -> None:
    """Neither at a shutdown nor by a loop that comes after, nor where nothing can be awaited: they go back with their
    lease, as nobody here knows what of them was used."""
    store = Recorder()
    leases = Leases(store)

    async def left_behind() -> None:
        leases.hold([lease("slot", 20), units("a", 20)])

    async def test() -> None:
        leases.hold([units("b", 20), lease("other", 20), units("c", 20)])
        leases.let_go([units("b", 20)], None)
        assert leases.holds()
        await leases.release([lease("other", 20)])
        assert not leases.holds()
        await leases.close()
        await leases.give_all_back()

    run(left_behind())
    run(test())
    assert store.released == ["slot", "other"]


@pytest.mark.parametrize(
    ("held", "what"),
    [
        ([units("a", 20)], "units that are held"),
        ([units("a", 20), lease("b", 20)], "slots of concurrency limits and units that are held"),
    ],
)
def test_what_is_not_renewed_is_named(held: list[Lease], what: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log says what it is that is not renewed."""
    store = Recorder()
    store.failing = 3

    async def test() -> None:
        leases = Leases(store)
        leases.hold(held)
        await asyncio.sleep(30)
        await leases.release(held)

    with caplog.at_level(logging.WARNING, "ratelimit"):
        run(test())
    assert lines(caplog) == [
        f"{what} not renewed, tried again until they are: {len(held)} (gone)",
        f"{what} are renewed again, after 3 s without the store",
    ]


def test_slots_beside_units() -> None:
    """A request may hold both."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        store, cap = store_of(loop), (concurrency(1, 20_000),)
        leases = Leases(store)
        slot, hold = (await store.acquire(cap)).leases, (await store.hold(LIMIT, 6, 30_000)).hold
        assert hold
        leases.hold([*slot, hold.lease])
        await asyncio.sleep(200)
        assert not (await store.acquire(cap)).allowed
        assert await used(store) == 6
        await leases.release([*slot, hold.lease])
        assert (await store.acquire(cap)).allowed
        await asyncio.sleep(31)
        assert await used(store) == 0

    run(test())
