"""What a memory store takes of the machine: bytes a caller, objects for the garbage collector, and for how long."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import pairwise

import pytest
import trio

from ratelimit import Identity, parse_policy
from ratelimit.model import Charge
from ratelimit.policy import Policy
from ratelimit.stores.counting.counters import SPARE
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.records import callers, forgetting, kept
from tests.stores import concurrency, counters_of, forget, quota, rate

T = 1_772_359_200_000
TIERS = """
[tiers.anonymous]
limits = [{ name = "ip", rate = "60/minute" }]
[tiers.known]
limits = [{ name = "requests", rate = "100/minute" }, { name = "monthly", quota = "50000/month" }]
"""


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The clock by which it forgets; its one item is now, in milliseconds."""
    now = [0]
    monkeypatch.setattr(kept.time, "monotonic_ns", lambda: now[0] * 1_000_000)
    return now


def charges(policy: Policy, number: int) -> tuple[Charge, ...]:
    return policy.charges(Identity(organization=f"customer-{number}", tier="known"), "search")


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """What is allocated, and was not before."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


def test_bytes_of_a_caller(passed: list[int], traced: Callable[[], int]) -> None:
    """Less than 400 with two limits after one request, its name included; and they are used again."""
    store, policy = MemoryStore(clock=lambda: T + passed[0]), parse_policy(TIERS)
    callers = [[*charges(policy, number)] for number in range(12_000)]

    async def come(some: Sequence[Sequence[Charge]]) -> int:
        before = traced()
        for one in some:
            await store.acquire(one)
        return traced() - before

    async def test() -> None:
        await come(callers[:3_000])  # with what is remembered of callers of late
        assert 150 * 3_000 < await come(callers[3_000:6_000]) < 400 * 3_000
        passed[0] += 32 * 86_400_000
        before = traced()
        forget(store)
        assert counters_of(store) == []
        assert traced() - before < -150 * 6_000
        assert traced() - before + await come(callers[6_000:]) < 20 * 6_000

    asyncio.run(test())


def test_bytes_of_all_sub_windows(passed: list[int]) -> None:
    """A caller who used each of 60 sub-windows takes 16 bytes for each, until they are over."""
    store = MemoryStore(clock=lambda: T + passed[0])
    policy = parse_policy(TIERS)
    callers = [[*charges(policy, number)] for number in range(200)]

    async def test() -> None:
        for _ in range(62):
            passed[0] += 1_000
            for one in callers:
                await store.acquire(one)

    asyncio.run(test())
    older = store._kept.counters._older
    assert [len(one) for one in older.values()] == [16 * 60] * 200
    passed[0] += 63_000
    forget(store)
    assert (len(older), len(counters_of(store))) == (0, 400)


def test_nothing_for_the_garbage_collector() -> None:
    """Thousands of callers who come once leave no object behind that it would have to look at."""
    store, policy = MemoryStore(), parse_policy(TIERS)

    async def come(callers: range) -> None:
        for number in callers:
            await store.acquire(charges(policy, number))

    async def test() -> None:
        await come(range(2_000))
        gc.collect()
        before = len(gc.get_objects())
        await come(range(2_000, 12_000))
        gc.collect()
        assert len(gc.get_objects()) - before < 500

    asyncio.run(test())


def test_slots_that_are_given_back_leave_nothing() -> None:
    """The counter of a concurrency cap is there while a slot is held."""
    store = MemoryStore(clock=lambda: T)

    async def test() -> None:
        one, two = [(await store.acquire([concurrency(2, key="c")])).leases for _ in range(2)]
        await store.release(one)
        assert len(store._kept.slots) == 1
        await store.release(two)
        assert len(store._kept.slots) == 0
        await store.release(two)

    asyncio.run(test())


def on_no_loop(request: Coroutine[None, None, object]) -> None:
    """The memory store waits for nothing."""
    with pytest.raises(StopIteration):
        request.send(None)


def test_slots_that_come_and_go_beside_one_that_stays() -> None:
    """However many are given and given back, the queue of what ends is no longer than what is held, and a little."""
    store = MemoryStore(clock=lambda: T)

    async def test() -> None:
        await store.acquire([concurrency(9, key="c")])
        for _ in range(500):
            await store.release((await store.acquire([concurrency(9, key="c")])).leases)
        (slots,) = store._kept.slots.values()
        assert len(slots.leases) == 1
        assert len(slots._queue) <= 2 * 2 + SPARE

    asyncio.run(test())


class Timers:
    """An event loop that is at each of its timers when the test says so."""

    def __init__(self) -> None:
        self.pending: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: object, context: object) -> object:
        self.pending.append((delay, lambda: callback(*arguments)))
        return object()


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    loop = Timers()
    monkeypatch.setattr(forgetting, "running", lambda: loop)
    return loop


def test_it_forgets_while_nobody_asks(passed: list[int], timers: Timers) -> None:
    """A timer of the loop drops what has expired within a quarter of a minute, a part at a time, and ends with it."""
    store = MemoryStore(clock=lambda: T + passed[0])

    async def test() -> None:
        for number in range(5_000):
            await store.acquire([rate(9, 1_000, key=f"{number}")])
        delays = []
        passed[0] += 3_000
        while timers.pending:
            ((delay, callback),) = timers.pending
            timers.pending.clear()
            delays.append(delay)
            callback()
        assert counters_of(store) == []
        assert delays[0] == forgetting.EVERY <= 60 / 4
        assert len(delays) >= 5
        assert set(delays[1:]) == {forgetting.PAUSE}
        await store.acquire([rate(9, 1_000)])
        assert len(timers.pending) == 1

    asyncio.run(test())


def test_units_that_were_held_go_back_days_later(passed: list[int]) -> None:
    """What was held of a quota and never settled goes back, also where nobody asked for longer than a hold is known."""
    store = MemoryStore(clock=lambda: T + passed[0])
    charges = [quota(9, "month", hold=True)]

    async def test() -> None:
        assert (await store.hold(charges, 9, 60_000)).allowed
        passed[0] += 3 * 86_400_000
        forget(store)
        assert (await store.acquire(charges)).states[0].used == 1

    asyncio.run(test())


def test_a_step_drops_some_of_very_many(passed: list[int], timers: Timers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mass expiry is no pause: a step drops so many of a part, and the next one goes on in it."""
    monkeypatch.setattr(callers, "DROPPED", 2)
    store = MemoryStore(clock=lambda: T + passed[0])

    async def test() -> None:
        for number in range(2_000):
            await store.acquire([rate(9, 1_000, key=f"{number}")])
        passed[0] += 3_000
        left = [len(counters_of(store))]
        while timers.pending:
            ((_, callback),) = timers.pending
            timers.pending.clear()
            callback()
            left.append(len(counters_of(store)))
        assert left[-1] == 0
        assert max(before - after for before, after in pairwise(left)) <= 2 * 5 + 2  # of five parts without as many

    asyncio.run(test())


