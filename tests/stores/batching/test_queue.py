"""What group commit promises: many decisions a call, each caller's result its own, and nobody waits for a timer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ratelimit.model import FOREVER, Charge, Decision, StoreUnavailable
from ratelimit.stores.batching.batch import Batch
from ratelimit.stores.batching.pending import Again
from ratelimit.stores.connection.errors import NoScript
from ratelimit.stores.connection.socket import command
from ratelimit.stores.redis import RedisStore
from tests import servers
from tests.clocked import Clocked
from tests.stores import Subject, concurrency, queue_of, quota, rate, router_of
from tests.stores.clock import ahead, script_calls
from tests.stores.test_differential import comparable
from tests.stores.wires import WARM, T, ask, connected, fake_store, never_paused, run, spy, turns

MIDNIGHT = 1_772_409_600_000  # 2026-03-02T00:00:00Z
RAISED = replace(rate(1, 60_000), maxes=((T + 10, 1), (FOREVER, 100)))


@pytest.fixture
def subject(server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> Subject:
    never_paused(monkeypatch)
    return Subject(server.name, server.unix_url)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    return fake_store(monkeypatch)


def test_many_decisions_share_a_call(server: servers.Server, subject: Subject) -> None:
    """64 workers with 64 callers take at most a script call for 16 decisions, and every one is charged."""

    async def worker(number: int) -> list[int]:
        charges = (rate(99, 60_000, key=f"r{number}"), quota(99, key=f"q{number}"))
        return [(await subject.store.acquire(charges)).states[0].used for _ in range(20)]

    async def test() -> None:
        await subject.store.acquire(WARM)
        before = script_calls(server)
        seen = await asyncio.gather(*map(worker, range(64)))
        assert seen == [list(range(1, 21))] * 64
        assert script_calls(server) - before <= 64 * 20 / 16

    subject.run(test())


def test_a_lone_request_waits_for_nobody(fake: RedisStore) -> None:
    """Who comes alone is one EVALSHA that goes in the next turn of the loop: no timer is passed on the way."""

    async def test() -> None:
        wire = await connected(fake)
        call = ask(fake, rate(9, 60_000))
        await turns(2)  # it comes in the first
        ((name, *_),) = wire.written
        assert name == b"EVALSHA"
        wire.reply([T, 1, 1])
        assert (await call).allowed

    run(fake, test())


def test_what_comes_together_goes_together(fake: RedisStore) -> None:
    """All of one turn go in one call, all that come while it is under way in the next; never two are under way."""

    async def test() -> None:
        wire = await connected(fake)
        first = [ask(fake, rate(9, 60_000, key=key)) for key in "abc"]
        await turns()
        second = []
        for key in "defg":
            second.append(ask(fake, rate(9, 60_000, key=key)))
            await turns()
        assert wire.keys == [["a", "b", "c"]]
        wire.reply([T, 1, 1, 1, 2, 1, 3])
        await asyncio.gather(*first)
        assert wire.keys == [["a", "b", "c"], ["d", "e", "f", "g"]]
        wire.reply([T, 1, 4, 1, 5, 1, 6, 1, 7])
        decisions = await asyncio.gather(*first, *second)
        assert [d.states[0].used for d in decisions] == [1, 2, 3, 4, 5, 6, 7]
        assert [d.states[0].charge.key for d in decisions] == [f"{{user=ana}}:{key}" for key in "abcdefg"]

    run(fake, test())


def test_many_of_one_turn(fake: RedisStore) -> None:
    """When 16 of one turn have come they are on their way: the store decides for them while the others still run."""

    async def test() -> None:
        wire = await connected(fake)
        sent: list[int] = []

        async def come(number: int) -> Decision:
            sent.append(len(wire.keys))
            return await fake.acquire((rate(99, 60_000, key=f"r{number}"),))

        calls = [asyncio.ensure_future(come(number)) for number in range(20)]
        await turns()
        assert sent == [0] * 16 + [1] * 4
        assert [len(keys) for keys in wire.keys] == [16]
        wire.reply([T, *[1, 1] * 16])
        assert [len(keys) for keys in wire.keys] == [16, 4]
        wire.reply([T, *[1, 1] * 4])
        assert all(d.allowed for d in await asyncio.gather(*calls))

    run(fake, test())


def test_a_second_call(fake: RedisStore) -> None:
    """Where 26 more have come while a call is under way, they go beside it, and no third; what comes then goes when one
    of the two is answered, if they are as many by then, or both."""

    async def test() -> None:
        wire = await connected(fake)
        calls: list[asyncio.Task[Decision]] = []

        async def come(number: int) -> list[int]:
            calls.extend(ask(fake, rate(99, 60_000, key=f"r{len(calls)}")) for _ in range(number))
            await turns()
            return [len(keys) for keys in wire.keys]

        def answered(number: int) -> list[int]:
            wire.reply([T, *[1, 1] * number])
            return [len(keys) for keys in wire.keys]

        assert await come(2) == [2]
        assert await come(25) == [2]
        assert await come(1) == [2, 26]
        assert await come(40) == [2, 26]
        assert answered(2) == [2, 26, 40]
        assert await come(3) == [2, 26, 40]
        assert answered(26) == [2, 26, 40]
        assert answered(40) == [2, 26, 40, 3]
        answered(3)
        assert all(d.allowed for d in await asyncio.gather(*calls))

    run(fake, test())


@pytest.mark.parametrize("why", ["slots", "units ahead", "local", "a slot on its way", "full"])
def test_no_second_call(fake: RedisStore, why: str) -> None:
    """Where the first says something of who waits, lost calls are asked about, or what is written stays here."""
    odd = {"slots": concurrency(9), "units ahead": ahead(rate(9, 60_000))}.get(why, rate(9, 60_000, key="odd"))

    async def test() -> None:
        if why == "local":
            fake.keep_account()
        wire = await connected(fake)
        first = ask(fake, rate(99, 60_000, key="first"))
        await turns()
        if why == "a slot on its way":
            queue_of(fake).lanes.moves(0)
        if why == "full":
            wire.drained = asyncio.get_running_loop().create_future()
        calls = [ask(fake, odd)] + [ask(fake, rate(99, 60_000, key=f"r{number}")) for number in range(40)]
        await turns()
        assert len([call for call in wire.written if call[0].startswith(b"EVAL")]) == 1
        for call in [first, *calls]:
            call.cancel()
        await asyncio.gather(first, *calls, return_exceptions=True)

    run(fake, test())


@pytest.mark.parametrize(
    ("charge", "now", "then", "said", "told"),
    [
        (rate(1, 60_000, enforce_from_ms=T + 10), T, T + 10, [T + 9, 2, 1, 2, 50_000, 0], (True, 1, 2, 50_000)),
        (quota(9, "day"), MIDNIGHT - 5, MIDNIGHT + 1, [MIDNIGHT - 3, 1, 1], (True, 9, 1, 3)),
        (
            replace(rate(1, 60_000), maxes=((T + 10, 1), (FOREVER, 100))),
            T,
            T + 11,
            [T + 5, 0, 1, 1, 9, 9],
            (False, 1, 1, 9),
        ),
    ],
    ids=["a shadow", "a day", "a max"],
)
def test_terms_that_are_over(
    fake: RedisStore, charge: Charge, now: int, then: int, said: list[int], told: tuple[bool, int, int, int]
) -> None:
    """A reply is read by the terms that were sent, also where the same caller goes beside it under others."""
    charges = (charge,)
    clock = [now]

    async def test() -> None:
        wire = await connected(fake)
        queue_of(fake).store_ms = lambda: clock[0]  # type: ignore[method-assign]
        first = [asyncio.create_task(fake.acquire(charges)) for _ in range(3)]
        await turns()
        clock[0] = then
        more = [asyncio.create_task(fake.acquire(charges))]
        more += [ask(fake, rate(99, 60_000, key=f"r{number}")) for number in range(30)]
        await turns()
        assert [len(keys) for keys in wire.keys] == [3, 26]
        wire.reply([said[0], *said[1:] * 3])
        for decision in await asyncio.gather(*first):
            (state,) = decision.states
            assert (decision.allowed, state.max, state.used, state.reset_after_ms) == told
        caller = router_of(fake).callers.of(charges)
        assert caller._refused_until - caller._sent == pytest.approx(0 if told[0] else 0.005)
        for call in more:
            call.cancel()
        await asyncio.gather(*more, return_exceptions=True)

    run(fake, test())


def test_two_reasons_to_send(fake: RedisStore) -> None:
    """Where the connection is ready again in the turn in which somebody comes, still one call is under way."""

    async def test() -> None:
        wire = await connected(fake)
        wire.drained = drained = asyncio.get_running_loop().create_future()
        queue_of(fake).link.send(command("ECHO", "much"), lambda _: None)
        calls = [ask(fake, rate(9, 60_000, key="a"))]
        await turns()
        wire.drained = None
        calls.append(ask(fake, rate(9, 60_000, key="b")))  # is to be sent at the end of this turn
        drained.set_result(None)  # which sends at once
        calls.append(ask(fake, rate(9, 60_000, key="c")))
        await turns()
        assert wire.keys == [["a", "b"]]
        wire.reply(b"much")
        wire.reply([T, 1, 1, 1, 2])
        assert wire.keys == [["a", "b"], ["c"]]
        wire.reply([T, 1, 3])
        assert [d.states[0].used for d in await asyncio.gather(*calls)] == [1, 2, 3]

    run(fake, test())


def test_a_burst(subject: Subject) -> None:
    """A burst of 1,000 callers is calls of 16 and 26, two at a time, and 8 of 128 at most; fewer a call where a denial
    would be much work."""

    async def test() -> None:
        await subject.store.acquire(WARM)
        calls = spy(subject.store)
        many = [(rate(1, 60_000, key=f"r{number}"),) for number in range(1_000)]
        assert all(d.allowed for d in await asyncio.gather(*map(subject.store.acquire, many)))
        assert [int(call[2]) for call in calls] == [16, 26] + [128] * 7 + [62]
        fine = [(rate(1, 60_000, 1_000, key=f"p{number}"),) for number in range(30)]
        assert all(d.allowed for d in await asyncio.gather(*map(subject.store.acquire, fine)))
        assert [int(call[2]) for call in calls[10:]] == [15, 15]

    subject.run(test())


def test_a_burst_of_one_caller(subject: Subject) -> None:
    """Who came first is served first, and who waits when the caller is denied is not even sent; the last call was under
    way beside the one that said so."""
    charges = (rate(300, 60_000), quota(500))

    async def test() -> None:
        await subject.store.acquire(WARM)
        calls = spy(subject.store)
        decisions = await asyncio.gather(*(subject.store.acquire(charges) for _ in range(1_000)))
        assert [d.allowed for d in decisions] == [True] * 300 + [False] * 700
        assert [d.states[0].used for d in decisions[:300]] == list(range(1, 301))
        assert [int(call[2]) // 2 for call in calls] == [16, 26] + [128] * 4

    subject.run(test())


def test_each_has_its_own_result(server: servers.Server, subject: Subject) -> None:
    """In one call one is admitted, one denied, one fails, and each is told what is its own, as without the others."""
    wrong = (rate(9, 60_000, key="beside"), quota(9, key="wrong"))
    requests: list[tuple[Charge, ...]] = [
        (rate(9, 60_000, key="a"),),
        (rate(9, 60_000, key="a", cost=3), rate(0, 60_000, key="none")),
        wrong,
        (rate(5, 1_000, key="a2"), rate(5, 60_000, key="a"), quota(5, key="m"), quota(5, "year", key="y")),
        (concurrency(1, key="c"), rate(9, 60_000, key="a")),
        (concurrency(1, key="c"),),
        (concurrency(5, key="c"), rate(9, 60_000, key="a", cost=0)),
        (rate(0, 60_000, key="s", mode="shadow"), rate(9, 60_000, key="a")),
        (quota(9, "day", key="d"),),  # in the period of yesterday, as far as is known here
        (rate(9, 60_000, key="a"),),
    ]
    memory = Subject("memory")

    async def test() -> None:
        with server.client() as client:
            client.set(f"{subject.prefix}:{{user=ana}}:wrong", "x", ex=60)
            await subject.at(MIDNIGHT - 3_600_000).acquire(*WARM)
            subject.at(MIDNIGHT + 5)
            calls = spy(subject.store)
            said = await asyncio.gather(*map(subject.store.acquire, requests), return_exceptions=True)
            assert not client.exists(f"{subject.prefix}:{{user=ana}}:beside")
            assert client.zcard(f"{subject.prefix}:{{user=ana}}:c") == 2
        # The replaced script is not in the cache at first; the last call is of the one that is asked for today.
        assert [call[0] for call in calls] == [b"EVALSHA", b"EVAL", b"EVALSHA"]
        assert [int(call[2]) for call in calls] == [18, 18, 1]
        memory.at(MIDNIGHT + 5)
        for charges, decision in zip(requests, said, strict=True):
            if charges is wrong:
                assert isinstance(decision, StoreUnavailable)
                assert "WRONGTYPE" in str(decision)
            else:
                assert isinstance(decision, Decision)
                assert comparable(decision) == comparable(await memory.acquire(*charges))
        assert len({lease.id for d in said if isinstance(d, Decision) for lease in d.leases}) == 2

    subject.run(test())


def test_cancelled_while_it_waits(fake: RedisStore) -> None:
    """Who is cancelled before its turn has come is not sent at all."""

    async def test() -> None:
        wire = await connected(fake)
        calls = [ask(fake, rate(9, 60_000, key="a"))]
        await turns()
        calls += [ask(fake, rate(9, 60_000, key=key)) for key in "bcd"]
        await turns()
        calls[2].cancel()
        await turns()
        wire.reply([T, 1, 1])
        wire.reply([T, 1, 1, 1, 1])
        await asyncio.wait(calls)
        assert wire.keys == [["a"], ["b", "d"]]
        assert [call.cancelled() for call in calls] == [False, False, True, False]
        alone = ask(fake, rate(9, 60_000, key="e"))
        await turns(1)
        alone.cancel()
        await turns()
        assert len(wire.keys) == 2  # all that came is gone: not even an empty call

    run(fake, test())


def test_cancelled_under_way(server: servers.Server, subject: Subject) -> None:
    """Who is cancelled when it is on the wire gives its slot back, and the others of its call have their answers."""

    async def test() -> None:
        await subject.store.acquire(WARM)
        spy(subject.store, before=lambda _: calls[1].cancel())
        calls = [ask(subject.store, concurrency(9, key="c")) for _ in range(3)]
        await asyncio.wait(calls)
        assert [call.cancelled() for call in calls] == [False, True, False]
        assert [calls[c].result().states[0].used for c in (0, 2)] == [1, 3]
        after = await subject.acquire(concurrency(9, key="c"))
        assert after.states[0].used == 3

    subject.run(test())


def test_who_waits_too_long_fails_alone(fake: RedisStore) -> None:
    """When the time of one is up, those with more time left go on waiting, and have their answers."""

    async def test() -> None:
        wire = await connected(fake)
        early = ask(fake, rate(9, 60_000, key="early"))
        await asyncio.sleep(0.06)
        later = ask(fake, rate(9, 60_000, key="later"))
        with pytest.raises(StoreUnavailable, match="no reply within 100 ms"):
            await early
        assert not later.done()
        wire.reply([T, 1, 1])  # too late for the one
        await turns()
        assert wire.keys == [["early"], ["later"]]
        wire.reply([T, 1, 7])
        assert (await later).states[0].used == 7

    run(fake, test(), Clocked)


def test_who_asks_twice_waits_no_longer(fake: RedisStore) -> None:
    """A request that is asked for once more has the time that it had at first, also where others came meanwhile."""

    async def test() -> None:
        wire = await connected(fake)
        early = ask(fake, quota(9, "day", key="early"))
        await asyncio.sleep(0.06)
        later = ask(fake, rate(9, 60_000, key="later"))
        await turns()
        wire.reply([T, -1])
        await turns()
        with pytest.raises(StoreUnavailable, match="no reply within 100 ms"):
            await early
        await turns()
        assert not later.done()  # it has 60 ms left
        wire.reply([T, 1, 7])
        assert (await later).states[0].used == 7

    run(fake, test(), Clocked)


def test_the_script_cache_vanishes_under_load(server: servers.Server, subject: Subject) -> None:
    """SCRIPT FLUSH amid decisions costs one EVAL, and each of them is charged once."""
    charges = (rate(9_999, 60_000),)

    def flush(number: int) -> None:
        if number == 3:
            with server.client() as client:
                client.script_flush()

    async def worker() -> list[int]:
        return [(await subject.store.acquire(charges)).states[0].used for _ in range(20)]

    async def test() -> None:
        await subject.store.acquire(WARM)
        calls = spy(subject.store, before=flush)
        seen = [used for part in await asyncio.gather(*(worker() for _ in range(64))) for used in part]
        assert sorted(seen) == list(range(1, 64 * 20 + 1))
        (text,) = [c for c, call in enumerate(calls) if call[0] == b"EVAL"]
        assert text in (4, 5)  # one may have been under way beside it
        lost = 3 + int(calls[3][2])
        assert calls[3][3:lost] == calls[text][3:lost]  # with those that have come meanwhile behind

    subject.run(test())


def test_two_calls_without_the_script(fake: RedisStore) -> None:
    """Where both that are under way are told that the server has lost it, one of those after them has its text."""

    async def test() -> None:
        wire = await connected(fake)
        calls = [ask(fake, rate(99, 60_000, key="r0"))]
        await turns()
        calls += [ask(fake, rate(99, 60_000, key=f"r{number}")) for number in range(1, 27)]
        await turns()
        calls += [ask(fake, rate(99, 60_000, key=f"r{number}")) for number in range(27, 60)]
        await turns()
        assert [len(keys) for keys in wire.keys] == [1, 26]
        for _ in range(2):
            wire.reply(NoScript("NOSCRIPT No matching script"))
        assert [len(keys) for keys in wire.keys] == [1, 26, 34, 26]
        assert [call[0] for call in wire.written] == [b"EVALSHA", b"EVALSHA", b"EVAL", b"EVALSHA"]
        for number in (34, 26):
            wire.reply([T, *[1, 1] * number])
        assert all(d.allowed for d in await asyncio.gather(*calls))

    run(fake, test())


def test_a_call_that_can_not_be_written(fake: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while a call is written is told to who asked: nobody waits for ever."""

    def fails(*_: object) -> None:
        raise OverflowError("no such year")

    async def test() -> None:
        await connected(fake)
        with monkeypatch.context() as patch:
            patch.setattr(Batch, "add", fails)
            with pytest.raises(StoreUnavailable, match="no such year"):
                await fake.acquire((rate(9, 60_000),))

    run(fake, test())


