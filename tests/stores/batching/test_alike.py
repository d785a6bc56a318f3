"""Requests that are like the one before them take a shorter way: what is sent, and what each is told, is the same."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace

import pytest

from ratelimit.model import Charge, Decision, StoreUnavailable
from ratelimit.stores.batching.batch import Batch
from ratelimit.stores.batching.callers import SentTerms
from ratelimit.stores.batching.pending import Pending
from ratelimit.stores.redis import RedisStore
from tests.stores import concurrency, queue_of, quota, rate, router_of
from tests.stores.wires import T, ask, connected, fake_store, run, turns

RATE, OTHER = rate(9, 60_000), rate(5, 60_000)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    return fake_store(monkeypatch)


def by(key: str, charge: Charge = RATE) -> tuple[Charge, ...]:
    """The same limit, and so the same terms, for another caller."""
    return (replace(charge, key=key),)


def sent_of_callers(call: list[bytes]) -> list[bytes]:
    """The arguments behind the tariffs: six a charge, and as many later maxes as they say."""
    rest = call[3 + int(call[2]) + 1 :]
    tariffs, rest = int(rest[0]), rest[1:]
    for _ in range(tariffs):
        charges = int(rest[3])
        rest = rest[4 + 6 * charges :]
        rest = rest[1 + 3 * int(rest[0]) :]
    return rest


def test_runs_of_the_same_terms(fake: RedisStore) -> None:
    """Terms are sent once, and the number of its own with each request, also where they come by turns."""

    async def test() -> None:
        wire = await connected(fake)
        order = [RATE, RATE, OTHER, RATE, OTHER, OTHER]
        calls = [ask(fake, *by(f"k{number}", charge)) for number, charge in enumerate(order)]
        await turns()
        assert wire.keys == [["k0", "k1", "k2", "k3", "k4", "k5"]]
        assert sent_of_callers(wire.written[0]) == [b"1", b"1", b"2", b"1", b"2", b"2"]
        wire.reply([T, *[number for used in range(6) for number in (1, used)]])
        decisions = await asyncio.gather(*calls)
        assert [d.states[0].used for d in decisions] == list(range(6))
        assert [d.states[0].max for d in decisions] == [9, 9, 5, 9, 5, 5]

    run(fake, test())


def test_between_others(fake: RedisStore) -> None:
    """Who has more to send has it behind its own number, and is told its own, with others of the same terms around."""

    async def test() -> None:
        wire = await connected(fake)
        calls = [ask(fake, *by("a")), ask(fake, *by("b"))]
        calls.append(ask(fake, concurrency(3, key="slots")))
        calls += [ask(fake, *by("c")), asyncio.create_task(fake.peek(by("d"), 7))]
        calls += [ask(fake, *by("e"), quota(4, key="q")), ask(fake, *by("f"))]
        await turns()
        assert wire.keys == [["a", "b", "slots", "c", "d", "e", "q", "f"]]
        one, two, slots, lease_id, three, peek, units, both, last = sent_of_callers(wire.written[0])
        assert [one, two, slots, three, peek, units, both, last] == [b"1", b"1", b"2", b"1", b"3", b"7", b"4", b"1"]
        wire.reply([T, 1, 1, 1, 2, 1, 3, 1, 4, 1, 5, 1, 6, 7, 1, 8])
        decisions = await asyncio.gather(*calls)
        assert [[s.used for s in d.states] for d in decisions] == [[1], [2], [3], [4], [5], [6, 7], [8]]
        assert [[lease.id.encode() for lease in d.leases] for d in decisions] == [[], [], [lease_id], [], [], [], []]

    run(fake, test())


def test_a_denial_among_them(fake: RedisStore) -> None:
    """One of many is told more than the others, all of whom are told theirs."""

    async def test() -> None:
        wire = await connected(fake)
        calls = [ask(fake, *by(key)) for key in "abc"]
        await turns()
        wire.reply([T, 1, 1, 0, 1, 9, 500, 500, 1, 3])
        decisions = await asyncio.gather(*calls)
        assert [(d.allowed, d.states[0].used) for d in decisions] == [(True, 1), (False, 9), (True, 3)]

    run(fake, test())


def test_who_waits_no_longer(fake: RedisStore) -> None:
    """It is told nothing, and those behind it are told theirs."""

    async def test() -> None:
        wire = await connected(fake)
        first, gone, last = [ask(fake, *by(key)) for key in "abc"]
        await turns()
        gone.cancel()
        wire.reply([T, 1, 1, 1, 2, 1, 3])
        assert [(await call).states[0].used for call in (first, last)] == [1, 3]
        with pytest.raises(asyncio.CancelledError):
            await gone

    run(fake, test())


@pytest.mark.parametrize("told", [[1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]], ids=str)
def test_a_reply_of_another_length(fake: RedisStore, told: list[int]) -> None:
    """Nobody waits for ever over a reply that says too little or too much, and its connection is of no use."""

    async def test() -> None:
        wire = await connected(fake)
        calls = [ask(fake, *by(key)) for key in "ab"]
        await turns()
        wire.reply([T, *told])
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, Decision | StoreUnavailable) for result in results)
        await turns()
        assert wire.aborted

    run(fake, test())


def test_one_that_can_not_be_written(fake: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails alone: those before and behind it, of the same terms or not, are decided for."""
    add = Batch.add

    def unless_other(batch: Batch, call: Pending) -> SentTerms:
        if call[1].charges[0].limit is OTHER.limit:
            raise OverflowError("no such year")
        return add(batch, call)

    async def test() -> None:
        wire = await connected(fake)
        monkeypatch.setattr(Batch, "add", unless_other)
        calls = [ask(fake, *by("a")), ask(fake, *by("b", OTHER)), ask(fake, *by("c", OTHER)), ask(fake, *by("d"))]
        await turns()
        assert wire.keys == [["a", "d"]]
        wire.reply([T, 1, 1, 1, 2])
        first, *failed, last = await asyncio.gather(*calls, return_exceptions=True)
        assert [d.states[0].used for d in (first, last) if isinstance(d, Decision)] == [1, 2]
        assert [type(error) for error in failed] == [StoreUnavailable] * 2

    run(fake, test())


@pytest.mark.parametrize("moving", [False, True])
def test_slots(fake: RedisStore, *, moving: bool) -> None:
    """Who has the same terms and another slot is in another call, and each caller of a slot on its way in its own."""

    async def test() -> None:
        await connected(fake)
        queue, callers = queue_of(fake), router_of(fake).callers
        loop = asyncio.get_running_loop()
        if moving:
            queue.lanes.moves(1)
        waiting: deque[Pending] = deque()
        for number, slot in enumerate([0, 0, 1, 1, 0]):
            caller = callers.of(by(f"k{number}"))
            caller.slot = slot
            waiting.append((loop.create_future(), caller, loop.time() + 10, None))
        batches = queue.lanes.fill(waiting, 100)
        sent = sorted([call[1].charges[0].key for call in batch.calls] for batch in batches)
        assert sent == ([["k0", "k1", "k4"], ["k2"], ["k3"]] if moving else [["k0", "k1", "k4"], ["k2", "k3"]])
        assert sorted(len(batch.keys) for batch in batches) == sorted(map(len, sent))

    run(fake, test())