def test_it_goes_on_while_something_counts(passed: list[int], timers: Timers) -> None:
    """One timer, however many ask; it comes again as long as there is a counter."""
    store = MemoryStore(clock=lambda: T + passed[0])

    async def test() -> None:
        for number in range(50):
            await store.acquire([rate(9, 60_000, key=f"{number}"), concurrency(9, key=f"c{number}")])
        for _ in range(5):
            (timer,) = timers.pending
            timers.pending.clear()
            timer[1]()
        assert [delay for delay, _ in timers.pending] == [forgetting.EVERY]

    asyncio.run(test())


def test_a_loop_that_pauses_has_one_timer(passed: list[int], timers: Timers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes after a pause starts a timer, as the loop of the other may have ended; if not, that was its last."""
    monkeypatch.setattr(forgetting.time, "monotonic", lambda: passed[0] / 1000)
    store = MemoryStore(clock=lambda: T + passed[0])

    async def test() -> None:
        for _ in range(5):
            passed[0] += 60_000
            await store.acquire([rate(9, 86_400_000)])
            due = [callback for _, callback in timers.pending]
            timers.pending.clear()
            for callback in due:
                callback()
        assert [delay for delay, _ in timers.pending] == [forgetting.EVERY]

    asyncio.run(test())


@pytest.mark.parametrize("run", [asyncio.run, on_no_loop])
def test_it_forgets_without_a_loop_that_stays(
    passed: list[int], monkeypatch: pytest.MonkeyPatch, run: Callable[[Coroutine[None, None, object]], object]
) -> None:
    """With a loop a request no timer ever comes, nor without a loop: who asks forgets what has expired meanwhile."""
    monkeypatch.setattr(forgetting.time, "monotonic", lambda: 1 + passed[0] / 1000)
    store = MemoryStore(clock=lambda: T + passed[0])
    for number in range(2_500):
        on_no_loop(store.acquire([rate(9, 1_000, key=f"{number}")]))
    for _ in range(5):  # a thousand at a time
        passed[0] += 60_000
        run(store.acquire([rate(9, 1_000, key="again")]))
    assert len(counters_of(store)) == 1


def test_a_store_that_is_gone_is_not_kept_by_its_timer(timers: Timers) -> None:
    """A timer does not hold the store, and one of a store that is gone is the last."""
    store = MemoryStore(clock=lambda: T)
    asyncio.run(store.acquire([rate(9, 60_000)]))
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None
    ((_, callback),) = timers.pending
    timers.pending.clear()
    callback()
    assert timers.pending == []


def test_another_loop_takes_over(timers: Timers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the loop with the timer runs no more, the next one that asks has it."""
    seconds = 1_000.0
    monkeypatch.setattr(forgetting.time, "monotonic", lambda: seconds)
    store = MemoryStore(clock=lambda: T)
    charges = [rate(9, 60_000)]

    async def test() -> None:
        nonlocal seconds
        await store.acquire(charges)
        timers.pending.clear()  # it has ended
        seconds += forgetting.EVERY + forgetting.LATE - 1
        await store.acquire(charges)
        assert timers.pending == []
        seconds += 2
        await store.acquire(charges)
        assert len(timers.pending) == 1

    asyncio.run(test())


def test_without_a_loop() -> None:
    """Who drives a coroutine by hand is decided for as ever."""
    store = MemoryStore(clock=lambda: T)
    asked = store.acquire([rate(9, 60_000)])
    with pytest.raises(StopIteration) as end:
        asked.send(None)
    assert end.value.value.allowed


def test_on_trio(passed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same timer on the other event loop."""
    monkeypatch.setattr(forgetting, "EVERY", 0.01)
    store = MemoryStore(clock=lambda: T + passed[0])

    async def test() -> None:
        await store.acquire([rate(9, 1_000)])
        passed[0] += 3_000
        with trio.fail_after(5):
            while counters_of(store):  # noqa: ASYNC110 - a timer has no event
                await trio.sleep(0.01)

    trio.run(test)