def test_a_node_that_was_left(fake: RedisStore) -> None:
    """Who comes after a node is asked no more is sent elsewhere, and so is who still waits; nothing is written."""

    async def test() -> None:
        wire = await connected(fake)
        queue, callers = queue_of(fake), router_of(fake).callers
        loop = asyncio.get_running_loop()
        waits, late = loop.create_future(), loop.create_future()
        queue.ask((waits, callers.of((rate(9, 60_000),)), loop.time() + 10, None))
        queue.leave()
        assert waits.result() is Again.LEFT
        queue.ask((late, callers.of((rate(9, 60_000),)), loop.time() + 10, None))
        await turns()
        assert late.result() is Again.LEFT
        assert wire.written == []

    run(fake, test())


@pytest.mark.parametrize(
    "told",
    [
        [1, 11, -1, 900],  # units below 0
        [1, 11, 10, -5],
        [1, 11, 10, 10**9],  # for longer than any sub-window
        [3, 1, 1, 1, 1],  # no verdict
        [0, 1, 9, -7, 5],
        [0, 0, 9, 5, 5],  # a denial by nothing
        [2, 1, 9, 5, 5, 0, 0],  # and none by what is exceeded
        [1, 11, 0],
    ],
    ids=str,
)
def test_numbers_that_are_none(fake: RedisStore, told: list[int]) -> None:
    """A reply of numbers that make no sense is told as none, and its connection is of no use."""

    async def test() -> None:
        wire = await connected(fake)
        call = ask(fake, ahead(rate(9, 60_000)))
        await turns()
        wire.reply([T, *told])
        with pytest.raises(StoreUnavailable, match="is no reply to the script"):
            await call
        await turns()
        assert wire.aborted

    run(fake, test())
